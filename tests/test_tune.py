"""``python -m lmc_lab.tune``: a study for each choice of a task's keys, from files that ``wandb sweep`` takes, too."""

import itertools
import json
import shlex
from types import SimpleNamespace

import pandas as pd
import pytest
import yaml
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from wandb.sdk.launch.sweeps.utils import create_sweep_command_args

from lmc_lab.configs import config_dir
from lmc_lab.construct import check_node
from lmc_lab.errors import UserError
from lmc_lab.tuning.overrides import task_values
from lmc_lab.tuning.parameters import Choices, Range
from lmc_lab.tuning.record import SweepRecord
from lmc_lab.tuning.search import proposals
from lmc_lab.tuning.sweep import read_sweep
from lmc_lab.tuning.trial import Trial, check_metric
from shell import shell, succeed

SMALL = ["task.max_steps=60", "task.data.num_train=300", "task.data.num_test=100"]
STUDY = f"study=mnist1d_trial study.splits=[0,20] study.branches=2 'overrides={json.dumps(SMALL)}'"


def written(folder, text):
    path = folder / "mine.yaml"
    path.write_text(text)
    return str(path)


def test_every_shipped_sweep_is_read_and_names_a_study():
    for path in (config_dir() / "sweeps").glob("*.yaml"):
        sweep = read_sweep(path.stem)
        assert sweep.name == path.stem and sweep.num_trials and any(item.startswith("study=") for item in sweep.given)
        check_metric(sweep.metric, ["convex_mode", "onset"])


each_shipped = pytest.mark.parametrize("name", [path.stem for path in (config_dir() / "sweeps").glob("*.yaml")])


@each_shipped
def test_an_agent_of_weights_and_biases_makes_a_trial_of_every_shipped_sweep(name):
    """A choice of values goes through the code by which wandb makes overrides of it for the file's command."""
    config = yaml.safe_load((config_dir() / "sweeps" / f"{name}.yaml").read_text())
    values = next(iter(proposals(read_sweep(name), None, 0))).values
    told = create_sweep_command_args({"args": {key: {"value": value} for key, value in values.items()}})
    places = {"${args_append_hydra}": told["args_append_hydra"]}
    command = [word for item in config["command"] for word in places.get(item, [item])]
    assert command[:3] == ["python", "-m", "lmc_lab.tune"] and task_values(command[3:]) == values
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        assert f"study={compose('tune', overrides=command[3:]).study.name}" in command


@each_shipped
def test_a_trial_of_every_shipped_sweep_has_keys_that_its_task_takes(name):
    sweep = read_sweep(name)
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        config = compose("tune", overrides=list(sweep.given))
        values = next(iter(proposals(sweep, None, 0))).values
        trial = Trial.of(values, config, sweep.given, sweep.name)
        task = compose("train", overrides=[*config.study.overrides, *trial.settings]).task
    assert {key: OmegaConf.select(task, key.removeprefix("task.")) for key in values} == values
    check_node(task.model, "task.model")  # whose arguments may be new to the config


def test_parameters_are_those_of_weights_and_biases(tmp_path):
    sweep = read_sweep(
        written(
            tmp_path,
            """
            method: random
            run_cap: 3
            parameters:
              task.optimizer.lr: {distribution: log_uniform_values, min: 1e-3, max: 0.1}
              task.optimizer.momentum: {min: 0.0, max: 0.9}
              task.batch_size: {min: 10, max: 100}
              task.model.width: {values: [8, 16]}
              task.optimizer.nesterov: {value: true}
              task.optimizer.weight_decay: {distribution: q_uniform, q: 0.1, min: 0, max: 1}
            """,
        )
    )
    assert list(sweep.parameters.values()) == [
        Range(1e-3, 0.1, is_log=True), Range(0.0, 0.9), Range(10, 100, 1), Choices((8, 16)), Choices((True,)), Range(0, 1, 0.1),
    ]  # fmt: skip
    assert (sweep.metric, sweep.goal, sweep.name) == ("onset_p_conv", "minimize", "mine")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("method: random", "expected run_cap"),
        ("method: guess", "expected method to be one of grid, random, bayes"),
        ("method: grid", "expected parameters"),
        ("methods: grid", "did you mean 'method'"),
        ("method: grid\nparameters: {lr: {values: [1]}}", "expected parameters of the task, found 'lr'"),
        ("method: grid\nparameters: {task.lr: {values: []}}", "expected values"),
        ("method: grid\nparameters: {task.lr: {min: 0.1, max: 1.0}}", "list them"),
        ("method: random\nrun_cap: 1\nparameters: {task.lr: {min: 1.0, max: 0.1}}", "min < max"),
        ("method: random\nrun_cap: 1\nparameters: {task.lr: {min: x, max: 0.1}}", "expected a number"),
        ("method: random\nrun_cap: 1\nparameters: {task.lr: {distribution: normal}}", "distribution"),
        (
            "method: random\nrun_cap: 1\nparameters: {task.lr: {values: [1], probabilities: [1]}}",
            "found 'probabilities'",
        ),
        (
            "method: grid\ncommand: [python, train.py]\nparameters: {task.lr: {values: [1]}}",
            "expected lmc_lab.tune in command",
        ),
        ("a: [", "no yaml"),
        ("", "expected keys and values"),
    ],
)
def test_what_is_wrong_with_a_file_is_one_sentence_with_its_name(tmp_path, text, said):
    with pytest.raises(UserError) as error:
        read_sweep(written(tmp_path, text))
    assert said in str(error.value) and "mine.yaml" in str(error.value) and "\n" not in str(error.value)


def test_a_metric_wants_what_it_is_made_of():
    with pytest.raises(UserError, match="expected pairs among the study's analyses"):
        check_metric("onset_instability_share", ["convex_mode", "onset"])
    with pytest.raises(UserError, match="expected onset among"):
        check_metric("onset_p_conv", ["convex_mode"])


def test_whole_steps_are_whole_numbers_and_others_are_rounded(tmp_path):
    text = """
        method: {method}
        run_cap: 8
        parameters:
          task.a: {{distribution: q_uniform, q: 10, min: 10, max: 100}}
          task.b: {{distribution: q_uniform, q: 0.1, min: 0.0, max: 1.0}}
        """
    for method in ("grid", "random"):
        found = [each.values for each in proposals(read_sweep(written(tmp_path, text.format(method=method))), None, 0)]
        assert all(isinstance(each["task.a"], int) and each["task.a"] % 10 == 0 for each in found)
        assert all(each["task.b"] == round(each["task.b"], 1) for each in found)


def test_the_command_may_have_flags_and_the_program_of_the_file(tmp_path):
    head = "method: grid\nprogram: lmc_lab.tune\nparameters: {task.a: {values: [1]}}\ncommand: "
    command = (
        "['${interpreter}', -m, '${program}', study=mine, --config-dir, conf, '${args_append_hydra}', figures=png]"
    )
    assert read_sweep(written(tmp_path, head + command)).given == ("study=mine", "figures=png")


def test_a_grid_has_every_choice_once(tmp_path):
    text = "method: grid\nparameters: {task.a: {values: [1, 2]}, task.b: {distribution: int_uniform, min: 3, max: 5}}"
    sweep = read_sweep(written(tmp_path, text))
    found = [tuple(each.values.values()) for each in proposals(sweep, None, 0)]
    assert found == list(itertools.product([1, 2], [3, 4, 5]))
    assert len(list(proposals(sweep, 4, 0))) == 4


@pytest.mark.parametrize("method", ["random", "bayes"])
def test_the_same_answers_give_the_same_trials(tmp_path, method):
    text = f"method: {method}\nrun_cap: 20\nparameters: {{task.lr: {{min: 0.0, max: 1.0}}, task.w: {{values: [1, 2]}}}}"
    sweep = read_sweep(written(tmp_path, text))

    def trials(answer):
        found = []
        for proposal in proposals(sweep, None, seed=3):
            found.append(proposal.values)
            proposal.metric = answer(proposal.values["task.lr"])
        return found

    first = trials(lambda rate: (rate - 0.3) ** 2)
    assert first == trials(lambda rate: (rate - 0.3) ** 2) and len(first) == 20
    if method == "bayes":  # it learns: the last trials are nearer than the first
        assert sum(abs(each["task.lr"] - 0.3) for each in first[-8:]) < sum(
            abs(each["task.lr"] - 0.3) for each in first[:8]
        )
        assert len(trials(lambda rate: None if rate > 0.5 else rate)) == 20  # some failed


def test_a_trial_that_is_drawn_again_counts_once(tmp_path):
    record = SweepRecord(
        read_sweep(written(tmp_path, "method: random\nrun_cap: 9\nparameters: {task.w: {values: [1, 2]}}")), tmp_path
    )
    line = {
        "criterion": "onset_p_conv",
        "trunk": 0,
        "last_failed": 0,
        "first_held": 10,
        "reversals": 0,
        "num_steps": 20,
    }
    point = {"detector": "nc1", "trunk": 0, "share": 0.5, "step": 5}
    for number in [*range(9), 3, 7]:
        trial = SimpleNamespace(name=f"s-{number}", values={"task.w": number})
        onsets = pd.DataFrame([line | {"first_held": 10 + number}])
        record.add(trial, onsets, pd.DataFrame([point | {"step": number}, point | {"step": number, "share": 0.9}]))
    record.add_failed(SimpleNamespace(name="s-3", values={"task.w": 3}), "diverged")
    assert len(record.table) == 9 and "Detectors turn where" in record.summary()


@pytest.mark.long
@pytest.mark.timeout(600)
def test_a_sweep_is_a_study_a_trial_and_a_table_of_all(tmp_path, shared_cache):
    text = """
        name: rates
        method: grid
        command: [python, -m, lmc_lab.tune, study=mnist1d_trial, "${args_append_hydra}"]
        parameters: {task.optimizer.lr: {values: [0.02, 1.0e+9]}}
        """
    path = written(tmp_path, text)
    places = f"output_dir={tmp_path}/out cache_dir={shared_cache}"
    command = f"python -m lmc_lab.tune sweep_config={path} {STUDY.partition(' ')[2]} {places}"
    result = shell(command)
    assert result.returncode == 1 and "diverged" in result.stderr and result.stderr.count("\n") == 1, result.stderr
    assert "pruned" not in result.stdout  # fontTools, of the PDF
    table = pd.read_csv(tmp_path / "out" / "reports" / "rates" / "trials.csv")
    assert set(table["task.optimizer.lr"]) == {0.02, 1e9}
    assert table[table["task.optimizer.lr"] == 1e9]["failed"].str.contains("diverged").all()
    found = table[table["criterion"] == "onset_p_conv"]
    assert len(found) == 1 and set(found["num_steps"]) == {60} and set(found["trunk"]) == {0}
    assert all((tmp_path / "out" / "reports" / "rates" / f"onset.{kind}").exists() for kind in ("png", "svg", "pdf"))
    pages = list((tmp_path / "out" / "reports").glob("rates-*/report.html"))
    assert len(pages) == 2 and not list((tmp_path / "out" / "reports").glob("rates-*/*.pdf"))
    again = shell(command)
    assert again.stdout.splitlines()[-3:] == result.stdout.splitlines()[-3:]
    assert pd.read_csv(tmp_path / "out" / "reports" / "rates" / "trials.csv").equals(table)


def test_one_trial_tells_an_agent_of_weights_and_biases_its_onset(tmp_path, shared_cache):
    command = f"python -m lmc_lab.tune {STUDY} +task.optimizer.lr=0.03 output_dir={tmp_path} cache_dir={shared_cache}"
    printed = succeed(command, cwd=tmp_path, WANDB_SWEEP_ID="a1b2c3d4", WANDB_RUN_ID="e5f6", WANDB_MODE="offline")
    assert "onset_p_conv: " in printed and "onset_p_conv_share: " in printed
    assert "lr: 0.03" in next(tmp_path.glob("mnist1d-*/trunk-0/config.yaml")).read_text()
    (run,) = tmp_path.glob("wandb/offline-run-*-e5f6/*.wandb")
    assert b"onset_p_conv_share" in run.read_bytes()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("sweep_config=mnist1d_rat", "did you mean 'mnist1d_rate'?"),
        ("sweep_config=nothing.yaml", "expected the file of a sweep"),
        ("sweep_config=mnist1d_rate +task.optimizer.lr=1", "expected either a sweep or keys"),
        ("sweep_config=mnist1d_rate trials=0", "expected trials to be a whole number >= 1"),
        ("study=nothing", "expected a config of the group 'study'"),
        ("+task.optimiser.lr=1", "optimiser"),
        ("task.optimizer.lr=1", "write +task.optimizer.lr=…"),
        ("+task=resnet20", "write 'overrides=["),
        ("sweep_config=mnist1d_rate '~study.analyses.onset'", "expected onset among the study's analyses"),
    ],
)
def test_what_cannot_be_is_one_sentence(tmp_path, arguments, said):
    result = shell(f"python -m lmc_lab.tune {arguments} output_dir={shlex.quote(str(tmp_path))}")
    assert result.returncode == 1 and said in result.stderr and result.stderr.count("\n") == 1, result.stderr
