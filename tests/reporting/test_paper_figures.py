"""Figures for papers: as wide as a column, told apart by everybody, and the same file of the same rows."""

import re

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.text import Text

from conftest import REPOSITORY
from lmc_lab.reporting import palette, printed
from lmc_lab.reporting.figures import figure2, figure3, figure4, figure5, figure6, pairs
from lmc_lab.reporting.figures.axes import Marks, Style, draw_points
from lmc_lab.reporting.figures.style import ONE_COLUMN, PAPER, TWO_COLUMNS
from lmc_lab.reporting.interactive import figure6 as interactive_figure6
from lmc_lab.reporting.pictures import laid_out
from lmc_lab.results.bundle import read_bundle
from lmc_lab.results.folder import all_rows
from lmc_lab.results.row_file import SCHEMA
from lmc_lab.results.select import in_order
from question_rows import (
    alignment_rows,
    chaos_rows,
    collapse_rows,
    example_rows,
    kernel_rows,
    noise_rows,
    part_rows,
    shape_rows,
)

# Of Machado, Oliveira and Fernandes (2009), at full severity, on linear RGB.
_SIGHT = {
    "usual": np.eye(3),
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
}


def _of_parts():
    """Rows of chosen parts alone: those of plain branches are the demo's."""
    rows = part_rows()
    return rows[rows["quantity"].str.contains("_on_|_of_")]


_MADE = (alignment_rows, chaos_rows, collapse_rows, example_rows, kernel_rows, noise_rows, _of_parts, shape_rows)


@pytest.fixture(scope="module")
def demo():
    """The rows of the demo, of endpoints and over time, by whether a figure is over time."""
    results = REPOSITORY / "docs" / "results"
    _, collected = read_bundle(results / "mnist1d.parquet")
    questions = [
        each
        for each in read_bundle(results / "mnist1d_questions.parquet")[1].with_rows
        if each.entry.analysis == "gap_terms"
    ]
    return {
        False: pd.concat(
            [
                all_rows([*collected.with_rows, *questions]).assign(task="mnist1d"),
                *(make() for make in _MADE),
            ]
        ),
        True: all_rows(collected.over_time).assign(task="mnist1d"),
    }


@pytest.fixture(autouse=True)
def settings():
    """Those of paper, as where files are written; some ticks are made late."""
    with mpl.rc_context(PAPER):
        yield


def drawn(name, rows):
    return laid_out(printed.FIGURES[name].drawn(in_order(rows)))


@pytest.mark.parametrize(
    ("name", "num_tasks"), [*((name, 1) for name in printed.FIGURES), ("figure4", 3), ("pairs", 3)]
)
def test_a_figure_is_as_wide_as_a_column_with_letters_of_7_to_9_points(demo, name, num_tasks):
    rows = demo[printed.FIGURES[name].over_time]
    rows = pd.concat([rows.assign(task=f"{rows['task'].iloc[0]} {number}") for number in range(num_tasks)])
    figure = drawn(name, rows)
    assert figure.get_figwidth() in (ONE_COLUMN, TWO_COLUMNS) and figure.get_figheight() < 10 * num_tasks
    texts = [text for text in figure.findobj(Text) if text.get_text() and text.get_visible()]
    assert texts and all(7 <= text.get_fontsize() <= 9 for text in texts)
    renderer = FigureCanvasAgg(figure).get_renderer()
    sheet = figure.bbox.padded(2)
    for axis in figure.axes:  # a legend is below its row, and nothing is beyond the sheet
        box = axis.get_tightbbox(renderer)
        assert box is None or (sheet.x0 <= box.x0 and box.x1 <= sheet.x1 and sheet.y0 <= box.y0 and box.y1 <= sheet.y1)
        assert axis.axison == (axis.get_legend() is None)


@pytest.mark.parametrize("name", [name for name in printed.FIGURES if name not in ("over_time", "figure6")])
def test_every_trunk_has_a_symbol_that_the_figure_names(demo, name):
    """The others have a row of panels for each trunk."""
    figure = drawn(name, demo[False])
    legends = [axis.get_legend() for axis in figure.axes if axis.get_legend()]
    named = [text.get_text() for legend in legends for text in legend.get_texts()]
    assert len(named) == len(set(named)) and {"trunk 0", "trunk 1"} <= set(named)
    for axis in (axis for axis in figure.axes if axis.axison):
        symbols = {line.get_marker() for line in axis.lines if len(line.get_xdata())} - {"None", "_", "|", ""}
        assert {"o", "D"} <= symbols


@pytest.mark.parametrize("name", printed.FIGURES)
def test_a_caption_says_what_bars_dashes_and_points_are(demo, name):
    own = printed.FIGURES[name]
    lines = [line for axis in own.drawn(demo[own.over_time]).axes for line in axis.lines]
    bars = [
        each
        for axis in own.drawn(demo[own.over_time]).axes
        for each in axis.collections
        if hasattr(each, "get_segments")
    ]
    told = {"bars:": bars, "dashed": [line for line in lines if line.get_linestyle() == "--"]}
    told |= {"dotted": [line for line in lines if line.get_linestyle() == ":"]}
    told |= {"symbol": [line for line in lines if line.get_marker() == "D"]}
    assert {word for word, found in told.items() if found} <= {word for word in told if word in own.caption.lower()}


def test_captions_are_beside_the_figures(demo, tmp_path):
    few = demo[False][demo[False]["quantity"].isin(["p_conv", "shared_correct"])]
    printed.draw_figures(few, tmp_path, formats=["svg"])
    told = (tmp_path / "captions.txt").read_text()
    assert [line for line in told.splitlines() if line in printed.FIGURES] == ["figure2", "shared_correct"]
    assert printed.FIGURES["figure2"].caption_of(few) in told


def test_what_was_not_measured_has_no_panel_and_is_not_told_of(demo):
    """Distances of Figure 2, and what endpoints have right in common of Figure 5."""
    study = demo[False][demo[False]["quantity"].isin(["p_conv", "endpoint_accuracy"])]
    for name, num_panels, words in (
        ("figure2", 1, ("Bottom", "dotted")),
        ("figure5", 2, ("Dashed", "Right:", "Squares")),
    ):
        own = printed.FIGURES[name]
        assert len([axis for axis in drawn(name, study).axes if axis.axison]) == num_panels
        assert own.caption_of(demo[False]) == own.caption and all(word in own.caption for word in words)
        assert not any(word in own.caption_of(study) for word in words)


def test_what_has_one_step_stands_side_by_side():
    lines = [
        {"task": "t", "trunk": trunk, "split_step": 10, "quantity": "p", "value": 0.5, "low": 0.1, "high": 0.9}
        for trunk in (0, 1, 2)
    ]
    rows = pd.DataFrame(lines).reindex(columns=list(SCHEMA)).astype(SCHEMA)
    figure = mpl.figure.Figure()
    axis = figure.subplots()
    draw_points(axis, "split_step", {Style("a", "red"): rows, Style("b", "blue"): rows}, Marks.of(rows))
    figure.draw_without_rendering()
    points = [line for line in axis.lines if line.get_marker() in ("o", "D", "^") and len(line.get_xdata())]
    places = sorted(line.get_transform().transform((10, 0.5))[0] / figure.dpi * 72 for line in points)
    assert len(places) == 6 and min(np.diff(places)) > 2  # points of the page
    bars = sorted({bar.get_transform().transform((10, 0.5))[0] / figure.dpi * 72 for bar in axis.collections})
    assert bars == pytest.approx(places)


def test_pairs_of_a_regression_have_no_panel_of_an_error(demo):
    rows = demo[False]
    of_regression = rows[~rows["quantity"].str.contains("error|accuracy")]
    labels = [
        [axis.get_ylabel() for axis in drawn("pairs", each).axes if axis.axison] for each in (rows, of_regression)
    ]
    assert [len(each) for each in labels] == [3, 2] and labels[0][:2] == labels[1]


def test_an_interval_ends_where_the_quantity_does():
    def bars_of(quantities, draw, **more):
        common = {"task": "t", "trunk": 0, "split_step": 10, "subset": "train", "low": -0.5, "high": 1.5, "value": 0.9}
        rows = pd.DataFrame([common | more | {"quantity": quantity} for quantity in quantities])
        rows = rows.reindex(columns=list(SCHEMA)).astype(SCHEMA)
        axis = mpl.figure.Figure().subplots()
        draw(axis, rows, Marks.of(rows))
        return {tuple(y for _, y in bar) for bars in axis.collections for bar in bars.get_segments()}

    assert bars_of(["endpoint_accuracy"], lambda *args: figure5.accuracy(*args, subset="train")) == {(0, 1)}
    assert bars_of(["endpoint_accuracy", "inter_mode"], figure5.right_in_common) == {(0, 1)}
    assert bars_of(["p_gap_negative"], figure4.p_gap_negative, split_step=None, step=5) == {(0, 1)}
    assert bars_of(["barrier_loss"], lambda *args: pairs.pairs(*args, level="loss")) == {(0, 1.5)}


def test_on_a_logarithmic_axis_bars_to_0_or_below_end_where_the_axis_does():
    common = {"task": "t", "trunk": 0, "value": 20.0, "low": -15.0, "high": 70.0}
    lines = [common | {"split_step": step, "quantity": "endpoint_endpoint"} for step in (10, 100)]
    lines += [{**common, "split_step": 10, "quantity": "hull_radius", "value": 2.0, "low": 1.0, "high": 3.0}]
    rows = pd.DataFrame(lines).reindex(columns=list(SCHEMA)).astype(SCHEMA)
    axis = mpl.figure.Figure().subplots()
    figure2.distances(axis, rows, Marks.of(rows))
    bottom, top = axis.get_ylim()
    bars = {tuple(y for _, y in bar) for bars in axis.collections for bar in bars.get_segments()}
    assert bars == {(bottom, 70.0), (1.0, 3.0)} and 0 < bottom < 1 and top > 70
    caps = {y for line in axis.lines if line.get_marker() in (2, 3, "_") for y in line.get_ydata()}
    assert all(y > 0 for y in caps if not np.isnan(y))


def test_a_flat_spectrum_fills_its_panel_and_the_remark_is_below():
    common = {"task": "t", "trunk": 0, "split_step": 10}
    lines = [
        common | {"quantity": "singular_value_centred", "index": index, "value": value}
        for index, value in enumerate((1, 0.995, 0.99), 1)
    ]
    lines += [common | {"quantity": "num_outputs", "value": 1}]
    rows = pd.DataFrame(lines).reindex(columns=list(SCHEMA)).astype(SCHEMA)
    figure = mpl.figure.Figure(layout="constrained")
    axis = figure.subplots()
    figure3.singular_values(axis, rows, Marks.of(rows), kind="centred")
    laid_out(figure)
    bottom, top = axis.get_ylim()
    assert (1 - 0.99) / (top - bottom) > 0.8
    (remark,) = axis.texts
    assert remark.get_window_extent().y1 < axis.bbox.y0  # where no line runs through it


def places_of(axis):
    """Where points with a symbol are drawn, in points of the page."""
    lines = [line for line in axis.lines if line.get_marker() in ("o", "D", "s")]
    places = [line.get_transform().transform(line.get_xydata()) for line in lines if len(line.get_xdata())]
    return np.concatenate(places) / axis.figure.dpi * 72


@pytest.mark.parametrize(("name", "number", "least"), [("chaos", 3, 2), ("chaos", 4, 2), ("permutation", 1, 2.5)])
def test_points_with_one_value_do_not_hide_each_other(demo, name, number, least):
    """Shares of pairs by size, and p_conv of unions in several ways."""
    axis = [axis for axis in drawn(name, demo[False]).axes if axis.axison][number]
    places = places_of(axis)
    apart = [np.linalg.norm(first - second) for i, first in enumerate(places) for second in places[:i]]
    assert min(apart) > least


@pytest.mark.parametrize("name", ["permutation", "neural_collapse"])
def test_there_is_one_legend_where_no_row_of_panels_needs_its_own(demo, name):
    assert len([axis for axis in drawn(name, demo[False]).axes if axis.get_legend()]) == 1


def test_one_trunk_alone_has_another_colour_than_what_is_not_aligned(demo):
    (legend,) = [axis.get_legend() for axis in drawn("permutation", demo[False]).axes if axis.get_legend()]
    named = dict(zip([text.get_text() for text in legend.get_texts()], legend.get_lines(), strict=True))
    series = [line.get_color() for label, line in named.items() if not label.startswith("trunk")]
    assert len(series) == len(set(series)) == 8


def test_small_barriers_of_parts_are_told_apart(demo):
    barriers = [axis for axis in drawn("shared_examples", demo[False]).axes if axis.axison][2]
    assert barriers.get_yscale() == "symlog" and barriers.get_ylim()[0] == 0


def lab(colour, sight):
    """Returns a colour of sRGB in CIELAB (D65), as it is seen."""
    channels = np.array(to_rgb(colour))
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    seen = np.clip(np.array(sight) @ linear, 0, 1)
    xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]) @ seen
    x, y, z = np.cbrt(np.maximum(xyz / np.array([0.9505, 1, 1.089]), 0.008856))
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("sight", _SIGHT.values(), ids=_SIGHT)
@pytest.mark.parametrize("number", [2, 5, 8])
def test_neighbouring_splits_are_told_apart(number, sight):
    """A difference of 2.3 is just seen; lines on paper take several of them."""
    seen = [lab(colour, sight) for colour in palette.split_colours(range(number)).values()]
    assert min(np.linalg.norm(first - second) for first, second in zip(seen, seen[1:], strict=False)) > 8
    assert all(second[0] > first[0] for first, second in zip(seen, seen[1:], strict=False))  # also in grey


def test_the_latest_split_is_seen_on_white():
    lightness = lab(palette.split_colours((0, 1))[1], _SIGHT["usual"])[0]
    assert lightness < 78  # viridis ends at 91


@pytest.mark.parametrize("sight", _SIGHT.values(), ids=_SIGHT)
def test_quantities_are_told_apart(sight):
    colours = (palette.BLUE, palette.ORANGE, palette.GREEN, palette.RED, palette.PINK, palette.SKY, palette.GREY)
    seen = [lab(colour, sight) for colour in colours]
    assert min(np.linalg.norm(a - b) for i, a in enumerate(seen) for b in seen[:i]) > 8


@pytest.mark.long
def test_the_same_rows_make_the_same_file_whatever_their_order_and_the_other_formats(demo, tmp_path):
    shuffled = {key: rows.sample(frac=1, random_state=0) for key, rows in demo.items()}
    printed.draw_figures(demo[False], tmp_path / "a", rows_over_time=demo[True], formats=["svg", "pdf"])
    again = printed.draw_figures(shuffled[False], tmp_path / "b", rows_over_time=shuffled[True], formats=["pdf"])
    assert len(again) == len(printed.FIGURES)
    for path in again:
        assert path.read_bytes() == (tmp_path / "a" / path.name).read_bytes(), path.name
        (width,) = re.findall(rb"MediaBox \[ 0 0 ([\d.]+) ", path.read_bytes())
        assert float(width) in (pytest.approx(72 * ONE_COLUMN), pytest.approx(72 * TWO_COLUMNS))  # points, at 100 %


def test_figure_6_begins_with_the_loss_at_w_0():
    where = {"task": "t", "trunk": 0, "quantity": "train_loss"}
    lines = [where | {"quantity": "initial_loss", "step": 0, "value": 4.0}]
    lines += [where | {"step": step, "value": 100 / step} for step in (50, 100)]
    rows = pd.DataFrame(lines).reindex(columns=list(SCHEMA)).astype(SCHEMA)
    for figure in (figure6.FIGURE, interactive_figure6.FIGURE):
        drawn = rows[rows["quantity"].isin(figure.quantities)]
        if figure is figure6.FIGURE:
            (along,) = (line for line in figure.draw(drawn).axes[0].lines if line.get_label() == "trunk")
            points = [*along.get_xdata()], [*along.get_ydata()]
        else:
            (trace,) = figure.draw(drawn)[0].traces
            points = trace["x"], trace["y"]
        assert points == ([0, 50, 100], [4.0, 2.0, 1.0])
