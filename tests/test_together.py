"""Branches as one program, by the commands that a user gives."""

import signal

import pandas as pd
import pytest
import torch

from lmc_lab.files import read_json
from lmc_lab.runs import checkpoint
from shell import shell, start, succeed, wait_for

TINY = "task=mnist1d task.max_steps=60 task.data.num_train=400 run.log_every=10"


def statuses(root):
    return {
        path.parent.relative_to(next(root.glob("mnist1d-*"))): read_json(path) for path in root.rglob("status.json")
    }


def endpoints(root):
    task = next(root.glob("mnist1d-*"))
    return {
        str(path.parent.relative_to(task)): checkpoint.load(path).state["model"]
        for path in task.rglob("endpoint.safetensors")
    }


@pytest.fixture
def places(tmp_path, shared_cache):
    return f"output_dir={tmp_path} cache_dir={shared_cache}"


def test_a_sweep_over_trunks_splits_and_seeds_is_one_program_of_one_job(tmp_path, shared_cache):
    sweep = "-m trunk_seed=0,1 split_step=10,20 'seed=range(3)' hydra.launcher.n_jobs=1"
    for name, together in (("together", "run.together=20"), ("alone", "")):
        printed = succeed(
            f"python -m lmc_lab.train {TINY} {sweep} {together} output_dir={tmp_path / name} cache_dir={shared_cache}"
        )
        assert "1/1" in printed
    ours, theirs = endpoints(tmp_path / "together"), endpoints(tmp_path / "alone")
    assert ours.keys() == theirs.keys() and len(ours) == 12
    for place, state in theirs.items():
        for tensor, value in state.items():
            torch.testing.assert_close(ours[place][tensor], value, rtol=0, atol=1e-4)
    assert {
        status["trained"]["together"]
        for place, status in statuses(tmp_path / "together").items()
        if "branch" in str(place)
    } == {12}
    again = succeed(
        f"python -m lmc_lab.train {TINY} {sweep} output_dir={tmp_path / 'together'} cache_dir={shared_cache}"
    )
    assert "1/1" in again and {str(k): v["trained"]["together"] for k, v in statuses(tmp_path / "together").items()}


@pytest.mark.long
def test_a_program_that_is_killed_goes_on_with_the_same_command(tmp_path, places):
    long = TINY.replace("max_steps=60", "max_steps=800")
    command = (
        f"python -m lmc_lab.train {long} {places} split_step=10 'seed=[0,1,2]' run.together=3 run.resume_seconds=0.2"
    )
    with start(command) as process:
        (state,) = wait_for(lambda: list(tmp_path.glob("*/together-*.safetensors")))
        process.send_signal(signal.SIGKILL)
        process.wait()
    with start(command) as process:
        wait_for(lambda: any(each.get("start", 0) > 10 for each in statuses(tmp_path).values()))
        process.send_signal(signal.SIGTERM)
        printed, _ = process.communicate()
        assert process.returncode == 143 and "not done: trunk_seed=0 split_step=10 seed=[0,1,2]" in printed
    assert {each["state"] for place, each in statuses(tmp_path).items() if "branch" in str(place)} == {"stopped"}
    succeed(command)
    assert len(endpoints(tmp_path)) == 3 and not list(tmp_path.glob("*/together-*"))


@pytest.mark.long
def test_a_study_trains_together_and_its_rows_are_in_their_places(tmp_path, places):
    small = ["task.max_steps=60", "task.data.num_train=400", "run.together=8"]
    overrides = f"""'overrides=["{'","'.join(small)}"]' study.splits=[0,20] study.branches=3 study.trunks=[0,1]"""
    overrides += " study.steps=[]"
    overrides += "".join(
        f" ~study.analyses.{name}"
        for name in ("trunk_hessian", "branch_hessian", "trunk_midpoint_gap", "pairs", "predictions")
    )
    one_job = """'sweep=["hydra.launcher.n_jobs=1"]'"""
    succeed(f"python -m lmc_lab.study study=mnist1d {overrides} {one_job} {places}")
    rows = pd.concat(pd.read_parquet(path) for path in tmp_path.glob("*/results/*.parquet"))
    assert set(rows["split_step"].dropna()) == {0, 20} and {"p_conv", "singular_value_centred"} <= set(rows["quantity"])
    together = {status["trained"]["together"] for place, status in statuses(tmp_path).items() if "branch" in str(place)}
    assert together == {8, 4}
    assert (tmp_path / "reports" / "mnist1d" / "report.html").exists()


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("run.together=0", "run.together"),
        ("run.together=all", "run.together"),
        ("run.capture=maybe", "run.capture"),
        ("trunk_seed=[0,0]", "trunk_seed"),
        ("trainer=gpu", "try trainer=cpu"),
    ],
)
def test_what_cannot_be_is_said_in_a_sentence(tmp_path, places, override, said):
    found = shell(f"python -m lmc_lab.train {TINY} {places} split_step=10 'seed=[0,1]' {override}")
    assert found.returncode == 1 and said in found.stderr and "Traceback" not in found.stderr


def test_an_analysis_is_of_one_trunk(places):
    found = shell(f"python -m lmc_lab.analyze {TINY} {places} split_step=10 'trunk_seed=[0,1]'")
    assert found.returncode == 1 and "expected one trunk_seed to analyse" in found.stderr
