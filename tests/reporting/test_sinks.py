"""What is mirrored to Weights & Biases, seen through a run that only remembers."""

import pandas as pd
import pytest
import torch
from matplotlib.figure import Figure

from entries import entry
from lmc_lab.data.examples import Examples
from lmc_lab.landscape.predictions import pack_mask
from lmc_lab.reporting import sinks
from lmc_lab.reporting.examples import example_table
from lmc_lab.reporting.sinks import ResultsMirror, wandb_logger
from lmc_lab.results.folder import Result
from lmc_lab.results.row_file import SCHEMA
from lmc_lab.runs import checkpoint
from lmc_lab.runs.experiment import RunName


class Remembering:
    """Stands for a run of Weights & Biases."""

    def __init__(self, **keywords):
        self.keywords = keywords
        self.logged, self.artifacts, self.axes, self.is_finished, self.summary = [], [], {}, False, {}

    def define_metric(self, name, step_metric=None):
        self.axes[name] = step_metric

    def log(self, values):
        self.logged.append(values)

    def log_artifact(self, artifact):
        self.artifacts.append(artifact)

    def finish(self):
        self.is_finished = True


@pytest.fixture
def runs(monkeypatch):
    started = []

    def init(**keywords):
        started.append(Remembering(**keywords))
        return started[-1]

    monkeypatch.setattr(sinks.wandb, "init", init)
    return started


def result(lines, records=None, analysis="convex_mode"):
    return Result(pd.DataFrame(lines).reindex(columns=list(SCHEMA)).astype(SCHEMA), entry(analysis=analysis), records)


def masks_of(trunk, split_step, num_examples=20):
    generator = torch.Generator().manual_seed(100 * trunk + split_step)
    return torch.rand(3, num_examples, generator=generator) < 0.5


@pytest.fixture
def results(tmp_path):
    found = []
    for trunk in range(2):
        for step in (0, 50):
            where = {"trunk": trunk, "split_step": step, "analysis": "convex_mode"}
            lines = [
                {"quantity": "p_conv", "subset": "train", "value": step / 50, "low": 0.0, "high": 1.0},
                {"quantity": "hull_radius", "value": 3.0},
            ]
            lines += [{"quantity": "branch_loss", "subset": "train", "value": 9.0, "branch": 0}]
            found.append(result([where | line for line in lines]))
            path = tmp_path / f"predictions-{trunk}-{step}.safetensors"
            checkpoint.save({"train_correct": pack_mask(masks_of(trunk, step))}, path)
            line = {"quantity": "shared_correct", "value": 0.5, "index": 1} | where | {"analysis": "predictions"}
            found.append(result([line], path, "predictions"))
        curve = [{"trunk": trunk, "step": t, "quantity": "train_loss", "value": 1.0 / t} for t in (5, 10)]
        found.append(result(curve))
        found.append(result([{"trunk": trunk, "quantity": "onset_p_conv", "subset": "train", "value": 50.0}]))
    joint = {"split_step": 50, "subset": "train"}
    path = tmp_path / "inter_mode-50.safetensors"
    checkpoint.save({"train_inter_mode": pack_mask(masks_of(0, 50)[0])}, path)
    shares = (("inter_mode", 0.25), ("equal_count_control", 0.5))
    found.append(result([joint | {"quantity": name, "value": value} for name, value in shares], path, "inter_mode"))
    return found


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "figure2.png"
    Figure().savefig(path)
    return path


def test_a_run_a_trunk_with_its_splits_as_points_and_one_of_the_study(runs, results, picture, tmp_path):
    images = torch.randint(256, (20, 4, 4, 3), dtype=torch.uint8)
    examples = Examples(images, torch.arange(20) % 3, lambda x: x)
    ResultsMirror("small", "0a1b2c3d", "lmc", "offline", tmp_path, {"task": "tiny"}).log(results, examples, [picture])

    assert [run.keywords["name"] for run in runs] == [
        "small-0a1b2c3d/trunk-0/analysis",
        "small-0a1b2c3d/trunk-1/analysis",
        "small-0a1b2c3d/study/report",
    ]
    assert all(run.is_finished and run.axes["mode/*"] == "split_step" and run.axes["trunk/*"] == "step" for run in runs)
    interval = {"mode/p_conv/train/low": 0.0, "mode/p_conv/train/high": 1.0}
    assert runs[1].logged[:4] == [
        {"split_step": 0, "mode/p_conv/train": 0.0, **interval, "mode/hull_radius": 3.0},
        {"split_step": 50, "mode/p_conv/train": 1.0, **interval, "mode/hull_radius": 3.0},
        {"step": 5, "trunk/train_loss": 0.2},
        {"step": 10, "trunk/train_loss": 0.1},
    ]
    assert runs[1].summary == {"study/onset_p_conv/train": 50.0} and not runs[2].summary
    assert [artifact.name for artifact in runs[1].artifacts] == ["predictions-1-0", "predictions-1-50"]
    table = runs[1].logged[4]["examples"]
    assert table.columns == ["example", "target", "right at k=0", "right at k=50", "picture"] and len(table.data) == 20
    for example, target, *counts, _ in table.data:
        assert target == example % 3
        assert counts == [int(masks_of(1, step)[:, example].sum()) for step in (0, 50)]
    shares = {"mode/inter_mode/train": 0.25, "mode/equal_count_control/train": 0.5}
    assert runs[2].logged[0] == {"split_step": 50} | shares and set(runs[2].logged[1]) == {"figure2"}
    assert [artifact.name for artifact in runs[2].artifacts] == ["inter_mode-50"]


def test_examples_run_from_never_right_to_always_right():
    masks = {0: torch.rand(4, 1000) < torch.rand(1000), 10: torch.rand(4, 1000) < 0.5}
    table = example_table(masks, torch.arange(1000), num_examples=30)
    total = table["right at k=0"] + table["right at k=10"]
    counts = (masks[0].sum(0) + masks[10].sum(0)).tolist()
    assert len(table) == 30 and total.is_monotonic_increasing
    assert (total.iloc[0], total.iloc[-1]) == (min(counts), max(counts))
    assert [counts[i] for i in table["example"]] == total.tolist()


def test_a_disabled_mirror_writes_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    logger = wandb_logger(
        RunName("tiny", 0, address="tiny-0a1b2c3d/trunk-0"),
        project="lmc",
        mode="disabled",
        output_dir=str(tmp_path),
        config={},
    )
    logger.log_metrics({"loss": 1.0}, step=3)
    logger.finalize("success")
    ResultsMirror("small", "0a1b2c3d", "lmc", "disabled", tmp_path, {}).log([result([{"trunk": 0}])], None, [])
    assert not list(tmp_path.iterdir())


def test_online_a_point_is_told_once_and_again_where_it_changed(tmp_path, runs):
    def report(value):
        where = {"trunk": 0, "split_step": 50, "analysis": "convex_mode"}
        line = where | {"quantity": "p_conv", "subset": "train", "value": value}
        examples = Examples(torch.zeros(4, 2), torch.zeros(4, dtype=torch.long), prepare=lambda batch: batch)
        ResultsMirror("mine", "k", "project", "online", tmp_path, {}).log([result([line])], examples, [])
        return [point["mode/p_conv/train"] for run in runs for point in run.logged if "mode/p_conv/train" in point]

    assert report(0.5) == [0.5] and report(0.5) == [0.5] and report(0.75) == [0.5, 0.75]


def test_examples_are_those_of_predictions_also_beside_other_records(runs, results, picture, tmp_path):
    path = tmp_path / "example_barriers-0.safetensors"
    checkpoint.save({"train_example_barrier": torch.zeros(20)}, path)
    where = {"trunk": 0, "split_step": 0, "analysis": "example_barriers", "subset": "train"}
    of_barriers = result([where | {"quantity": "shared_barrier", "value": 0.1}], path, "example_barriers")
    examples = Examples(torch.zeros(20, 2), torch.arange(20) % 3, lambda x: x)
    ResultsMirror("small", "0a1b2c3d", "lmc", "offline", tmp_path, {"task": "tiny"}).log(
        [*results, of_barriers], examples, [picture]
    )
    assert sum("examples" in logged for run in runs for logged in run.logged) == 2


def test_examples_of_masks_that_are_not_of_all_have_their_own_numbers(runs, tmp_path):
    index, masks = torch.tensor([3, 8, 11]), torch.tensor([[True, False, True], [True, False, False]])
    path = tmp_path / "predictions-0.safetensors"
    checkpoint.save({"train_correct": pack_mask(masks), "train_index": index}, path)
    line = {
        "trunk": 0,
        "split_step": 0,
        "analysis": "predictions",
        "quantity": "intra_mode",
        "subset": "train",
        "value": 0.3,
    }
    examples = Examples(torch.zeros(20, 2), 100 + torch.arange(20), lambda x: x)
    ResultsMirror("small", "0a1b2c3d", "lmc", "offline", tmp_path, {}).log(
        [result([line], path, "predictions")], examples, []
    )
    (table,) = [logged["examples"] for run in runs for logged in run.logged if "examples" in logged]
    assert table.data == [[8, 108, 0], [11, 111, 1], [3, 103, 2]]
