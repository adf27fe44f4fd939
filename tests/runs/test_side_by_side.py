"""Which runs become programs. A GPU is told of, and all is trained on the CPU."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from alike import assert_alike, experiment, runs_of
from lmc_lab.files import read_json
from lmc_lab.runs import companions, memory, together
from lmc_lab.runs.run import Run
from lmc_lab.runs.settings import RunSettings
from lmc_lab.runs.side_by_side import train_branches_side_by_side, train_trunks_side_by_side
from lmc_lab.runs.trunk import ensure_trunk
from tiny import train_branch


@pytest.fixture
def programs(monkeypatch):
    """The numbers of members of the programs that are trained."""
    counts = []

    class Counted(together.Program):
        def train(self):
            counts.append(len(self._waiting))
            super().train()

    monkeypatch.setattr(together, "Program", Counted)
    return counts


def on_gpu(path, **settings):
    return replace(experiment(path), device="cuda", settings=RunSettings(log_every=5, **settings))


def test_on_a_gpu_a_branch_alone_is_a_program_of_one_with_the_same_files(tmp_path, programs):
    own, other = (
        on_gpu(tmp_path / "program"),
        replace(experiment(tmp_path / "alone"), settings=RunSettings(log_every=5)),
    )
    (run,) = runs_of(own, splits=(13,), seeds=(0,))
    train_branches_side_by_side([run])
    assert programs == [1]
    assert_alike(run, train_branch(other, 13, 0))
    ours, theirs = (read_json(each.folder.status) for each in (run, Run(other, 13, 0)))
    assert ours.keys() == theirs.keys() and ours["trained"]["together"] == 1


def test_on_a_gpu_a_trunk_alone_is_a_program_of_one_and_trained_once(tmp_path, programs, monkeypatch):
    own, other = (
        on_gpu(tmp_path / "program"),
        replace(experiment(tmp_path / "alone"), settings=RunSettings(log_every=5)),
    )
    train_trunks_side_by_side([own], {13, 40}, splits={13})
    ensure_trunk(own, {0, 13, 40}, splits={13})
    monkeypatch.setattr(companions, "why_alone", lambda *args, **keywords: pytest.fail("nothing is left to be tried"))
    train_trunks_side_by_side([own], {13, 40}, splits={13})
    ensure_trunk(other, {0, 13, 40}, splits={13})
    assert programs == [1]
    names = [{path.name for path in each.trunk_folder.path.iterdir()} for each in (own, other)]
    assert names[0] == names[1] and own.split(13).is_published(own.split_folder(13))


@pytest.mark.parametrize(("settings", "device"), [({"together": 1}, "cuda"), ({}, "cpu"), ({"together": 3}, "cpu")])
def test_a_run_alone_is_no_program_elsewhere_or_where_that_is_not_wanted(tmp_path, programs, settings, device):
    own = replace(on_gpu(tmp_path, **settings), device=device)
    train_branches_side_by_side(runs_of(own, splits=(13,), seeds=(0,)))
    train_trunks_side_by_side([own], {13, 40})
    assert programs == []


def test_as_many_as_fit_are_trained_together_on_a_gpu(tmp_path, programs, monkeypatch):
    monkeypatch.setattr(memory, "num_on", lambda run, device: 3)
    runs = runs_of(on_gpu(tmp_path), splits=(13,), seeds=range(5))
    train_branches_side_by_side(runs)
    assert programs == [3, 2] and all(run.folder.endpoint.exists() for run in runs)


def test_runs_that_do_not_fit_as_a_program_of_one_are_left_to_be_trained_alone(tmp_path, monkeypatch, caplog):
    sizes = []

    def without_memory(runs, **keywords):
        sizes.append(len(runs))
        raise torch.cuda.OutOfMemoryError

    monkeypatch.setattr(together, "train_together", without_memory)
    monkeypatch.setattr(memory, "num_on", lambda run, device: 2)
    runs = runs_of(replace(on_gpu(tmp_path), device="cpu"), splits=(13,), seeds=range(3))
    on_a_gpu = [replace(run, experiment=replace(run.experiment, device="cuda")) for run in runs]
    with caplog.at_level("INFO"):
        train_branches_side_by_side(on_a_gpu)
    assert sizes == [2, 1] and "one run after another, since memory ran out" in caplog.text
    assert train_branch(runs[0].experiment, 13, 0).endpoint.exists()


def test_a_trial_is_on_the_device_of_the_trainer(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(
        companions, "why_alone", lambda run, *, allows_noise, device: seen.append(device) or "of a test"
    )
    own = on_gpu(tmp_path)
    make_trainer = lambda **given: SimpleNamespace(strategy=SimpleNamespace(root_device=torch.device("cuda", 1)))  # noqa: E731
    train_branches_side_by_side(
        [replace(run, experiment=replace(own, make_trainer=make_trainer)) for run in runs_of(own)]
    )
    assert seen == [torch.device("cuda", 1)]
