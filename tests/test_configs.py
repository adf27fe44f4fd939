"""Every shipped config composes and becomes objects."""

from contextlib import suppress
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException, OverrideParseException

from lmc_lab.analyses.base import Analysis
from lmc_lab.compose import build_analyses, build_experiment, fingerprint
from lmc_lab.configs import composed, config_dir
from lmc_lab.sentences import sentence
from lmc_lab.studies.commands import commands
from lmc_lab.studies.plan import StudyPlan

CONF = Path(__file__).parents[1] / "conf"


def names(group):
    return sorted(path.stem for path in (CONF / group).glob("*.yaml"))


@pytest.fixture(autouse=True)
def _configs():
    with initialize_config_dir(str(CONF), version_base="1.3"):
        yield


@pytest.mark.parametrize("task", names("task"))
def test_every_task_becomes_a_model_that_trains_a_step(task, request, tmp_path):
    needs_files = task != "mnist1d"
    data_dir = request.getfixturevalue("real_data") if needs_files else tmp_path
    cache = request.getfixturevalue("shared_cache")
    config = compose("train", [f"task={task}", f"data_dir={data_dir}", f"cache_dir={cache}", f"output_dir={tmp_path}"])
    experiment = build_experiment(config)
    module = experiment.task.initialise(0)
    loss = module.training_loss(experiment.task.dataset.train.batch(slice(0, 4)))
    loss.backward()
    assert loss > 0 and module.configure_optimizers().step() is None


@pytest.mark.parametrize("logger", names("logger"))
@pytest.mark.parametrize("trainer", names("trainer"))
def test_every_trainer_and_logger_composes(trainer, logger, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")  # online wants a key
    build_experiment(compose("train", [f"trainer={trainer}", f"logger={logger}"]))


@pytest.mark.parametrize("entry_point", ["train", "analyze"])
def test_sweeps_are_merged_and_run_in_a_pool(entry_point):
    hydra = compose(entry_point, return_hydra_config=True).hydra
    assert (hydra.runtime.choices["hydra/sweeper"], hydra.runtime.choices["hydra/launcher"]) == ("merging", "pool")


@pytest.mark.parametrize("analysis", names("analysis"))
def test_every_analysis_becomes_an_object(analysis):
    (built,) = build_analyses(compose("analyze", [f"analysis=[{analysis}]", "split_step=0"]))
    assert isinstance(built, Analysis) and built.name == analysis


LOOKING_AT_DATA = {"lenet_m_noise", "lenet_m_examples"}  # studies whose branches depend on what CIFAR-10 is


@pytest.mark.parametrize("study", names("study"))
def test_every_study_is_a_plan_whose_stages_compose(study, request):
    data = [f"data_dir={request.getfixturevalue('real_data')}"] if study in LOOKING_AT_DATA else []
    plan = StudyPlan.of(compose("study", [f"study={study}", *data]))
    assert plan.name == study
    for stage in commands(plan).values():
        entry_point = stage[2].removeprefix("lmc_lab.")
        overrides = OverridesParser.create().parse_overrides([item for item in stage[3:] if item != "-m"])
        compose(entry_point, [first_of_sweep(override) for override in overrides])


def first_of_sweep(override):
    if not override.is_sweep_override():
        return override.input_line
    return f"{override.key_or_group}={next(override.sweep_string_iterator())}"


def test_the_fingerprint_follows_what_changes_the_weights_and_nothing_else():
    def of(*overrides):
        return fingerprint(compose("train", list(overrides)))

    base = of()
    unchanged = [
        "data_dir=/x",
        "output_dir=/y",
        "trainer=gpu",
        "logger=wandb",
        "trunk_seed=3",
        "run.log_every=7",
        "seed=1",
    ]
    assert {of(item) for item in unchanged} == {base}
    changed = [
        "task.optimizer.lr=0.1",
        "task.data.num_train=100",
        "task.precision=bf16-mixed",
        "task=lenet",
        "task.max_steps=9",
    ]
    assert len({of(item) for item in changed} | {base}) == len(changed) + 1


@pytest.mark.parametrize(
    ("entry_point", "override", "suggestion"),
    [
        ("train", "task.optimiser.lr=1", "task.optimizer.lr"),
        ("train", "split_stp=3", "split_step"),
        ("train", "task=lenett", "lenet"),
        ("train", "task/model=conv1", "conv1d"),
        ("train", "run.log_evry=3", "run.log_every"),
        ("analyze", "analysis.convex_mode.num_sample=3", "analysis.convex_mode.num_samples"),
    ],
)
def test_a_mistyped_key_or_name_is_answered_with_the_nearest(entry_point, override, suggestion):
    with pytest.raises(Exception) as error:
        compose(entry_point, [override])
    text = sentence(
        error.value.with_traceback(error.tb.tb_next), entry_point
    )  # without this function, which is no one's
    assert f"did you mean '{suggestion}'?" in text and "\n" not in text and override.split("=")[0].split(".")[0] in text


def test_an_override_that_is_no_override_is_one_sentence():
    with pytest.raises(OverrideParseException) as error:
        compose("train", ["task.optimizer"])
    assert "\n" not in sentence(error.value.with_traceback(error.tb.tb_next))


@pytest.mark.parametrize("override", ["task=lenet", "task=lenett", "nowhere=1"])
def test_the_config_that_runs_is_still_there_after_another_was_composed(override):
    running = GlobalHydra.instance().hydra
    assert running is not None
    with suppress(HydraException):
        composed("train", [override], [config_dir()])
    assert GlobalHydra.instance().hydra is running


def test_none_runs_where_none_did():
    GlobalHydra.instance().clear()
    composed("train", [], [config_dir()])
    assert GlobalHydra.instance().hydra is None
