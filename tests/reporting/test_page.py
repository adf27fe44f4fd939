import json
import re
from base64 import b64decode
from html import escape

import pandas as pd
import pytest
from matplotlib.figure import Figure

from entries import entry
from lmc_lab.reporting.figures import figure2, figure3, figure4, figure5, pairs
from lmc_lab.reporting.figures.axes import Marks
from lmc_lab.reporting.missing import unanswered_table
from lmc_lab.reporting.page import Page, Picture, write_page
from lmc_lab.reporting.pictures import inlined
from lmc_lab.reporting.printed import draw_figures
from lmc_lab.reporting.provenance import machines_of, versions_of
from lmc_lab.reporting.report_figure import ReportFigure
from lmc_lab.reporting.table import ABOUT_ONSETS, as_text, cost_table, mode_table, onset_table, task_table
from lmc_lab.results.folder import Result
from lmc_lab.results.part import Part
from lmc_lab.results.row_file import SCHEMA, empty_frame

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


def write_report(rows, tables, folder, *, title, notes=()):
    """Writes a page of rows and the figures for papers beside it, and returns what was written."""
    page = Page(title=title, rows=rows, rows_over_time=rows.iloc[:0], tables=tables, notes=notes)
    written = write_page(page, folder)
    return [*draw_figures(rows, folder, formats=["png", "svg"]), written]


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


def panels_of(figure):
    """Returns the axes of a figure that are panels, and not legends."""
    return [axes for axes in figure.axes if axes.axison]


def test_the_figure_shows_every_trunk_at_every_split(rows):
    top, bottom = panels_of(figure2.FIGURE.drawn(rows))
    for symbol in ("o", "D"):  # of trunk 0 and 1
        points = {
            (x, y) for line in top.lines if line.get_marker() == symbol for x, y in zip(*line.get_data(), strict=True)
        }
        assert points == {(0.0, 0.0), (50.0, 0.5), (800.0, 1.0)} | {(k, 0.02) for k in (0.0, 50.0, 800.0)}
    assert [label.get_text() for label in bottom.get_xticklabels()] == ["0", "50", "800"]
    assert bottom.get_xscale() == "symlog"


def test_the_table_has_a_line_a_mode_with_intervals(rows):
    table = mode_table(rows)
    assert len(table) == 6
    assert table.loc[0, "p_rand"] == "0.02 [0.00, 0.10]" and table.loc[0, "centre"] == "0.123"
    assert "p_conv" in as_text(table)


def test_weights_from_elsewhere_have_a_line_of_their_own_by_their_files(rows):
    files = {"a.pt": "1f", "b.pt": "2e"}
    renamed = {"x.pt": "1f", "y.pt": "2e"}
    common = {"task": "lenet", "num_endpoints": 2, "num_samples": 9}
    lines = [
        common | {"quantity": "p_conv", "subset": "train", "value": 0.25, "low": 0.1, "high": 0.5, "settings": files},
        common | {"quantity": "hull_radius", "value": 7.5, "settings": renamed},
        common | {"quantity": "hull_radius", "value": 8.5, "settings": {"c.pt": "3d"}},
    ]
    for line in lines:
        line["settings"] = json.dumps({"endpoints": line["settings"]})
    elsewhere = pd.DataFrame(lines).reindex(columns=list(SCHEMA)).astype(SCHEMA)
    table = mode_table(pd.concat([rows, elsewhere]))
    alone = mode_table(rows)
    assert len(table) == 7 and (table.loc[:5, alone.columns] == alone).all(axis=None)
    assert table.loc[6, ["trunk", "k", "weights from", "P", "p_conv", "hull radius"]].tolist() == [
        "", "", "a.pt, b.pt", 2, "0.25 [0.10, 0.50]", "7.5"
    ]  # fmt: skip
    assert "trunk" not in mode_table(elsewhere) and "weights from" not in alone


def test_a_mode_has_a_line_for_each_of_the_settings_that_algorithm_1_was_run_with():
    def rows_with(value, **settings):
        text = json.dumps({"seed": 0, "evaluation": {"path": "auto"}, **settings, "endpoints": {"a.pt": "1f"}})
        of_all = {"task": "lenet", "analysis": "convex_mode", "num_endpoints": 2, "num_samples": 9, "settings": text}
        p_conv = {"quantity": "p_conv", "value": value, "low": 0.0, "high": 1.0}
        kinds = (p_conv, {"quantity": "centre_loss", "value": 2 * value})
        return [of_all | kind | {"subset": "train"} for kind in kinds]

    radius = {"task": "lenet", "analysis": "distances", "quantity": "hull_radius", "value": 7.5}
    radius["settings"] = json.dumps({"endpoints": {"a.pt": "1f"}})
    lines = [*rows_with(0.25), *rows_with(0.5, evaluation={"path": "loop"}, seed=3), radius]
    table = mode_table(pd.DataFrame(lines).reindex(columns=list(SCHEMA)).astype(SCHEMA))
    assert table["with"].tolist() == ["seed=0, evaluation.path=auto", "seed=3, evaluation.path=loop"]
    assert table["p_conv"].tolist() == ["0.25 [0.00, 1.00]", "0.50 [0.00, 1.00]"]
    assert table["centre"].tolist() == ["0.5", "1"] and table["hull radius"].tolist() == ["7.5", "7.5"]


def test_a_report_needs_rows_only(rows, tmp_path):
    written = write_report(rows, {"Modes": mode_table(rows)}, tmp_path, title="lenet")
    assert {path.name for path in written} == {"figure2.png", "figure2.svg", "report.html"}
    assert "<td>0.02 [0.00, 0.10]</td>" in (tmp_path / "report.html").read_text()


def test_a_report_from_the_same_rows_is_the_same(rows, tmp_path):
    contents = [[path.read_bytes() for path in write_report(rows, {}, tmp_path / name, title="t")] for name in "ab"]
    assert contents[0] == contents[1]


def result(analysis, seconds, lines):
    rows = pd.DataFrame([{"task": "lenet", "analysis": analysis} | line for line in lines])
    return Result(rows.reindex(columns=list(SCHEMA)).astype(SCHEMA), entry(analysis=analysis, seconds=seconds))


def test_what_an_analysis_left_out_is_said_once_with_the_subjects():
    def answer(step, *left_out, analysis="star"):
        part = Part(0, step, (0, 1))
        return Result(empty_frame(), entry(analysis=analysis, left_out=left_out, subject=(part,)))

    found = [answer(0, "a, since b"), answer(20, "a, since b", "c, since d"), answer(0, analysis="pairs")]
    assert unanswered_table({"mine": found}).values.tolist() == [
        ["mine", "star", "a, since b", "all"],
        ["mine", "star", "c, since d", "trunk 0, k = 20"],
    ]
    assert unanswered_table({"mine": found[2:]}).empty


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


def with_rows(rows, lines):
    """Returns rows with more lines, of the task lenet where they do not say otherwise."""
    extra = pd.DataFrame([{"task": "lenet"} | line for line in lines]).reindex(columns=list(SCHEMA)).astype(SCHEMA)
    return pd.concat([rows, extra], ignore_index=True)


def test_figure_3_has_the_splits_from_which_every_trunks_centre_is_better(rows):
    """The centre of trunk 0 is better everywhere, that of trunk 1 from k = 50 on."""
    lines = []
    for trunk in (0, 1):
        for step in (0, 50, 800):
            where = {"trunk": trunk, "split_step": step}
            for kind in ("raw", "centred"):
                lines += [
                    where | {"quantity": f"singular_value_{kind}", "index": i, "value": 4.0 / i} for i in (1, 2, 3)
                ]
                lines.append(where | {"quantity": f"singular_value_floor_{kind}", "value": 1.5})
                lines.append(where | {"quantity": f"effective_rank_{kind}", "value": 1.25})
            lines.append(where | {"quantity": "num_outputs", "value": 10})
    for trunk, step in ((0, 0), (1, 50)):
        lines.append({"trunk": trunk, "quantity": "onset_centre_better", "subset": "train", "value": step})
    raw, centred = panels_of(figure3.FIGURE.drawn(with_rows(rows, lines)))
    named = {line.get_label() for line in raw.lines if not line.get_label().startswith("_")}
    assert named == {"k = 50", "k = 800", "trunk 0", "trunk 1"}
    drawn = [line for line in raw.lines if len(line.get_xdata()) > 1]
    assert len(drawn) == 2 * 2 and {line.get_marker() for line in drawn} == {"o", "D"}
    assert all(list(line.get_ydata()) == [1.0, 0.5] for line in drawn)  # normalised; the third is below the floor
    assert raw.get_xlim()[1] < 3  # it ends where the values do: K = 10 is not drawn but said
    assert [text.get_text() for text in centred.texts] == ["effective rank 1.25\nP = 3, K = 10"]


def test_figure_3_marks_the_number_of_outputs_where_there_are_so_many_components(rows):
    where = {"trunk": 0, "split_step": 50}
    lines = [where | {"quantity": "singular_value_raw", "index": i, "value": 4.0 / i} for i in (1, 2, 3)]
    lines += [
        where | {"quantity": "singular_value_floor_raw", "value": 0.1},
        where | {"quantity": "num_outputs", "value": 2},
    ]
    lines += [{"trunk": 0, "quantity": "onset_centre_better", "subset": "train", "value": 0}]
    raw, _ = panels_of(figure3.FIGURE.drawn(with_rows(rows, lines)))
    (line,) = [line for line in raw.lines if line.get_label() == "number of outputs K"]
    assert list(line.get_xdata()) == [2, 2]


def test_figure_3_says_once_that_no_split_has_a_better_centre(rows):
    lines = [
        {"trunk": trunk, "split_step": step, "quantity": "singular_value_raw", "value": 0.1}
        for trunk in (0, 1)
        for step in (0, 50, 800)
    ]
    lines += [{"trunk": 0, "quantity": "onset_centre_better", "subset": "train", "value": 0, "high": 0}]
    lines += [{"trunk": 1, "quantity": "onset_centre_better", "subset": "train", "value": float("inf"), "low": 800}]
    lines += [{"trunk": 1, "quantity": "onset_centre_better_splits", "subset": "train", "value": 3}]
    for axis in panels_of(figure3.FIGURE.drawn(with_rows(rows, lines))):
        assert [text.get_text() for text in axis.texts] == ["no split from which the centre is better"]


def test_figure_3_has_all_splits_where_nobody_asked_for_the_onset(rows):
    lines = [{"trunk": 0, "split_step": step, "quantity": "singular_value_raw", "value": 0.1} for step in (0, 50)]
    lines = [{**line, "index": index, "value": 1 / index} for line in lines for index in (1, 2)]
    raw, _ = panels_of(figure3.FIGURE.drawn(with_rows(rows, lines)))
    assert len([line for line in raw.get_lines() if len(line.get_xdata())]) == 2


def test_a_task_without_accuracy_has_a_column_that_says_so(rows, tmp_path):
    """Every figure and table of two tasks, of which one has neither accuracies nor errors."""
    lines = []
    for step in (0, 50, 800):
        for task in ("lenet", "siren"):
            where = {"task": task, "trunk": 0, "split_step": step}
            for quantity in ("p_conv", "instability_loss", "endpoint_loss", "centre_loss"):
                lines.append(where | {"quantity": quantity, "subset": "train", "value": 0.5})
            lines.append(where | {"quantity": "train_loss", "branch": 0, "step": step, "value": 2.0})
        where = {"trunk": 0, "split_step": step, "subset": "train"}
        lines += [
            where | {"quantity": name, "value": 0.01}
            for name in ("endpoint_accuracy", "intra_mode", "instability_error")
        ]
        lines.append(where | {"quantity": "shared_correct", "index": 1, "value": 0.5})
    both = with_rows(rows[rows["quantity"].eq("hull_radius")], lines)
    names = {path.stem for path in write_report(both, {}, tmp_path, title="both")}
    assert names == {"figure2", "figure5", "shared_correct", "figure6", "pairs", "report"}
    for figure, number in ((figure5.FIGURE.drawn(both), 6), (pairs.FIGURE.drawn(both), 6)):
        texts = [[text.get_text() for text in axes.texts] for axes in panels_of(figure)]
        assert len(texts) == number and any("does not exist" in text for text in texts[-1])  # the last is siren's
    onsets = [{"task": "lenet", "quantity": "onset_instability", "value": 0.0, "high": 0.0}]
    onsets += [{"task": task, "quantity": "onset_p_conv", "value": 0.0, "high": 0.0} for task in ("lenet", "siren")]
    table = onset_table(with_rows(both, [{"trunk": 0, "subset": "train"} | line for line in onsets]))
    assert table.set_index("task")["onset by instability"].to_dict() == {"lenet": "- .. 0", "siren": ""}


def test_an_end_that_has_not_converged_has_a_ring(rows):
    lines = []
    for step, is_converged in ((0, 1), (50, 0)):
        for quantity, value in (("lambda_min", -1), ("lambda_max", 9), ("hessian_ratio", -0.1)):
            lines.append({"trunk": 0, "step": step, "quantity": quantity, "value": value})
        lines.append({"trunk": 0, "step": step, "quantity": "is_converged", "value": is_converged})
    ends = panels_of(figure4.FIGURE.drawn(with_rows(rows, lines)))[0]
    rings = [list(line.get_xdata()) for line in ends.lines if line.get_label() == "not converged"]
    assert rings == [[50], [50]]  # one for either end


def onset_lines(failed, held, unmeasured=()):
    where = {"trunk": 0, "subset": "train"}
    lines = [where | {"quantity": "onset_p_conv_unmeasured", "value": step} for step in unmeasured]
    value = float("inf") if held is None else held
    return [*lines, where | {"quantity": "onset_p_conv", "value": value, "low": failed, "high": held}]


@pytest.mark.parametrize(
    ("failed", "held", "unmeasured", "bracket"),
    [
        (50, 800, (), "50 .. 800"),
        (None, 0, (), "- .. 0"),
        (800, None, (800,), "800 (missing) .. -"),
        (0, 50, (0,), "0 (missing) .. 50"),
    ],
)
def test_an_onset_is_a_bracket(rows, failed, held, unmeasured, bracket):
    curve = [{"trunk": 0, "quantity": "train_loss", "step": step, "value": 1 / step} for step in (10, 50, 100)]
    line = onset_table(with_rows(rows, [*onset_lines(failed, held, unmeasured), *curve])).iloc[0]
    assert line["onset by p_conv"] == bracket and line["first loss"] == "0.1"
    loss = {None: None, 0: "0.1", 50: "0.02", 800: "0.01"}[held]
    assert line.get("loss just before (p_conv)") == loss


def test_figure_4_follows_branches_to_their_endpoints(rows):
    common = {"task": "lenet", "quantity": "hessian_ratio", "trunk": 0}
    trunk = [common | {"step": step, "value": -0.1} for step in (0, 800)]
    branches = [
        common | {"split_step": split, "branch": 0, "step": step, "value": -0.01 * split}
        for split, steps in ((0, (200, 4680)), (50, (200, 4680)))
        for step in steps
    ]
    extra = pd.DataFrame([*trunk, *branches]).reindex(columns=list(SCHEMA)).astype(SCHEMA)
    panels = panels_of(figure4.FIGURE.drawn(pd.concat([rows, extra], ignore_index=True)))
    _, ratio = panels  # those of what was measured
    drawn = {line.get_color(): list(line.get_data()[0]) for line in ratio.lines if line.get_marker() == "o"}
    colours = Marks.of(extra).splits
    assert drawn == {colours[0]: [200, 4680], colours[50]: [200, 4680]}
    assert [label.get_text() for label in ratio.get_xticklabels()] == ["200", "4680"]  # each step has its label


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


def test_table_1_shows_what_a_task_of_ones_own_has():
    """No rate, a data function without a module in its name, a module that is none, nothing else."""
    task = {"optimizer": {"_target_": "own.NoRate", "step": 1}, "data": {"_target_": "load"}, "module": None}
    line = task_table({"mine": {"task": task | {"model": {"width": 3}}}, "empty": {"task": {}}}).iloc[0]
    assert line[["optimizer", "LR", "dataset", "task", "model"]].tolist() == ["NoRate", "", "", "", "(width=3)"]


def test_no_number_is_shown_as_missing(rows, tmp_path):
    nothing = rows.assign(value=float("nan"), low=float("nan"), high=float("inf"))
    table = mode_table(nothing)
    assert {*table["p_conv"], *table["centre"], *table["hull radius"]} == {"missing"}
    assert [path.name for path in write_report(nothing, {}, tmp_path, title="t")] == ["report.html"]


def test_figures_leave_out_what_is_no_number(rows, tmp_path):
    rows.loc[rows["split_step"].eq(50), ["value", "low", "high"]] = float("inf")
    top, _ = panels_of(figure2.FIGURE.drawn(rows))
    assert all(abs(number) < 9 for line in top.lines for number in line.get_ydata())
    assert len(write_report(rows, {}, tmp_path, title="t")) == 3


def test_a_report_draws_splits_of_which_some_analyses_are_missing(rows, tmp_path):
    """Centres at all splits, endpoints and singular values at some."""
    where = {"trunk": 0, "split_step": 800, "subset": "train"}
    lines = [where | {"quantity": "endpoint_loss", "value": 0.5}]
    lines += [where | {"quantity": "singular_value_raw", "index": 1, "value": 2.0}]
    lines += [{"task": "other", "trunk": 0, "split_step": 3, "quantity": "p_conv", "subset": "train", "value": 1.0}]
    names = {path.stem for path in write_report(with_rows(rows, lines), {}, tmp_path, title="t")}
    assert names == {"figure2", "figure3", "report"}


def test_branches_that_diverged_are_in_the_modes_table(rows):
    lines = [
        {"trunk": 0, "split_step": 50, "quantity": "diverged_at", "branch": seed, "value": 31} for seed in (4, 2, 4)
    ]
    table = mode_table(with_rows(rows, lines)).set_index(["trunk", "k"])
    assert table.loc[(0, 50), "left out"] == "seed 2 (diverged at step 31), seed 4 (diverged at step 31)"
    assert table.loc[(0, 0), "left out"] == "" and "left out" not in mode_table(rows)


def test_a_figure_of_ones_own_is_in_the_page_whether_files_are_asked_for_or_not(rows, tmp_path):
    def draw(rows):
        figure = Figure(figsize=(1, 1))
        figure.subplots().plot(rows["value"])
        return figure

    own = ReportFigure(draw=draw, needs=("hull_radius",), caption="a < b")
    picture = Picture(own.caption, inlined(own, rows))
    assert b64decode(picture.source.removeprefix("data:image/png;base64,")).startswith(b"\x89PNG")
    assert picture.source == inlined(own, rows.sample(frac=1, random_state=0))
    for formats, links in (([], []), (["png", "pdf"], ["mine.png", "mine.pdf"])):
        page = Page(
            title="t", rows=rows.iloc[:0], rows_over_time=rows.iloc[:0], own_figures={"mine": picture}, formats=formats
        )
        told = write_page(page, tmp_path).read_text()
        assert f'<img src="{picture.source}" alt="a &lt; b">' in told
        assert re.findall('href="(mine.*?)"', told) == links


@pytest.mark.parametrize(
    ("folder", "told"), [("conf", ", in the folder where they were first given, to which"), ("/c", ":")]
)
def test_commands_are_told_with_the_folder_that_they_are_relative_to(rows, tmp_path, folder, told):
    commands = [f"python -m lmc_lab.study study=mine --config-dir {folder}"]
    page = Page(title="x", rows=rows, rows_over_time=rows.iloc[:0], commands=commands)
    assert f"These commands make the numbers again{told}" in write_page(page, tmp_path).read_text()


def test_the_onsets_brackets_are_explained(rows, tmp_path):
    onsets = onset_table(with_rows(rows, onset_lines(None, 0)))
    write_report(rows, {"Onset": onsets, "Modes": mode_table(rows)}, tmp_path, title="t")
    page = (tmp_path / "report.html").read_text()
    assert page.count("An onset is a bracket: the last split that failed .. the first that held") == 1
    assert escape(ABOUT_ONSETS) in page.partition("<h3>Onset</h3>")[2].partition("</section>")[0]


def test_notes_are_on_the_page_and_empty_tables_are_not(rows, tmp_path):
    write_report(rows, {"Missing": pd.DataFrame()}, tmp_path, title="t", notes=["a < b"])
    page = (tmp_path / "report.html").read_text()
    assert "<p>a &lt; b</p>" in page and "Missing" not in page.partition("<script")[0]


@pytest.mark.parametrize(
    ("machines", "told"),
    [
        (["Xeon"], "on Xeon"),
        (["", ""], "on a machine not recorded"),
        (["", "Xeon"], "on Xeon and a machine not recorded"),
    ],
)
def test_the_page_says_who_measured_it_and_that_an_older_file_does_not_say_where(rows, tmp_path, machines, told):
    results = [Result(rows, entry(versions={"torch": "2", "Python": "3.11"}, machine=each), None) for each in machines]
    page = Page(
        title="x", rows=rows, rows_over_time=rows.iloc[:0], tables={},
        versions=versions_of(results), machines=machines_of(results),
    )  # fmt: skip
    assert f"<p>Measured with Python 3.11, torch 2, {told}.</p>" in write_page(page, tmp_path).read_text()


def test_a_panel_without_rows_is_not_on_the_page(rows, tmp_path):
    """Of one task distances were measured, of the other probabilities alone; of neither any accuracy."""
    other = rows[~rows["quantity"].eq("hull_radius")].assign(task="other")
    both = pd.concat([rows, other], ignore_index=True)
    page = write_page(Page(title="x", rows=both, rows_over_time=both.iloc[:0]), tmp_path).read_text()
    panels = json.loads(page.partition('id="data">')[2].partition("</script>")[0])["figure2"]
    assert [panel["title"].partition(":")[0] for panel in panels].count("other") == 1
    assert len(panels) == 3 and all(panel["traces"] for panel in panels)


@pytest.mark.parametrize(
    ("modes", "shown"),
    [
        ([["/x/sgd/0.pt", "/x/sgd/1.pt"], ["/x/adam/0.pt"]], ["sgd/0.pt, sgd/1.pt", "adam/0.pt"]),
        ([["/x/a.pt", "b.pt"]], ["/x/a.pt, b.pt"]),
        ([["a.pt", "b.pt"]], ["a.pt, b.pt"]),
        ([["runs/0/last.ckpt", "runs/1/last.ckpt"]], ["0/last.ckpt, 1/last.ckpt"]),
    ],
)
def test_files_of_weights_from_elsewhere_are_told_apart(modes, shown):
    lines = [
        {
            "task": "t",
            "quantity": "p_conv",
            "subset": "train",
            "value": 0.5,
            "low": 0.4,
            "high": 0.6,
            "num_endpoints": 2,
        }
        | {"settings": json.dumps({"endpoints": {path: path for path in paths}})}
        for paths in modes
    ]
    table = mode_table(pd.DataFrame(lines).reindex(columns=list(SCHEMA)).astype(SCHEMA))
    assert sorted(table["weights from"]) == sorted(shown)
