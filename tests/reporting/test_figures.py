"""Each figure, on paper and on the page, draws what it says that it draws, and all of that is measured by something."""

import json
from dataclasses import replace

import pandas as pd
import pytest

from lmc_lab.analyses.base import Measurement
from lmc_lab.analyses.class_means import HullCollapse, InterCollapse
from lmc_lab.analyses.convex_mode import ConvexMode
from lmc_lab.analyses.curves import BranchCurves, TrunkCurve
from lmc_lab.analyses.distances import Distances
from lmc_lab.analyses.example_barriers import BarriersByExample
from lmc_lab.analyses.gap_terms import GapTermsOfHull
from lmc_lab.analyses.hessian import BranchHessian, TrunkHessian
from lmc_lab.analyses.hulls import Hulls
from lmc_lab.analyses.inter_alignment import InterAlignment
from lmc_lab.analyses.layers import FeatureLinearity, LayerBarriersOfMode
from lmc_lab.analyses.lyapunov import TrunkLyapunov
from lmc_lab.analyses.midpoint_gap import TrunkMidpointGap
from lmc_lab.analyses.neural_collapse import BranchCollapse, TrunkCollapse
from lmc_lab.analyses.noise_hulls import NoiseHulls
from lmc_lab.analyses.onset import Onset
from lmc_lab.analyses.pairs import Pairs
from lmc_lab.analyses.perturbed import PerturbedBranches
from lmc_lab.analyses.plane import PlaneOfHull
from lmc_lab.analyses.predictions import InterMode, Predictions
from lmc_lab.analyses.shared_examples import SharedExamples
from lmc_lab.analyses.spectrum import Spectrum
from lmc_lab.analyses.star import InterStar, Star
from lmc_lab.analyses.store import ensure_rows
from lmc_lab.analyses.tangent_kernel import BranchKernel, InterKernel, TrunkKernel
from lmc_lab.reporting import page, printed
from lmc_lab.results.folder import all_rows, read_results
from lmc_lab.runs.subject import Request
from tiny import augmented_clouds, of_noise, tiny_experiment, train_branch, variants

PERTURBED = PerturbedBranches(sigmas=(1e-6, 100), num_points=3)
PARTS = SharedExamples(num_endpoints=3, num_samples=5, num_points=3)


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    """Rows of every analysis of this package, on two trunks of a tiny task."""
    experiment = tiny_experiment(tmp_path_factory.mktemp("figures"))
    trunks = [replace(experiment, trunk_seed=trunk) for trunk in (0, 1)]
    for trunk in trunks:
        for step in (0, 13):
            for seed in range(3):
                for each in (trunk, *variants(trunk, PERTURBED)):
                    train_branch(each, step, seed)
        for each in variants(trunk, PARTS):
            for seed in (0, 1):
                train_branch(each, 13, seed)
    analyses = [
        ConvexMode(num_samples=5), Distances(num_samples=5), Spectrum(), Pairs(), Predictions(), BranchCurves(),
        BranchHessian(num_examples=50), TrunkCurve(), TrunkHessian(num_examples=50),
        TrunkMidpointGap(num_pairs=2, num_examples=50), InterMode(), Onset(),
        PlaneOfHull(num_samples=5, num_grid=3), Hulls(num_endpoints=2, num_samples=5), GapTermsOfHull(num_samples=5),
        TrunkCollapse(), BranchCollapse(), HullCollapse(num_samples=5), InterCollapse(),
        Star(num_points=3), InterStar(num_points=3), LayerBarriersOfMode(), FeatureLinearity(num_samples=2, num_examples=40),
        InterAlignment(num_samples=5, num_points=3, num_examples=40),
        TrunkLyapunov(num_steps=4, num_directions=2), PERTURBED, BarriersByExample(num_resamples=20), PARTS,
        *(kind(num_examples=4) for kind in (TrunkKernel, BranchKernel, InterKernel)),
    ]  # fmt: skip
    for analysis in analyses:
        is_of_modes = analysis.subject.has_branches and analysis.subject.has_tensors
        for trunk in trunks:
            for step in (13,) if analysis is PARTS else (0, 13) if is_of_modes else (None,):
                varied = variants(trunk, analysis) if analysis.variations else ()
                seeds = (0, 1) if analysis is PARTS else None
                request = Request(
                    split_steps=() if step is None else (step,), trunks=(0, 1), varied=varied, seeds=seeds
                )
                subject = analysis.subject.load(trunk, analysis.request(request))
                ensure_rows(trunk, subject, analysis)
    of_all_noise = _rows_of_noise(tmp_path_factory.mktemp("noise"))
    return pd.concat([all_rows(read_results(experiment.paths.results, experiment.task.fingerprint)[0]), of_all_noise])


def _rows_of_noise(path):
    """Rows of branches of each kind of noise, of a task that has all of them."""
    tiny = tiny_experiment(path)
    own = replace(tiny, task=replace(tiny.task, num_classes=3, load_data=augmented_clouds))
    analysis = NoiseHulls(num_samples=5)
    varied = of_noise(own, analysis)
    for seed in range(3):
        for each in (own, *varied):
            train_branch(each, 13, seed)
    ensure_rows(own, analysis.subject.load(own, Request(split_steps=(13,), varied=varied)), analysis)
    return all_rows(read_results(own.paths.results, own.task.fingerprint)[0])


def rows_for(figure, rows):
    """Returns the rows that a figure gets; one over time knows those of endpoints by their last step."""
    return rows.assign(step=rows["step"].fillna(40)) if figure.over_time else rows


ALL = {
    f"{name} on {where}": figure
    for where, module in (("paper", printed), ("page", page))
    for name, figure in module.FIGURES.items()
}


@pytest.mark.parametrize("name", ALL)
def test_all_that_a_figure_draws_is_measured(rows, name):
    assert ALL[name].quantities <= set(rows["quantity"])


@pytest.mark.parametrize("name", printed.FIGURES)
def test_a_figure_is_drawn_in_full(rows, name):
    figure = printed.FIGURES[name].drawn(rows_for(printed.FIGURES[name], rows))
    assert all(axes.has_data() or axes.texts for axes in figure.axes if axes.axison)
    assert not [text for axes in figure.axes for text in axes.texts if "was not measured" in text.get_text()]


@pytest.mark.parametrize("name", page.FIGURES)
def test_a_panel_of_the_page_is_drawn_in_full(rows, name):
    panels = page.FIGURES[name].drawn(rows_for(page.FIGURES[name], rows))
    assert panels and all(panel.traces and all(trace["x"] for trace in panel.traces) for panel in panels)
    json.dumps([panel.to_plain() for panel in panels], allow_nan=False)


@pytest.mark.parametrize("name", ALL)
def test_a_figure_of_which_one_analysis_has_rows_is_drawn(rows, name):
    """Where a study has this analysis alone, nothing else that the figure draws is there."""
    for analysis, of_analysis in rows_for(ALL[name], rows).groupby("analysis"):
        assert not ALL[name].can_be_drawn(of_analysis) or ALL[name].drawn(of_analysis), analysis


@pytest.mark.parametrize("name", ["detectors on paper", "detectors on page"])
def test_a_measure_along_branches_announces_nothing(rows, name):
    of_branches = rows[rows["analysis"] == "branch_collapse"]
    assert "nc1" in set(of_branches["quantity"]) and not ALL[name].can_be_drawn(of_branches)


@pytest.mark.parametrize("part", ["shared", "unshared"])
@pytest.mark.parametrize("name", ["shared_examples on paper", "shared_examples on page"])
def test_one_part_of_the_examples_is_drawn_where_the_other_has_no_branches(rows, name, part):
    other = {"shared": "unshared", "unshared": "shared"}[part]
    one = rows[~rows["quantity"].str.contains(f"_(?:on|of)_(?:random_)?{other}(?:_own)?$")]
    assert ALL[name].can_be_drawn(one) and ALL[name].drawn(one)


def test_what_is_on_paper_is_on_the_page_where_it_can_be_drawn():
    assert {name: figure.needs for name, figure in printed.FIGURES.items()} == {
        name: figure.needs for name, figure in page.FIGURES.items() if name not in page.ONLY_HERE
    }


@pytest.mark.parametrize("name", ALL)
def test_a_figure_selects_what_it_names_and_nothing_else(rows, name, monkeypatch):
    """What it names is all that it sees; here one sees that it asks for nothing that it does not name."""
    asked = set()

    def remembering(rows, quantity, subset=None):
        asked.add(quantity)
        chosen = rows[rows["quantity"] == quantity]
        return chosen[chosen["subset"] == subset] if subset else chosen

    figure = ALL[name]
    monkeypatch.setitem(figure.draw.__globals__, "select", remembering)
    figure.drawn(rows_for(figure, rows))
    assert asked <= figure.quantities


def test_every_measurement_is_in_the_schema(rows):
    assert set(Measurement.__dataclass_fields__) <= set(rows.columns) and isinstance(rows, pd.DataFrame)
