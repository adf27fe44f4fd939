"""What the doctor says of an output folder, and that it only looks."""

import json
import os
import shlex
from dataclasses import replace
from functools import partial

import pytest
from filelock import FileLock

from lmc_lab.analyses.distances import Distances
from lmc_lab.analyses.store import ensure_rows
from lmc_lab.diagnosis import State, diagnose
from lmc_lab.doctor import _merged, _repair
from lmc_lab.results.manifest import StudyRecord, index, keep_study
from lmc_lab.results.part import Part
from lmc_lab.results.wanted import Wanted
from lmc_lab.runs import checkpoint
from lmc_lab.runs.agreement import by_agreement
from lmc_lab.runs.endpoints import load_mode
from lmc_lab.runs.status import NoBranches, write_status
from lmc_lab.runs.variation import Variation
from shell import shell, succeed
from tiny import tiny_experiment, train_branch

TRAIN = "python -m lmc_lab.train trunk_seed=0"


@pytest.fixture
def experiment(tmp_path):
    experiment = tiny_experiment(tmp_path)
    for seed in range(2):
        train_branch(experiment, 13, seed)
    ensure_rows(experiment, load_mode(experiment, 13), Distances(num_samples=5))
    return experiment


@pytest.fixture
def found(experiment, tmp_path):
    """Returns what is found now that is not complete: path -> (state, command)."""

    def look():
        findings = [finding for finding in diagnose(tmp_path) if finding.state is not State.COMPLETE]
        return {str(each.path.relative_to(experiment.paths.root)): (each.state, each.command) for each in findings}

    return look


def flip(path):
    content = bytearray(path.read_bytes())
    content[-2] ^= 1
    path.write_bytes(content)


def tree(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


def branch(experiment, seed=0):
    return experiment.split_folder(13).branch(seed)


def test_a_whole_tree_is_complete(experiment, found, tmp_path):
    assert found() == {}
    paths = {str(each.path.relative_to(experiment.paths.root)) for each in diagnose(tmp_path)}
    (rows,) = (path.name for path in experiment.paths.results.glob("*.parquet"))
    assert paths == {"trunk-0", "trunk-0/split-13/branch-0", "trunk-0/split-13/branch-1", f"results/{rows}"}


def test_chosen_examples_are_known_as_are_branches_that_have_none(experiment, found):
    seeing = {}
    for part, batch_size in (("shared", 16), ("unshared", 150)):
        described = {"examples": {"part": part}}
        choose = partial(by_agreement, num_endpoints=2, part=part)
        varied = replace(experiment, variation=Variation(examples=choose, described=described))
        seeing[part] = replace(varied, task=replace(experiment.task, batch_size=batch_size))
    train_branch(seeing["shared"], 13, 0)
    with pytest.raises(NoBranches):
        train_branch(seeing["unshared"], 13, 0)
    shared, none = (each.split_folder(13) for each in seeing.values())
    assert found() == {f"trunk-0/{none.path.name}/branch-0": (State.LEFT_OUT, "")}
    name = f"trunk-0/{shared.path.name}/examples.json"
    flip(shared.examples)
    assert found()[name][0] is State.DAMAGED
    with FileLock(shared.path / ".examples.lock"):
        _repair([each for each in diagnose(experiment.paths.root.parent) if each.path == shared.examples])
    assert shared.examples.exists()  # somebody is at work on it
    shared.examples.unlink()
    assert found()[name][0] is State.MISSING
    train_branch(seeing["shared"], 13, 0)
    assert name not in found()


@pytest.mark.parametrize("name", ["endpoint.safetensors", "status.json", "metrics.csv"])
def test_a_damaged_file_is_found_and_made_again_by_the_command_that_is_named(experiment, found, name):
    path = branch(experiment).path / name
    flip(path)
    command = f"{TRAIN} split_step=13 seed=0"
    assert found() == {f"trunk-0/split-13/branch-0/{name}": (State.DAMAGED, command)}
    train_branch(experiment, 13, 0)
    assert found() == {f"trunk-0/split-13/branch-0/{name}.corrupt": (State.LEFT_OVER, "")}


@pytest.mark.parametrize(
    ("name", "lost"),
    [
        ("trunk-0/split-13/branch-1/endpoint.safetensors", "split_step=13 seed=1"),
        ("trunk-0/step-13.safetensors", "split_step=13 seed=0"),
        ("trunk-0/step-0.safetensors", "split_step=13 seed=0"),
        ("trunk-0/split-13/split.json", "split_step=13 seed=0"),
    ],
)
def test_a_lost_file_is_missing(experiment, found, name, lost):
    (experiment.paths.root / name).unlink()
    assert found() == {name: (State.MISSING, f"{TRAIN} {lost}")}


def test_a_damaged_state_of_the_trunk_is_made_again_by_a_branch_that_leaves_it(experiment, found):
    flip(experiment.trunk_folder.step(13))
    assert found() == {"trunk-0/step-13.safetensors": (State.DAMAGED, f"{TRAIN} split_step=13 seed=0")}
    train_branch(experiment, 13, 0)
    assert found() == {"trunk-0/step-13.safetensors.corrupt": (State.LEFT_OVER, "")}


def test_damaged_rows_are_found(experiment, found):
    (rows,) = experiment.paths.results.glob("*.parquet")
    flip(rows)
    assert found() == {f"results/{rows.name}": (State.DAMAGED, "")}


def test_of_a_damaged_manifest_is_said_who_writes_it_anew(experiment, tmp_path):
    manifest = experiment.paths.results / "manifest.json"
    manifest.write_text("{")
    (damage,) = (each for each in diagnose(tmp_path) if each.path == manifest)
    assert damage.state is State.DAMAGED and "the next study or analysis writes it anew" in damage.detail
    index(experiment.paths.results)
    assert json.loads(manifest.read_text())["results"]


def test_rows_that_the_manifest_lists_and_are_gone_are_missing(experiment, found):
    (rows,) = experiment.paths.results.glob("*.parquet")
    index(experiment.paths.results)
    rows.unlink()
    assert found() == {f"results/{rows.name}": (State.MISSING, "")}  # measured by a test, and by no command


def test_a_run_without_its_settings_is_not_whole(experiment, found):
    branch(experiment).config.unlink()
    assert found() == {"trunk-0/split-13/branch-0/config.yaml": (State.MISSING, "")}


def test_what_lies_beside_the_trunks_is_looked_at(experiment, found):
    root = experiment.paths.root
    checkpoint.save({"global_step": 20}, root / "together-0123456789ab.safetensors")
    (root / "together-ba9876543210.safetensors").touch()
    (root / "notes.txt").touch()
    assert found() == {
        "together-0123456789ab.safetensors": (State.UNFINISHED, ""),
        "together-ba9876543210.safetensors": (State.DAMAGED, ""),
        "notes.txt": (State.LEFT_OVER, ""),
    }


def test_a_run_that_was_killed_is_unfinished_and_one_that_runs_is_running(experiment, found):
    folder = branch(experiment)
    folder.endpoint.unlink()
    write_status(folder, status="running", step=20)
    where = "trunk-0/split-13/branch-0"
    assert found() == {where: (State.UNFINISHED, f"{TRAIN} split_step=13 seed=0")}
    with FileLock(folder.lock):
        assert found() == {where: (State.RUNNING, "")}


def test_a_run_that_diverged_is_diverged(experiment, found):
    branch(experiment).endpoint.unlink()
    write_status(branch(experiment), status="diverged", step=20)
    assert found() == {"trunk-0/split-13/branch-0": (State.DIVERGED, "")}


def test_what_a_study_lacks_is_missing(experiment, found):
    (part,) = load_mode(experiment, 13).parts
    there = Wanted("distances", 1, {"num_samples": 5}, (part,))
    record = StudyRecord(
        name="small", asked={}, command="python -m lmc_lab.study study=small", versions={}, ran=1, fingerprint="0",
        wanted=(there, replace(there, subject=(Part(0, 20, (0, 1)),))), obstacles={},
    )  # fmt: skip
    keep_study(experiment.paths.results, record)
    assert found() == {"results/manifest.json": (State.MISSING, record.command)}
    keep_study(experiment.paths.results, replace(record, wanted=(there,)))
    assert found() == {}


def test_commands_that_differ_in_the_seed_are_one_sweep():
    commands = ["a split_step=1 seed=0", "a split_step=1 seed=2", "a split_step=5 seed=0", "b", "b"]
    assert _merged(commands) == ["a split_step=1 -m seed=0,2", "a split_step=5 seed=0", "b"]


def test_the_command_looks_and_changes_nothing_but_with_repair(experiment, tmp_path):
    endpoint = branch(experiment).endpoint
    left = endpoint.with_name(f".{endpoint.name}.{2**22 + 1}@{os.uname().nodename}.tmp")
    assert "complete: 4" in succeed(f"python -m lmc_lab.doctor {tmp_path}")
    flip(endpoint)
    left.touch()
    before = tree(experiment.paths.root)
    result = shell(f"lmc-doctor {tmp_path}")
    assert result.returncode == 1 and tree(experiment.paths.root) == before
    assert "damaged: 1" in result.stdout and f"  {TRAIN} split_step=13 seed=0" in result.stdout
    assert f"{left.name}: of a process that was killed" in result.stdout
    result = shell(f"python -m lmc_lab.doctor {tmp_path} --repair")
    assert not left.exists() and not endpoint.exists() and endpoint.with_name(f"{endpoint.name}.corrupt").exists()
    train_branch(experiment, 13, 0)
    assert "left over: 1" in succeed(f"python -m lmc_lab.doctor output_dir={tmp_path}")  # as other commands have it


def test_the_commands_are_for_the_tree_wherever_it_was_when_it_was_made(tmp_path):
    tree, experiment = tmp_path / "now, here", tiny_experiment(tmp_path / "before", given=("output_dir=before",))
    train_branch(experiment, 13, 0)
    (tmp_path / "before").rename(tree)
    flip(tree / branch(experiment).endpoint.relative_to(tmp_path / "before"))
    told = shell("lmc-doctor 'now, here'", cwd=tmp_path).stdout
    (command,) = (line.strip() for line in told.splitlines() if "lmc_lab.train" in line)
    assert shlex.split(command) == [*f"{TRAIN} split_step=13 seed=0".split(), f'output_dir="{tree}"']
    tree.rename(tmp_path / "multirun")
    assert f"  {TRAIN} split_step=13 seed=0\n" in shell("lmc-doctor", cwd=tmp_path).stdout


@pytest.mark.parametrize(("given", "told"), [("conf", True), ("/my/conf", False)])
def test_a_folder_of_configs_that_is_relative_is_said_to_be(tmp_path, given, told):
    experiment = tiny_experiment(tmp_path / "multirun", given=("--config-dir", given))
    train_branch(experiment, 13, 0)
    flip(branch(experiment).endpoint)
    (heading,) = [line for line in shell("lmc-doctor", cwd=tmp_path).stdout.splitlines() if line.endswith(":")]
    assert (f"where they were first given, to which --config-dir {given} is relative" in heading) == told


def test_a_file_that_was_made_anew_meanwhile_is_not_repaired(experiment, tmp_path):
    endpoint = branch(experiment).endpoint
    whole = endpoint.read_bytes()
    flip(endpoint)
    findings = list(diagnose(tmp_path))
    endpoint.write_bytes(whole)
    _repair(findings)
    assert endpoint.exists()
    flip(endpoint)
    with FileLock(branch(experiment).lock):
        _repair(findings)
        assert endpoint.exists()
    _repair(findings)
    assert not endpoint.exists()


def test_a_folder_without_runs_is_one_sentence(tmp_path):
    result = shell(f"python -m lmc_lab.doctor {tmp_path / 'nothing'}")
    assert result.returncode == 1 and result.stderr.startswith(
        "lmc_lab: expected an output folder with runs or results"
    )
