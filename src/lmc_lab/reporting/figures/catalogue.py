"""The figures for papers, in their order."""

from collections.abc import Mapping

from matplotlib.figure import Figure

from lmc_lab.reporting.figures import (
    branch_noise,
    chaos,
    detectors,
    example_barriers,
    figure2,
    figure3,
    figure4,
    figure5,
    figure6,
    gap_terms,
    mode_shape,
    neural_collapse,
    over_time,
    pairs,
    permutation,
    shared_correct,
    shared_examples,
    tangent_kernel,
)
from lmc_lab.reporting.report_figure import ReportFigure

FIGURES: Mapping[str, ReportFigure[Figure]] = {
    "figure2": figure2.FIGURE,
    "over_time": over_time.FIGURE,
    "figure3": figure3.FIGURE,
    "figure4": figure4.FIGURE,
    "figure5": figure5.FIGURE,
    "shared_correct": shared_correct.FIGURE,
    "figure6": figure6.FIGURE,
    "pairs": pairs.FIGURE,
    "gap_terms": gap_terms.FIGURE,
    "neural_collapse": neural_collapse.FIGURE,
    "mode_shape": mode_shape.FIGURE,
    "permutation": permutation.FIGURE,
    "branch_noise": branch_noise.FIGURE,
    "detectors": detectors.FIGURE,
    "chaos": chaos.FIGURE,
    "tangent_kernel": tangent_kernel.FIGURE,
    "example_barriers": example_barriers.FIGURE,
    "shared_examples": shared_examples.FIGURE,
}
