"""`lmc_lab.figures`: each panel of a report is drawn from a frame of rows, on axes that are given, or on a sheet of its own."""

import inspect
import itertools
import subprocess
import sys
from functools import partial
from typing import get_args

import matplotlib as mpl
import pandas as pd
import pytest
from matplotlib.figure import Figure

from conftest import REPOSITORY
from lmc_lab import figures
from lmc_lab.errors import UserError
from lmc_lab.reporting import printed
from lmc_lab.reporting.figures import layout
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

DEMO = REPOSITORY / "docs" / "results" / "mnist1d.parquet"
PANELS = [name for name in figures.__all__ if name != "read_rows"]
OPTIONS = {"train_loss": {"trunk": 1}, "hull_map": {"quantity": "hull_radius", "trunk": 1}}


@pytest.fixture(scope="module")
def rows():
    of_endpoints, over_time = figures.read_rows(DEMO), figures.read_rows(DEMO, over_time=True)
    others = {"hull_map": over_time, "gap_terms": figures.read_rows(DEMO.with_stem("mnist1d_questions"))}
    others |= dict.fromkeys(("collapse", "bend_of_class_means"), collapse_rows())
    others |= dict.fromkeys(("star", "layer_barriers", "feature_deviations"), shape_rows())
    others |= dict.fromkeys(("union_barriers", "union_p_conv", "union_centre"), alignment_rows())
    of_noise = [name for name in PANELS if name.startswith(("noise_", "mixture_"))]
    others |= dict.fromkeys(of_noise, noise_rows())
    others |= dict.fromkeys(("lyapunov", "difference_growth", "sigma_50", "barriers_by_size"), chaos_rows())
    others |= dict.fromkeys(("kernel_velocity", "kernel_distances", "kernel_distances_along"), kernel_rows())
    others |= dict.fromkeys(("example_barriers", "el2n_correlation", "barrier_by_el2n"), example_rows())
    others |= dict.fromkeys(("part_p_conv", "part_barriers", "part_accuracy"), part_rows())
    return {name: others.get(name, of_endpoints) for name in PANELS}


@pytest.mark.parametrize("name", PANELS)
def test_a_panel_is_drawn_on_given_axes_whatever_the_order_of_the_rows(rows, name):
    draw, options = getattr(figures, name), OPTIONS.get(name, {})
    given, other = Figure().subplots(1, 2)
    size = given.get_figure().get_size_inches().tolist()
    assert draw(rows[name], ax=given, **options) is given and given.has_data()
    assert given.get_xlabel() and given.get_ylabel() and not other.has_data()
    assert (
        given.get_figure().get_size_inches().tolist() == size
        and given.xaxis.label.get_size() == mpl.rcParams["font.size"]
    )
    again = draw(rows[name].sample(frac=1, random_state=0), ax=other, **options)
    assert [line.get_xydata().tolist() for line in again.lines] == [line.get_xydata().tolist() for line in given.lines]


def panel_and_options(panel):
    """What is called, with all its options."""
    function, given = (panel.func, panel.keywords) if isinstance(panel, partial) else (panel, {})
    parameters = inspect.signature(function).parameters.values()
    own = {each.name: each.default for each in parameters if each.kind is each.KEYWORD_ONLY} | given
    return function.__module__, function.__name__, frozenset(own.items())


def all_options(draw):
    """Every choice of what a function of a notebook can be asked for."""
    choices = {}
    for each in inspect.signature(draw).parameters.values():
        if each.name == "trunk":
            choices[each.name] = (0, 1)
        elif each.annotation is bool:
            choices[each.name] = (False, True)
        elif each.name not in ("rows", "ax"):
            choices[each.name] = get_args(each.annotation)
    return [dict(zip(choices, chosen, strict=True)) for chosen in itertools.product(*choices.values())]


def test_every_panel_of_a_report_has_its_function(rows, monkeypatch):
    """The maps over time are drawn by `hull_map` alone."""
    of_report, of_notebook = [], []
    monkeypatch.setattr(
        layout, "_filled", lambda lines, *_, **__: of_report.extend(panel for line in lines for panel, _ in line)
    )
    monkeypatch.setattr(figures, "_drawn", lambda panel, *_: of_notebook.append(panel))
    made = {id(own): own for own in rows.values()}
    everything = pd.concat([*made.values()])
    for figure in printed.FIGURES.values():
        if not figure.over_time:
            figure.drawn(everything)
    for name in PANELS:
        for options in all_options(getattr(figures, name)):
            getattr(figures, name)(rows[name], **options)
    found, known = ({panel_and_options(panel) for panel in panels} for panels in (of_report, of_notebook))
    assert len(found) > 40 and not found - known


def test_what_is_drawn_are_the_rows(rows):
    own = rows["p_conv"]
    axis = figures.p_conv(own, ax=Figure().subplots())
    p_conv = own[own["quantity"].eq("p_conv") & own["subset"].eq("train") & own["trunk"].eq(1)].sort_values(
        "split_step"
    )
    drawn = [line for line in axis.lines if line.get_marker() == "D" and len(line.get_xdata())]
    assert any(line.get_ydata().tolist() == p_conv["value"].tolist() for line in drawn)
    _, labels = axis.get_legend_handles_labels()
    assert labels[-2:] == ["trunk 0", "trunk 1"] and len(labels) == 4


def test_other_subsets_levels_kinds_and_branches_are_other_panels(rows):
    def values(name, **options):
        axis = getattr(figures, name)(rows[name], ax=Figure().subplots(), **options)
        return [list(line.get_ydata()) for line in axis.lines]

    variants = {"accuracy": {"subset": "test"}, "shared_correct": {"subset": "test"}, "pairs": {"level": "error"}}
    variants |= {"singular_values": {"centred": False}, "eigenvalues": {"of_branches": True}}
    variants |= {"hessian_ratio": {"of_branches": True}, "collapse": {"measure": "nc3"}}
    assert all(values(name) != values(name, **options) for name, options in variants.items())


def test_a_panel_without_axes_is_a_column_of_a_paper_with_its_legend_below(rows):
    figure = figures.p_conv(rows["p_conv"]).figure
    figure.draw_without_rendering()
    (axis,), (legend,) = figure.axes, figure.legends
    assert figure.get_figwidth() == 3.3 and axis.xaxis.label.get_size() == 8
    assert {text.get_size() for text in [*legend.get_texts(), *axis.get_xticklabels()]} == {7}
    assert legend.get_window_extent().y1 < axis.get_window_extent().y0


def test_what_cannot_be_drawn_is_said(rows, tmp_path):
    empty = figures.p_conv(rows["p_conv"].query("quantity == 'hull_radius'"), ax=Figure().subplots())
    assert [text.get_text() for text in empty.texts] == ["does not exist for this task,\nor was not measured"]
    with pytest.raises(UserError, match="expected the file of a study, found nothing at .*none.parquet; write one"):
        figures.read_rows(tmp_path / "none.parquet")
    with pytest.raises(
        UserError, match=r"expected trunk=… to be one of those with rows, found None \(there: 0, 1\); name one"
    ):
        figures.train_loss(rows["train_loss"])
    with pytest.raises(
        UserError, match="expected one of p_conv, p_jensen_negative, hull_radius, found p_rand; name one"
    ):
        figures.hull_map(rows["hull_map"], "p_rand", trunk=0)
    with pytest.raises(UserError, match="expected one of nc1, .*, feature_norm, found nc4; name one"):
        figures.collapse(rows["collapse"], "nc4")
    two = rows["p_conv"].assign(task=["a", *["b"] * (len(rows["p_conv"]) - 1)])
    with pytest.raises(
        UserError, match=r"expected rows of one task, found a, b; choose one: rows\[rows\['task'\] == 'a'\]"
    ):
        figures.p_conv(two)


README = (REPOSITORY / "README.md").read_text().split("## Figures in a notebook")[1]


@pytest.mark.parametrize("page", [figures.__doc__, README], ids=["module", "README"])
def test_an_example_runs_without_torch_and_hydra(page, tmp_path):
    (tmp_path / "docs").symlink_to(REPOSITORY / "docs")
    example = page.split("```python\n")[1].split("```")[0]
    script = f"import matplotlib; matplotlib.use('agg')\n{example}\nimport sys; print(*sys.modules)"
    command = [sys.executable, "-c", script]
    result = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True)
    assert not {"torch", "hydra", "lightning", "wandb"} & set(result.stdout.split())
    assert ("savefig" in example) == (tmp_path / "p_conv.pdf").is_file()


def test_every_function_is_public():
    assert set(figures.__all__) == {
        name for name, each in vars(figures).items()
        if inspect.isfunction(each) and each.__module__ == figures.__name__ and not name.startswith("_")
    }  # fmt: skip
