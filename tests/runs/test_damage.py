"""A file is what its place says; what is not is named, set aside and made again."""

import json
import os
import shutil

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from lmc_lab.files import FORMAT, DamagedFile, OtherFormat, peek_json
from lmc_lab.runs import callbacks, checkpoint
from lmc_lab.runs.curve import append_row, read_rows, write_rows
from lmc_lab.runs.curve_check import whole_curve
from lmc_lab.runs.endpoints import load_mode
from lmc_lab.runs.settings import RunSettings
from lmc_lab.runs.states import load_trunk
from lmc_lab.runs.trunk import ensure_split, ensure_trunk
from tiny import tiny_experiment, train_branch


def experiment_in(folder):
    return tiny_experiment(folder, settings=RunSettings(log_every=5, save_steps=[20]))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with a trunk, its states, and two finished branches."""
    torch.set_num_threads(1)  # as the tests have it, which begin after their fixtures: the last bit depends on it
    folder = tmp_path_factory.mktemp("trained")
    retrain(experiment_in(folder))
    return folder


@pytest.fixture
def experiment(trained, tmp_path):
    """A copy of it."""
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    return experiment_in(tmp_path)


def branch(experiment, seed=0):
    return experiment.split_folder(13).branch(seed)


def flip(path, position=-3):
    content = bytearray(path.read_bytes())
    content[position] ^= 4
    path.write_bytes(content)


DAMAGES = {
    "flipped": flip,
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-40]),
    "emptied": lambda path: path.write_bytes(b""),
    "lost": lambda path: path.unlink(),
}


def retrain(experiment):
    ensure_trunk(experiment, {0, 9, 13, 40}, splits={9, 13})
    for seed in (0, 1):
        train_branch(experiment, 13, seed)


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize(
    "file", ["endpoint", "step", "metrics", "status", "W_0", "W_k", "W_T", "trunk metrics", "split"]
)
def test_what_is_damaged_or_lost_is_made_again_as_it_was(experiment, file, damage, caplog):
    folder, trunk = branch(experiment), experiment.trunk_folder
    path = {
        "endpoint": folder.endpoint,
        "step": folder.step(20),
        "metrics": folder.metrics,
        "status": folder.status,
        "W_0": trunk.step(0),
        "W_k": trunk.step(13),
        "W_T": trunk.step(40),
        "trunk metrics": trunk.metrics,
        "split": experiment.split_folder(13).manifest,
    }[file]
    before = _content(path)
    DAMAGES[damage](path)
    retrain(experiment)
    assert _content(path) == before
    assert path.with_name(f"{path.name}.corrupt").exists() is (damage != "lost")
    assert damage == "lost" or str(path) in caplog.text
    assert load_mode(experiment, 13).branches == (0, 1) and len(load_trunk(experiment).states) == 4


def _content(path):
    """Returns what is to be equal: weights and not the state of Lightning's loops, no time and no process."""
    if path.suffix == ".safetensors":
        state = checkpoint.load(path).state
        tensors = state["model"] if "model" in state else checkpoint.module_state(state)
        return {name: tensor.tolist() for name, tensor in tensors.items()}
    if path.suffix == ".csv":
        return read_rows(path)
    return {name: value for name, value in peek_json(path).items() if name not in ("time", "pid", "start", "stop")}


def test_measuring_refuses_what_only_training_makes_again(experiment):
    """The advice is a command that helps."""
    flip(branch(experiment).endpoint)
    with pytest.raises(
        DamagedFile,
        match="it sets this one aside and makes it anew: python -m lmc_lab.train .*split_step=13 -m seed=0,1",
    ):
        _ = load_mode(experiment, 13).endpoints
    train_branch(experiment, 13, 0)
    experiment.trunk_folder.step(0).unlink()
    with pytest.raises(Exception, match="expected a checkpoint at .*step-0.*: python -m lmc_lab.train"):
        load_mode(experiment, 13)
    train_branch(experiment, 13, 0)
    assert load_mode(experiment, 13).branches == (0, 1)


@pytest.mark.parametrize(
    "case", ["sibling's endpoint", "another step", "another trunk", "another split", "another task"]
)
def test_a_whole_file_at_another_place_is_no_file_of_that_place(experiment, tmp_path, case):
    other = tiny_experiment(tmp_path, trunk_seed=1)
    ensure_split(other, 13)
    train_branch(experiment, 9, 0)
    target = branch(experiment).endpoint if "endpoint" in case or case == "another split" else None
    target = target or experiment.trunk_folder.step(13)
    source = {
        "sibling's endpoint": branch(experiment, 1).endpoint,
        "another step": experiment.trunk_folder.step(9),
        "another trunk": other.trunk_folder.step(13),
        "another split": experiment.split_folder(9).branch(0).endpoint,
        "another task": target,
    }[case]
    if case == "another task":
        target = tmp_path / "tiny-1" / "trunk-0" / target.name
        target.parent.mkdir(parents=True)
    before = checkpoint.load(source).digest
    shutil.copy(source, target)
    with pytest.raises(DamagedFile, match=r"expected .* to be tiny-\d/trunk-.*, found that it is tiny-0/trunk-"):
        checkpoint.load(target)
    if case != "another task":
        retrain(experiment)
        assert checkpoint.load(target).digest != before


@pytest.mark.parametrize("name", ["metrics.csv", "status.json"])
def test_the_curve_and_the_status_of_a_sibling_are_not_taken_for_a_runs_own(experiment, name, caplog):
    own, other = (branch(experiment, seed).path / name for seed in (0, 1))
    before = _content(own)
    shutil.copy(other, own)
    retrain(experiment)
    assert _content(own) == before and f"{name}.corrupt" in caplog.text


def test_a_moved_output_folder_is_what_it_was(experiment, tmp_path):
    moved = tmp_path / "moved" / "results"  # a name that is also that of a folder inside
    shutil.copytree(tmp_path / "tiny-0", moved / "tiny-0")
    assert len(load_mode(tiny_experiment(moved), 13)) == 2


def test_the_header_says_what_the_file_is(experiment):
    with safe_open(branch(experiment).endpoint, framework="pt") as file:
        header = file.metadata()
        assert "model/model.0.weight" in file.keys()  # noqa: SIM118  tensors under their own names, for other programs
    assert header["place"] == "tiny-0/trunk-0/split-13/branch-0/endpoint" and header["step"] == "40"
    assert header["data"] == "clouds" and header["format"] == str(FORMAT)
    assert json.loads(header["versions"])["torch"] == torch.__version__.split("+")[0]


@pytest.mark.parametrize("key", ["place", "step", "data", "digest", "tree", "versions"])
def test_a_header_that_was_changed_is_seen(experiment, key):
    path = branch(experiment).endpoint
    with safe_open(path, framework="pt") as file:
        header, tensors = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    save_file(tensors, path, metadata=header | {key: header[key].replace(header[key][-1], "7") + "7"})
    with pytest.raises(DamagedFile):
        checkpoint.load(path)


def test_a_file_of_the_first_format_is_called_that(tmp_path):
    save_file({"0": torch.ones(2)}, tmp_path / "endpoint.safetensors", metadata={"tree": "{}", "digest": "0"})
    with pytest.raises(OtherFormat, match=f"expected files of format {FORMAT}, found format 1"):
        checkpoint.load_or_set_aside(tmp_path / "endpoint.safetensors")
    (tmp_path / "metrics.csv").write_text("step,train_loss,path_length\n5,0.1,2.0\n")
    with pytest.raises(OtherFormat):
        read_rows(tmp_path / "metrics.csv")


def test_a_whole_file_of_the_last_format_is_called_that_and_a_damaged_one_is_damaged(experiment, monkeypatch):
    path = branch(experiment).endpoint
    state = checkpoint.load(path).state
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "FORMAT", FORMAT - 1)
        checkpoint.save(state, path)
    with pytest.raises(OtherFormat, match=f"found format {FORMAT - 1}"):
        checkpoint.load_or_set_aside(path)
    checkpoint.save(state, path)
    path.write_bytes(path.read_bytes().replace(f'"format":"{FORMAT}"'.encode(), f'"format":"{FORMAT - 1}"'.encode()))
    with pytest.raises(DamagedFile):
        checkpoint.load(path)


def test_every_flipped_bit_of_a_curve_is_seen(tmp_path):
    path = tmp_path / "metrics.csv"
    checksum = write_rows(path, [])
    for step in (5, 10, 15):
        checksum = append_row(path, [step, 1 / step, 0.5], checksum)
    expected, whole = read_rows(path), path.read_bytes()
    assert expected[0] == {"step": "5", "train_loss": "0.2", "path_length": "0.5"}
    for position in range(8 * (len(whole) - 1)):  # of the last character only a row cut off is made, which is left out
        path.write_bytes(whole)
        content = bytearray(whole)
        content[position // 8] ^= 1 << position % 8
        path.write_bytes(content)
        with pytest.raises(DamagedFile):
            read_rows(path)
    path.write_bytes(whole[:-4])
    assert read_rows(path) == expected[:2]
    lines = whole.splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:2], *lines[3:]]))
    with pytest.raises(DamagedFile):
        read_rows(path)


class Killed(BaseException):
    pass


def killed_at(step, monkeypatch, train):
    """Runs `train` until a step, with a state to resume from at each step before."""

    class Heartbeat(callbacks.Heartbeat):
        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            if trainer.global_step == step:
                raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr("lmc_lab.runs.fit.Heartbeat", Heartbeat)
        train()


@pytest.mark.parametrize("what", ["lost", "heading only"])
def test_a_lost_curve_of_a_killed_branch_is_seen(tmp_path, monkeypatch, what):
    experiment = tiny_experiment(tmp_path, settings=RunSettings(log_every=5, resume_seconds=0.0))
    ensure_split(experiment, 13)
    killed_at(29, monkeypatch, lambda: train_branch(experiment, 13, 0))
    folder = branch(experiment)
    assert folder.resume.exists() and len(read_rows(folder.metrics)) == 3
    if what == "lost":
        folder.metrics.unlink()
    else:
        write_rows(folder.metrics, [])
    train_branch(experiment, 13, 0)
    assert [row["step"] for row in read_rows(folder.metrics)] == ["15", "20", "25", "30", "35", "40"]


def test_a_curve_that_is_made_again_goes_on_where_it_was_stopped(tmp_path, monkeypatch):
    """The endpoint stays what it is: another machine, on which the curve is made again, rounds otherwise."""
    experiment = tiny_experiment(tmp_path, settings=RunSettings(log_every=5, resume_seconds=0.0))
    folder = train_branch(experiment, 13, 0)
    before, expected = folder.endpoint.stat().st_mtime_ns, read_rows(folder.metrics)
    folder.metrics.unlink()
    killed_at(29, monkeypatch, lambda: train_branch(experiment, 13, 0))
    assert checkpoint.load(folder.resume).state["global_step"] == 29
    train_branch(experiment, 13, 0)
    assert read_rows(folder.metrics) == expected and not list(folder.path.glob("*.corrupt"))
    assert folder.endpoint.stat().st_mtime_ns == before and not folder.resume.exists()


def test_a_lost_curve_is_not_measured_as_a_short_one(experiment):
    branch(experiment).metrics.unlink()
    experiment.trunk_folder.metrics.unlink()
    with pytest.raises(
        DamagedFile, match="expected 6 rows of a loss curve .* found 0; give the command that trained it"
    ):
        whole_curve(branch(experiment))
    with pytest.raises(DamagedFile, match="expected 8 rows"):
        _ = load_trunk(experiment).curve


def test_a_state_of_the_trunk_that_is_lost_while_a_branch_begins_ends_it(experiment, monkeypatch):
    """It is not for the branch to set it aside, whose lock is another; nor does it look for it for ever."""
    settings = RunSettings(log_every=5, save_steps=[20, 30])
    later = tiny_experiment(experiment.paths.root.parent, settings=settings)
    branch(experiment).step(20).unlink()
    monkeypatch.setattr("tiny.ensure_split", lambda experiment, step: experiment.split(step))
    flip(experiment.trunk_folder.step(13))
    with pytest.raises(DamagedFile):
        train_branch(later, 13, 0)
    assert experiment.trunk_folder.step(13).exists()


def test_leftovers_beside_a_split_are_removed(experiment):
    left = experiment.split_folder(13).path / f".split.json.{2**22 + 5}@{os.uname().nodename}.tmp"
    left.touch()
    experiment.split_folder(13).manifest.unlink()
    retrain(experiment)
    assert not left.exists()


@pytest.mark.parametrize("name", ["status.json", "endpoint.safetensors"])
def test_a_file_of_a_later_format_is_not_taken_for_damaged(experiment, name):
    path = branch(experiment).path / name
    if name == "status.json":
        path.write_text(json.dumps(json.loads(path.read_text()) | {"format": FORMAT + 1, "checksum": "made otherwise"}))
    else:
        with safe_open(path, framework="pt") as file:
            header, tensors = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        save_file(tensors, path, metadata=header | {"format": str(FORMAT + 1), "seal": "made otherwise"})
    with pytest.raises(OtherFormat, match=f"found format {FORMAT + 1}"):
        train_branch(experiment, 13, 0)
    assert path.exists()


def test_a_damaged_state_to_resume_from_costs_its_steps_only(tmp_path):
    experiment = tiny_experiment(tmp_path)
    ensure_split(experiment, 13)
    folder = branch(experiment)
    folder.path.mkdir(parents=True)
    folder.resume.write_bytes(b"damaged")
    train_branch(experiment, 13, 0)
    whole = train_branch(tiny_experiment(tmp_path / "whole"), 13, 0)
    assert checkpoint.load(folder.endpoint).digest == checkpoint.load(whole.endpoint).digest
    assert folder.resume.with_name("resume.safetensors.corrupt").exists()
