"""A branch is finished when all its files are there and whole; nothing is changed by looking."""

import pytest

from lmc_lab.runs.finished import is_finished, is_reached
from lmc_lab.runs.settings import RunSettings
from tiny import tiny_experiment, train_branch


@pytest.fixture
def experiment(tmp_path):
    experiment = tiny_experiment(tmp_path, settings=RunSettings(log_every=5, save_steps=[20]))
    train_branch(experiment, 13, 0)
    return experiment


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def flip(path):
    content = bytearray(path.read_bytes())
    content[-4] ^= 4
    path.write_bytes(content)


DAMAGES = [lambda path: path.unlink(), flip, lambda path: path.write_bytes(b"")]


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", ["endpoint.safetensors", "metrics.csv", "status.json", "step-20.safetensors"])
def test_a_branch_with_a_damaged_or_lost_file_is_not_finished(experiment, tmp_path, name, damage):
    folder = experiment.split_folder(13).branch(0)
    assert is_finished(folder, [20]) and is_finished(folder, []) and not is_finished(folder, [20, 30])
    damage(folder.path / name)
    before = contents(tmp_path)
    assert not is_finished(folder, [20]) and contents(tmp_path) == before
    train_branch(experiment, 13, 0)
    assert is_finished(folder, [20])


def test_a_branch_with_a_state_to_resume_from_is_not_finished(experiment):
    folder = experiment.split_folder(13).branch(0)
    folder.resume.touch()
    assert not is_finished(folder, [])
    assert not is_finished(experiment.split_folder(13).branch(1), [])


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", ["step-0.safetensors", "step-13.safetensors", "split-13/split.json"])
def test_a_split_is_reached_when_its_manifest_and_its_states_are_whole(experiment, tmp_path, name, damage):
    split, paths = experiment.split(13), experiment.paths
    assert is_reached(split, paths) and not is_reached(experiment.split(14), paths)
    damage(experiment.trunk_folder.path / name)
    before = contents(tmp_path)
    assert not is_reached(split, paths) and contents(tmp_path) == before
