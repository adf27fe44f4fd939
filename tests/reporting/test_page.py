import pandas as pd
import pytest

from lmc_lab.analyses.store import SCHEMA, Result
from lmc_lab.reporting.figures.hull import figure2
from lmc_lab.reporting.figures.training import figure4
from lmc_lab.reporting.page import write_report
from lmc_lab.reporting.table import as_text, cost_table, mode_table, onset_table, task_table

CONFIGS = {
    "lenet": {
        "task": {
            "model": {"_target_": "lmc_lab.models.lenet.LeNet"},
            "data": {"_target_": "lmc_lab.data.cifar10.load"},
            "module": {"_target_": "lmc_lab.tasks.classification.Classification"},
            "optimizer": {"_target_": "torch.optim.SGD", "lr": 0.01, "momentum": 0.9},
            "batch_size": 128,
            "max_steps": 4680,
            "precision": "32-true",
        }
    }
}


@pytest.fixture
def rows():
    """Rows as analyses write them, for two trunks and three splits."""
    lines = []
    for trunk in (0, 1):
        for i, step in enumerate((0, 50, 800)):
            common = {"task": "lenet", "trunk": trunk, "split_step": step, "num_endpoints": 5, "num_samples": 50}
            for subset in ("train", "test"):
                value = i / 2
                lines.append(
                    common | {"quantity": "p_conv", "subset": subset, "value": value, "low": value, "high": value}
                )
                lines.append(common | {"quantity": "p_rand", "subset": subset, "value": 0.02, "low": 0.0, "high": 0.1})
                lines.append(common | {"quantity": "centre_loss", "subset": subset, "value": 0.123456})
            lines.append(common | {"quantity": "hull_radius", "value": 3.0 - i})
    return pd.DataFrame(lines).reindex(columns=list(SCHEMA)).astype(SCHEMA)


def test_the_figure_shows_every_trunk_at_every_split(rows):
    top, bottom = figure2(rows).axes
    points = {(x, y) for line in top.lines if line.get_marker() == "o" for x, y in zip(*line.get_data(), strict=True)}
    assert points == {(0.0, 0.0), (50.0, 0.5), (800.0, 1.0)}
    assert [label.get_text() for label in bottom.get_xticklabels()] == ["0", "50", "800"]
    assert bottom.get_xscale() == "symlog"


def test_the_table_has_a_line_a_mode_with_intervals(rows):
    table = mode_table(rows)
    assert len(table) == 6
    assert table.loc[0, "p_rand"] == "0.02 [0.00, 0.10]" and table.loc[0, "centre"] == "0.123"
    assert "p_conv" in as_text(table)


def test_a_report_needs_rows_only(rows, tmp_path):
    written = write_report(rows, {"Modes": mode_table(rows)}, tmp_path, title="lenet")
    assert {path.name for path in written} == {"figure2.png", "figure2.svg", "index.html"}
    assert "<td>0.02 [0.00, 0.10]</td>" in (tmp_path / "index.html").read_text()


def test_a_report_from_the_same_rows_is_the_same(rows, tmp_path):
    contents = [[path.read_bytes() for path in write_report(rows, {}, tmp_path / name, title="t")] for name in "ab"]
    assert contents[0] == contents[1]


def result(analysis, seconds, lines):
    rows = pd.DataFrame([{"task": "lenet", "analysis": analysis} | line for line in lines])
    return Result(rows.reindex(columns=list(SCHEMA)).astype(SCHEMA), seconds, None)


def test_the_cost_of_an_analysis_is_its_median_and_per_checkpoint():
    ends = [{"quantity": "num_products", "value": count, "step": step} for step, count in ((0, 20), (50, 40))]
    curves = [{"quantity": "p_conv", "value": 1.0}]
    found = [result("convex_mode", seconds, curves) for seconds in (3.0, 4.0, 100.0)]
    table = cost_table([*found, result("trunk_hessian", 60.0, ends)]).set_index("analysis")
    assert table.loc["convex_mode"].to_dict() == {
        "task": "lenet", "results": "3", "seconds": "4", "checkpoints": "", "seconds a checkpoint": "",
        "products a checkpoint": "",
    }  # fmt: skip
    assert table.loc["trunk_hessian", ["checkpoints", "seconds a checkpoint", "products a checkpoint"]].tolist() == [
        "2",
        "30",
        "30",
    ]


def test_onset_by_a_threshold(rows):
    assert onset_table(rows, threshold=0.9).loc[0, "onset by p_conv"] == "50 .. 800"
    assert onset_table(rows, threshold=0.5).loc[0, "onset by p_conv"] == "0 .. 50"


def test_figure_4_follows_branches_to_their_endpoints(rows):
    common = {"task": "lenet", "quantity": "hessian_ratio", "trunk": 0}
    trunk = [common | {"step": step, "value": -0.1} for step in (0, 800)]
    branches = [
        common | {"split_step": split, "branch": 0, "step": step, "value": -0.01 * split}
        for split, steps in ((0, (200, 4680)), (50, (200, 4680)))
        for step in steps
    ]
    extra = pd.DataFrame([*trunk, *branches]).reindex(columns=list(SCHEMA)).astype(SCHEMA)
    ratio = figure4(pd.concat([rows, extra], ignore_index=True)).axes[1]
    drawn = {line.get_label(): list(line.get_xdata()) for line in ratio.lines if line.get_marker() == "x"}
    assert drawn == {"branches from k = 0": [200, 4680], "branches from k = 50": [200, 4680]}


def test_table_1_comes_from_the_configs():
    line = task_table(CONFIGS).iloc[0]
    assert line[["model", "dataset", "optimizer", "LR", "batch size", "T"]].tolist() == [
        "LeNet",
        "cifar10",
        "SGD + momentum 0.9",
        0.01,
        128,
        4680,
    ]
