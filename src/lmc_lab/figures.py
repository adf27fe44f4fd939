"""The figures of a report in a notebook: each panel is drawn from a frame of rows, on axes that are given.

```python
import matplotlib.pyplot as plt
from lmc_lab import figures

rows = figures.read_rows("docs/results/mnist1d.parquet")
_, (left, right) = plt.subplots(1, 2)
figures.p_conv(rows, ax=left)
figures.distances(rows, ax=right)
```

On axes that are given the letters are those of your settings, and `ax.legend()` puts the legend where you want it; without axes
a panel has a figure of its own, `….figure`, as wide as a column of a paper, with its legend below. The frame may have any rows
of one task, in any order; each panel takes what it draws, and where nothing is there it says so. Neither torch nor Hydra nor
Lightning is imported.
"""

from collections.abc import Collection
from functools import partial
from pathlib import Path
from typing import Literal

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lmc_lab.errors import UserError
from lmc_lab.reporting.collapse_measures import MEASURES
from lmc_lab.reporting.detectors import DETECTORS
from lmc_lab.reporting.figures import branch_noise as branch_noise_
from lmc_lab.reporting.figures import chaos as chaos_
from lmc_lab.reporting.figures import detectors as detectors_
from lmc_lab.reporting.figures import example_barriers as example_barriers_
from lmc_lab.reporting.figures import figure2, figure3, figure4, figure5, figure6
from lmc_lab.reporting.figures import gap_terms as gap_terms_
from lmc_lab.reporting.figures import mode_shape as mode_shape_
from lmc_lab.reporting.figures import neural_collapse as neural_collapse_
from lmc_lab.reporting.figures import over_time as over_time_
from lmc_lab.reporting.figures import pairs as pairs_
from lmc_lab.reporting.figures import permutation as permutation_
from lmc_lab.reporting.figures import shared_correct as shared_correct_
from lmc_lab.reporting.figures import shared_examples as shared_examples_
from lmc_lab.reporting.figures import tangent_kernel as tangent_kernel_
from lmc_lab.reporting.figures.axes import Marks, say_what_is_empty
from lmc_lab.reporting.figures.layout import Panel
from lmc_lab.reporting.figures.style import ONE_COLUMN, PANEL_HEIGHT, PAPER, SMALL
from lmc_lab.reporting.hull_maps import HULL_MAPS
from lmc_lab.reporting.report_figure import finite
from lmc_lab.results.bundle import read_bundle
from lmc_lab.results.folder import all_rows
from lmc_lab.results.select import in_order, select

Subset = Literal["train", "test"]

__all__ = [
    "accuracy",
    "barrier_by_el2n",
    "barriers_by_size",
    "bend_of_class_means",
    "collapse",
    "detector",
    "difference_growth",
    "distances",
    "eigenvalues",
    "el2n_correlation",
    "example_barriers",
    "feature_deviations",
    "gap_terms",
    "hessian_ratio",
    "hull_map",
    "kernel_distances",
    "kernel_distances_along",
    "kernel_velocity",
    "layer_barriers",
    "lyapunov",
    "mixture_convexity",
    "mixture_distance",
    "mixture_p_conv",
    "noise_convexity",
    "noise_p_conv",
    "noise_radius",
    "p_conv",
    "p_gap_negative",
    "pairs",
    "part_accuracy",
    "part_barriers",
    "part_p_conv",
    "read_rows",
    "right_in_common",
    "shared_correct",
    "sigma_50",
    "singular_values",
    "star",
    "train_loss",
    "union_barriers",
    "union_centre",
    "union_p_conv",
]


def read_rows(place: str | Path, *, over_time: bool = False) -> pd.DataFrame:
    """Returns the rows of a study.

    Args:
        place: the file that `python -m lmc_lab.report study=… export=….parquet` wrote.
        over_time: the rows of hulls on their way, and at their end, which `hull_map` draws; else those of endpoints.

    Raises:
        UserError: there is no such file.
    """
    path = Path(place)
    if not path.is_file():
        raise UserError(
            f"expected the file of a study, found nothing at {path}; write one with python -m lmc_lab.report export={path}"
        )
    record, collected = read_bundle(path)
    return all_rows(collected.over_time if over_time else collected.with_rows).assign(task=record.name)


def p_conv(rows: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draws `p_conv` and `p_rand` against the split step (Figure 2, top)."""
    return _drawn(figure2.p_conv, rows, ax)


def distances(rows: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draws the hull's radius and distances of endpoints against the split step (Figure 2, bottom)."""
    return _drawn(figure2.distances, rows, ax)


def singular_values(rows: pd.DataFrame, *, centred: bool = True, ax: Axes | None = None) -> Axes:
    """Draws the singular values of the stacked endpoints over the largest (Figure 3)."""
    return _drawn(partial(figure3.singular_values, kind=figure3.KINDS[centred]), rows, ax)


def eigenvalues(rows: pd.DataFrame, *, of_branches: bool = False, ax: Axes | None = None) -> Axes:
    """Draws the ends of the Hessian's spectrum along the trunks, or along branches (Figure 4, top)."""
    return _drawn(figure4.eigenvalues_of_branches if of_branches else figure4.eigenvalues, rows, ax)


def hessian_ratio(rows: pd.DataFrame, *, of_branches: bool = False, ax: Axes | None = None) -> Axes:
    """Draws lambda_min / lambda_max along the trunks, or along branches (Figure 4, middle)."""
    return _drawn(figure4.ratio_of_branches if of_branches else figure4.hessian_ratio, rows, ax)


def p_gap_negative(rows: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draws how probable it is that the loss is convex between two updates, along the trunks (Figure 4, bottom)."""
    return _drawn(figure4.p_gap_negative, rows, ax)


def accuracy(rows: pd.DataFrame, *, subset: Subset = "train", ax: Axes | None = None) -> Axes:
    """Draws accuracies of endpoints, hull points, centre and perturbations against the split step (Figure 5, top)."""
    return _drawn(partial(figure5.accuracy, subset=subset), rows, ax)


def right_in_common(rows: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draws the share of the training set that all endpoints of a mode, and of all modes, have right (Figure 5, bottom)."""
    return _drawn(figure5.right_in_common, rows, ax)


def train_loss(rows: pd.DataFrame, *, trunk: int | None = None, ax: Axes | None = None) -> Axes:
    """Draws the training loss of a trunk and its branches (Figure 6); None: the only one.

    Raises:
        UserError: there is no such trunk, or there are several and none is named.
    """
    chosen = _only_trunk(select(rows, "train_loss"), trunk)
    return _drawn(partial(figure6.train_loss, trunk=chosen), rows, ax)


def pairs(rows: pd.DataFrame, *, level: Literal["loss", "error"] = "loss", ax: Axes | None = None) -> Axes:
    """Draws barrier and instability between pairs of endpoints against the split step (Frankle et al. 2020)."""
    return _drawn(partial(pairs_.pairs, level=level), rows, ax)


def gap_terms(rows: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draws why a hull point is better: the terms of its Jensen gap against the split step."""
    return _drawn(gap_terms_.gap_terms, rows, ax)


def collapse(
    rows: pd.DataFrame,
    measure: Literal["nc1", "nc2_equinorm", "nc2_maximal_angle", "nc3", "feature_norm"] = "nc1",
    *,
    ax: Axes | None = None,
) -> Axes:
    """Draws a measure of neural collapse along trunks and branches.

    Raises:
        UserError: there is no such measure.
    """
    _check_is_one_of(MEASURES, measure)
    return _drawn(partial(neural_collapse_.collapse, quantity=measure), rows, ax)


def bend_of_class_means(rows: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draws how far class means of features are from linear in the parameters over the hull, against the split step."""
    return _drawn(neural_collapse_.bend_of_class_means, rows, ax)


def star(rows: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draws barriers from the hull's centre to its own endpoints and to those of other hulls, against the split step."""
    return _drawn(mode_shape_.star, rows, ax)


def layer_barriers(rows: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draws barriers where one layer alone is averaged, by layer, beside those of random moves of it."""
    return _drawn(mode_shape_.layer_barriers, rows, ax)


def feature_deviations(rows: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draws how far features are from linear in the parameters over the hull, by layer."""
    return _drawn(mode_shape_.feature_deviations, rows, ax)


def union_barriers(rows: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draws barriers between endpoints of different trunks, before and after their neurons are aligned."""
    return _drawn(permutation_.union_barriers, rows, ax)


def union_p_conv(rows: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draws p_conv of the hull of all trunks' endpoints, before and after their neurons are aligned."""
    return _drawn(permutation_.union_p_conv, rows, ax)


def union_centre(rows: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draws the loss at the centre of all trunks' endpoints, before and after their neurons are aligned."""
    return _drawn(permutation_.union_centre, rows, ax)


def noise_p_conv(rows: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draws p_conv of hulls of branches that differ in one kind of noise alone, against the split step."""
    return _drawn(branch_noise_.noise_p_conv, rows, ax)


def noise_convexity(rows: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draws how often the Jensen gap is below 0 in hulls of branches that differ in one kind of noise alone."""
    return _drawn(branch_noise_.noise_convexity, rows, ax)


def noise_radius(rows: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draws the radius of hulls of branches that differ in one kind of noise alone, against the split step."""
    return _drawn(branch_noise_.noise_radius, rows, ax)


def mixture_p_conv(rows: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draws p_conv of hulls half of whose endpoints differ in the order of the data, and half in another kind of noise."""
    return _drawn(branch_noise_.mixture_p_conv, rows, ax)


def mixture_convexity(rows: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draws how often the Jensen gap is below 0 in hulls half of whose endpoints differ in the order, half in another kind."""
    return _drawn(branch_noise_.mixture_convexity, rows, ax)


def mixture_distance(rows: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draws the distance between endpoints of different kinds of noise, against the split step."""
    return _drawn(branch_noise_.mixture_distance, rows, ax)


def lyapunov(rows: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draws how fast small differences of weights grow along the trunks: the finite-time Lyapunov exponent."""
    return _drawn(chaos_.growth, rows, ax)


def difference_growth(rows: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draws how fast random differences of weights grow along the trunks, over whole windows."""
    return _drawn(partial(chaos_.growth, quantity="difference_growth"), rows, ax)


def sigma_50(rows: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draws the size of a perturbation of W_k at which half of the pairs of branches have a barrier, against the split step."""
    return _drawn(chaos_.sigma_50, rows, ax)


def barriers_by_size(
    rows: pd.DataFrame, kind: Literal["gaussian", "gradient"] = "gaussian", *, ax: Axes | None = None
) -> Axes:
    """Draws the share of pairs of branches with a barrier by the size of a perturbation of W_k."""
    return _drawn(partial(chaos_.barriers_by_size, kind=kind), rows, ax)


def detector(
    rows: pd.DataFrame,
    quantity: Literal[
        "train_loss", "nc1", "nc3", "lambda_max", "hessian_ratio", "lyapunov_exponent", "kernel_velocity"
    ] = "train_loss",
    *,
    ax: Axes | None = None,
) -> Axes:
    """Draws a measure along the trunks that may announce the onset.

    Raises:
        UserError: there is no such measure.
    """
    _check_is_one_of(DETECTORS, quantity)
    return _drawn(partial(detectors_.detector, quantity=quantity), rows, ax)


def kernel_velocity(rows: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draws how fast the tangent kernel turns along the trunks."""
    return _drawn(tangent_kernel_.velocity, rows, ax)


def kernel_distances_along(rows: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draws the distances of the tangent kernels of a trunk's states to those of others of its states."""
    return _drawn(tangent_kernel_.along_trunk, rows, ax)


def kernel_distances(rows: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draws distances between the tangent kernels of endpoints, and to that of W_k, against the split step."""
    return _drawn(tangent_kernel_.between_endpoints, rows, ax)


def example_barriers(rows: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draws the barrier of examples that all endpoints have right, and of the others, against the split step."""
    return _drawn(example_barriers_.example_barriers, rows, ax)


def el2n_correlation(rows: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draws the rank correlation of EL2N at the split and barrier, over examples, against the split step."""
    return _drawn(example_barriers_.el2n_correlation, rows, ax)


def barrier_by_el2n(rows: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draws the barrier of each tenth of the examples by EL2N."""
    return _drawn(example_barriers_.barrier_by_el2n, rows, ax)


def part_p_conv(rows: pd.DataFrame, *, own: bool = True, ax: Axes | None = None) -> Axes:
    """Draws `p_conv` of branches that see a part of the examples: on this part, or on the training set."""
    return _drawn(shared_examples_.part_p_conv_own if own else shared_examples_.part_p_conv, rows, ax)


def part_barriers(rows: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draws the barrier between branches that see a part of the examples, in the loss on this part."""
    return _drawn(shared_examples_.part_barriers, rows, ax)


def part_accuracy(rows: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draws the accuracy, on the training set, of branches that see a part of the examples."""
    return _drawn(shared_examples_.part_accuracy, rows, ax)


def shared_correct(rows: pd.DataFrame, *, subset: Subset = "train", ax: Axes | None = None) -> Axes:
    """Draws the share of examples that all of a number of endpoints have right."""
    return _drawn(partial(shared_correct_.shared_correct, subset=subset), rows, ax)


def hull_map(
    rows: pd.DataFrame,
    quantity: Literal["p_conv", "p_jensen_negative", "hull_radius"] = "p_conv",
    *,
    trunk: int | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draws a quantity over split k and step t, of one trunk (None: the only one), from rows of hulls on their way.

    Raises:
        UserError: there is no such quantity or trunk, or there are several trunks and none is named.
    """
    maps = {each.quantity: each for each in HULL_MAPS}
    _check_is_one_of(maps, quantity)
    kind = maps[quantity]
    on_the_way = select(rows, quantity, kind.subset).dropna(subset=["split_step", "step"])
    chosen = _only_trunk(on_the_way, trunk)

    def panel(axis: Axes, rows: pd.DataFrame, marks: Marks) -> None:
        over_time_.hull_map(axis, rows, kind)

    return _drawn(panel, on_the_way[on_the_way["trunk"].eq(chosen)], ax)


def _check_is_one_of(names: Collection[str], name: str) -> None:
    if name not in names:
        raise UserError(f"expected one of {', '.join(names)}, found {name}; name one of them")


def _drawn(panel: Panel, rows: pd.DataFrame, ax: Axes | None) -> Axes:
    tasks = sorted(set(rows["task"].dropna()))
    if len(tasks) > 1:
        raise UserError(
            f"expected rows of one task, found {', '.join(tasks)}; choose one: rows[rows['task'] == '{tasks[0]}']"
        )
    drawn = in_order(finite(rows))
    if ax is not None:
        return _with_entries(panel, drawn, ax)
    with mpl.rc_context(PAPER):
        figure = Figure(figsize=(ONE_COLUMN, 1.3 * PANEL_HEIGHT), layout="constrained")
        axis = _with_entries(panel, drawn, figure.subplots())
        handles, labels = axis.get_legend_handles_labels()
        if labels:
            figure.legend(handles, labels, loc="outside lower center", ncols=2)
        axis.tick_params(labelsize=SMALL)  # of ticks that are made when it is drawn, too
    return axis


def _with_entries(panel: Panel, rows: pd.DataFrame, axis: Axes) -> Axes:
    """Draws a panel on an axis, whose artists have labels for a legend."""
    panel(axis, rows, Marks.of(rows))
    say_what_is_empty(axis)
    return axis


def _only_trunk(rows: pd.DataFrame, trunk: int | None) -> int:
    trunks = sorted({int(each) for each in rows["trunk"].dropna()})
    if trunk is None and len(trunks) == 1:
        return trunks[0]
    if trunk is None or trunk not in trunks:
        found = ", ".join(map(str, trunks)) or "none"
        raise UserError(f"expected trunk=… to be one of those with rows, found {trunk} (there: {found}); name one")
    return trunk
