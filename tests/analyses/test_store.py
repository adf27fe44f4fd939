import json
import os
from dataclasses import dataclass, replace
from typing import ClassVar, final

import pandas as pd
import pytest
import torch

from lmc_lab.analyses.base import Choice, Measurement, ModeAnalysis, Record
from lmc_lab.analyses.convex_mode import ConvexMode
from lmc_lab.analyses.curves import TrunkCurve
from lmc_lab.analyses.distances import Distances
from lmc_lab.analyses.hessian import TrunkHessian
from lmc_lab.analyses.midpoint_gap import TrunkMidpointGap
from lmc_lab.analyses.store import ensure_rows
from lmc_lab.errors import UserError
from lmc_lab.files import read_json
from lmc_lab.results.folder import all_rows, read_result, read_results
from lmc_lab.results.row_file import SCHEMA
from lmc_lab.runs import checkpoint
from lmc_lab.runs.endpoints import load_mode
from lmc_lab.runs.modes import Modes
from lmc_lab.runs.states import load_trunk
from lmc_lab.runs.status import write_status
from lmc_lab.tasks.device import Device
from lmc_lab.tasks.evaluation_settings import EvaluationSettings
from tiny import tiny_experiment, train_branch


@final
@dataclass(frozen=True, kw_only=True)
class Counted(ModeAnalysis):
    """Yields one of each kind, and counts how often it is asked."""

    name: ClassVar[str] = "counted"
    asked: ClassVar[list[int]] = []
    size: int = 3

    def measure(self, mode, task):
        self.asked.append(len(mode))
        yield Measurement(quantity="p_conv", value=0.5)
        yield Record("kept", torch.arange(self.size))
        yield Choice("path", "loop")


@pytest.fixture
def counted():
    Counted.asked.clear()
    return Counted()


@pytest.fixture
def experiment(tmp_path):
    experiment = tiny_experiment(tmp_path)
    for seed in range(3):
        train_branch(experiment, 13, seed)
    return experiment


def rows_of(experiment):
    found, damaged = read_results(experiment.paths.results, "0")
    assert not damaged
    return all_rows(found)


def test_rows_are_tidy_and_say_where_they_come_from(experiment):
    path = ensure_rows(experiment, load_mode(experiment, 13), ConvexMode(num_samples=20))
    rows = rows_of(experiment)
    assert list(rows.columns) == list(SCHEMA)
    assert rows[["task", "trunk", "split_step", "num_endpoints", "bn_policy"]].drop_duplicates().values.tolist() == [
        ["tiny", 0, 13, 3, "reestimate"]
    ]
    p_conv = rows[(rows["quantity"] == "p_conv") & (rows["subset"] == "train")].iloc[0]
    assert p_conv["num_samples"] == 20 and p_conv["low"] <= p_conv["value"] <= p_conv["high"]
    listed = read_json(experiment.paths.results / "manifest.json")["results"][path.name]
    assert listed["versions"]["torch"] and listed["versions"]["Python"] and listed["config"] == {"task": "tiny"}


def test_losses_of_endpoints_are_those_of_a_plain_evaluation(experiment):
    mode = load_mode(experiment, 13)
    ensure_rows(experiment, mode, ConvexMode(num_samples=5, evaluation=EvaluationSettings(bn_policy="keep")))
    rows = rows_of(experiment).query("quantity == 'branch_loss' and subset == 'test'").set_index("branch")
    module = experiment.task.initialise(0).eval()
    inputs, targets = experiment.task.dataset.test.batch(slice(None))
    for i, seed in enumerate(mode.branches):
        buffers = {name: values[i] for name, values in mode.buffers.items()}
        module.load_state_dict(mode.layout.unflatten(mode.endpoints[i]) | buffers)
        with torch.no_grad():
            loss = torch.nn.functional.cross_entropy(module(inputs), targets)
        assert rows.loc[seed, "value"] == pytest.approx(loss.item(), rel=1e-5)


@final
@dataclass(frozen=True, kw_only=True)
class Large(ModeAnalysis):
    """Needs more memory than there is, until little of it is taken at a time."""

    name: ClassVar[str] = "large"
    seen: ClassVar[list[float]] = []
    most: ClassVar[float] = 0.3
    evaluation: EvaluationSettings = EvaluationSettings()

    def measure(self, mode, task):
        yield Measurement(quantity="p_conv", value=self.evaluation.memory)
        self.seen.append(self.evaluation.memory)
        if self.evaluation.memory > self.most:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        yield Choice("device", "a GPU")


def test_where_memory_runs_out_the_whole_analysis_begins_again_with_half_of_it(experiment, monkeypatch):
    monkeypatch.setattr(Large, "seen", [])
    path = ensure_rows(experiment, load_mode(experiment, 13), Large())
    rows = rows_of(experiment)
    assert Large.seen == [1.0, 0.5, 0.25] and rows["value"].tolist() == [0.25]  # nothing of what was begun before
    assert json.loads(rows["settings"][0]) == {
        **Large().settings(),
        "chosen": {"device": "a GPU"},
    }
    assert ensure_rows(experiment, load_mode(experiment, 13), Large(evaluation=EvaluationSettings(memory=0.5))) == path


def test_memory_that_is_too_small_is_said(experiment, monkeypatch):
    monkeypatch.setattr(Large, "most", 0.0)
    with pytest.raises(UserError, match=r"expected a GPU with memory for points of tiny, found that it ran out"):
        ensure_rows(experiment, load_mode(experiment, 13), Large())


def test_a_hessian_with_less_memory_keeps_no_graphs():
    less = TrunkHessian().with_less_memory()
    assert not less.keep_graph and less.evaluation.memory == 0.5 and less.settings() == TrunkHessian().settings()
    assert Distances(num_samples=9).with_less_memory() == Distances(num_samples=9)


def test_an_analysis_on_a_device_is_that_on_the_cpu(experiment, monkeypatch):
    mode = load_mode(experiment, 13)
    expected = list(ConvexMode(num_samples=20).measure(mode, experiment.task))
    device = Device(torch.device("cpu"), "a GPU", 2**30)
    monkeypatch.setattr(Device, "named", lambda name: device)
    found = list(ConvexMode(num_samples=20).measure(mode, experiment.task))
    assert [item for item in found if isinstance(item, Choice)] == [
        Choice("evaluation", "vectorised"),
        Choice("device", "a GPU"),
        Choice("at_a_time", "32 points x 1024 examples"),
        Choice("examples", "200 train, 90 test"),
    ]
    both = [
        {(m.quantity, m.subset, m.branch): m.value for m in each if isinstance(m, Measurement)}
        for each in (found, expected)
    ]
    assert both[0] == pytest.approx(both[1], rel=1e-4, abs=1e-6)
    assert both[0]["p_conv", "train", None] == both[1]["p_conv", "train", None]
    gap = TrunkMidpointGap(num_pairs=2, num_examples=80).measure(load_trunk(experiment), experiment.task)
    assert Choice("device", "a GPU") in list(gap)


def test_more_endpoints_or_other_settings_are_another_file(experiment):
    first = ensure_rows(experiment, load_mode(experiment, 13, seeds=[0, 1]), Distances(num_samples=9))
    second = ensure_rows(experiment, load_mode(experiment, 13), Distances(num_samples=9))
    other = ensure_rows(experiment, load_mode(experiment, 13), Distances(num_samples=8))
    assert len({first, second, other}) == 3
    assert set(rows_of(experiment)["num_endpoints"]) == {2, 3}


def test_whoever_asks_for_the_same_branches_shares_the_result_however_they_are_named(experiment):
    whole = ensure_rows(experiment, load_mode(experiment, 13), Distances(num_samples=9))
    named = ensure_rows(experiment, load_mode(experiment, 13, seeds=[2, 0, 1]), Distances(num_samples=9))
    assert whole == named


def test_a_mode_of_named_branches_knows_nothing_of_an_unfinished_stranger(experiment, counted):
    write_status(experiment.split_folder(13).branch(9), status="running", step=14)
    with pytest.raises(UserError, match="seed=9"):
        load_mode(experiment, 13)
    ensure_rows(experiment, load_mode(experiment, 13, seeds=range(3)), counted)
    assert rows_of(experiment).loc[0, "num_endpoints"] == 3


def test_a_strangers_state_of_the_trunk_keeps_neither_its_curve_nor_named_states_from_anybody(experiment):
    first = ensure_rows(experiment, load_trunk(experiment, TrunkCurve().steps), TrunkCurve())
    experiment.trunk_folder.step(26).touch()
    assert ensure_rows(experiment, load_trunk(experiment, TrunkCurve().steps), TrunkCurve()) == first
    assert [state.step for state in load_trunk(experiment, [13]).states] == [13]
    with pytest.raises(UserError, match="step-26"):
        ensure_rows(experiment, load_trunk(experiment), TrunkHessian())


def test_a_result_says_what_it_was_measured_on(experiment):
    trunks = [experiment, replace(experiment, trunk_seed=1)]
    for seed in range(2):
        train_branch(trunks[1], 13, seed)
    modes = [load_mode(each, 13) for each in trunks]
    subjects = {
        ((0, None, ()),): load_trunk(experiment),
        ((0, 13, (0, 1, 2)),): modes[0],
        ((0, 13, (0, 1, 2)), (1, 13, (0, 1))): Modes(tuple(modes)),
    }
    for expected, subject in subjects.items():
        entry = read_result(ensure_rows(experiment, subject, AnySubject())).entry
        assert tuple((part.trunk, part.split_step, part.branches) for part in entry.subject) == expected
    columns = rows_of(experiment)[["trunk", "split_step", "num_endpoints"]].values.tolist()
    assert sorted(map(str, columns)) == sorted(map(str, [[0, pd.NA, pd.NA], [0, 13, 3], [pd.NA, 13, 5]]))


@final
@dataclass(frozen=True, kw_only=True)
class AnySubject(ModeAnalysis):
    """Measures whatever it is given."""

    name: ClassVar[str] = "any_subject"

    def measure(self, mode, task):
        yield Measurement(quantity="one", value=1.0)


def test_what_was_chosen_is_in_the_rows_and_not_in_what_names_them(experiment, counted):
    result = read_result(ensure_rows(experiment, load_mode(experiment, 13), counted))
    assert json.loads(result.rows.loc[0, "settings"])["chosen"] == {"path": "loop"}
    assert result.entry.settings == {}


def test_branches_that_diverged_are_in_every_result_without_them(experiment, counted):
    mode = load_mode(experiment, 13)
    whole = ensure_rows(experiment, mode, counted)
    left_out = ensure_rows(experiment, replace(mode, part=replace(mode.part, diverged=((7, 21),))), counted)
    assert whole != left_out and read_result(left_out).entry.subject[0].diverged == ((7, 21),)
    rows = read_result(left_out).rows.query("quantity == 'diverged_at'")
    assert rows[["branch", "value", "num_endpoints"]].values.tolist() == [[7, 21, 3]]


def test_a_diverged_branch_of_several_trunks_says_of_which_it_is(experiment):
    mode = load_mode(experiment, 13)
    parts = [replace(mode.part, trunk=trunk, diverged=((7, 21 + trunk),)) for trunk in (0, 1)]
    modes = Modes(tuple(replace(mode, part=part) for part in parts))
    rows = read_result(ensure_rows(experiment, modes, AnySubject())).rows
    told = rows[["quantity", "trunk", "split_step", "branch", "value", "num_endpoints", "analysis"]].values.tolist()
    left_out = [["diverged_at", trunk, 13, 7, 21 + trunk, 6, "any_subject"] for trunk in (0, 1)]
    assert told[0][:2] == ["one", pd.NA] and told[1:] == left_out


def flip(path):
    content = bytearray(path.read_bytes())
    of_a_tensor = path.suffix == ".safetensors"  # before it are versions, too, which no number depends on
    content[-1 if of_a_tensor else len(content) // 2] ^= 1
    path.write_bytes(content)


def truncate(path):
    path.write_bytes(path.read_bytes()[:-7])


def empty(path):
    path.write_bytes(b"")


def remove(path):
    path.unlink()


@pytest.mark.parametrize("suffix", [".parquet", ".safetensors"])
@pytest.mark.parametrize("damage", [flip, truncate, empty, remove])
def test_a_damaged_or_lost_result_is_measured_again(experiment, counted, damage, suffix):
    mode = load_mode(experiment, 13)
    path = ensure_rows(experiment, mode, counted)
    damage(path.with_suffix(suffix))
    found, damaged = read_results(experiment.paths.results, "0")
    assert not found and len(damaged) == (0 if (damage, suffix) == (remove, ".parquet") else 1)
    assert ensure_rows(experiment, mode, counted) == path and counted.asked == [3, 3]
    assert len(rows_of(experiment)) == 1
    assert len(list(path.parent.glob("*.corrupt"))) == len(damaged)
    assert ensure_rows(experiment, mode, counted) == path and counted.asked == [3, 3]


def test_a_result_under_anothers_name_is_none(experiment, counted):
    mode = load_mode(experiment, 13)
    first, second = (ensure_rows(experiment, mode, each) for each in (counted, Counted(size=4)))
    for suffix in (".parquet", ".safetensors"):
        second.with_suffix(suffix).write_bytes(first.with_suffix(suffix).read_bytes())
    (error,) = read_results(experiment.paths.results, "0")[1]
    assert second.name in str(error) and first.name in str(error)
    ensure_rows(experiment, mode, Counted(size=4))
    assert len(checkpoint.load(second.with_suffix(".safetensors")).state["kept"]) == 4


def test_tensors_of_another_result_are_none(experiment, counted):
    mode = load_mode(experiment, 13)
    first, second = (ensure_rows(experiment, mode, each) for each in (counted, Counted(size=4)))
    checkpoint.save(
        checkpoint.load(first.with_suffix(".safetensors")).state | {"step": 0}, second.with_suffix(".safetensors")
    )
    assert len(read_results(experiment.paths.results, "0")[1]) == 1
    ensure_rows(experiment, mode, Counted(size=4))
    assert counted.asked == [3, 3, 3]


def test_a_result_of_another_task_is_none_of_this_one(experiment, tmp_path):
    path = ensure_rows(experiment, load_mode(experiment, 13), Distances(num_samples=9))
    elsewhere = tmp_path / "tiny-1" / "results" / path.name
    elsewhere.parent.mkdir(parents=True)
    elsewhere.write_bytes(path.read_bytes())
    assert read_results(elsewhere.parent, "1")[0] == []


def test_rows_of_the_first_format_are_recognised(experiment):
    path = ensure_rows(experiment, load_mode(experiment, 13), Distances(num_samples=9))
    read_result(path).rows.to_parquet(path, index=False)
    with pytest.raises(UserError, match="found format 1"):
        read_results(experiment.paths.results, "0")


@pytest.mark.parametrize("damage", [remove, empty, flip, truncate])
def test_the_manifest_comes_back(experiment, damage):
    mode = load_mode(experiment, 13)
    first, second = (ensure_rows(experiment, mode, Distances(num_samples=number)) for number in (8, 9))
    manifest = experiment.paths.results / "manifest.json"
    before = read_json(manifest)
    assert before["results"].keys() == {first.name, second.name}
    damage(manifest)
    assert len(read_results(experiment.paths.results, "0")[0]) == 2
    ensure_rows(experiment, mode, Distances(num_samples=9))
    assert read_json(manifest) == before


def test_what_a_killed_process_left_is_removed(experiment):
    mode = load_mode(experiment, 13)
    path = ensure_rows(experiment, mode, Distances(num_samples=8))
    left = path.with_name(f".{path.name}.{2**22 + 1}@{os.uname().nodename}.tmp")
    left.touch()
    ensure_rows(experiment, mode, Distances(num_samples=8))
    assert not left.exists()


def test_distances_are_euclidean(experiment):
    mode = load_mode(experiment, 13)
    found = {m.quantity: m.value for m in Distances(num_samples=9).measure(mode, experiment.task)}
    points = mode.endpoints.double()
    assert found["endpoint_start"] == pytest.approx((points - mode.training.at_start).norm(dim=1).mean().item())
    assert found["split_start"] == pytest.approx(
        (mode.training.at_split.double() - mode.training.at_start).norm().item()
    )
    assert found["hull_radius"] == pytest.approx((points - points.mean(0)).norm(dim=1).mean().item())
    assert found["path_length"] >= found["endpoint_start"]
