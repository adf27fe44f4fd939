"""``evaluation.num_examples``: every loss is a mean over as many examples of each set, the same ones in all analyses."""

from dataclasses import replace

import pytest
import torch

from lmc_lab.analyses.base import JointAnalysis, Measurement, Record
from lmc_lab.analyses.convex_mode import ConvexMode
from lmc_lab.analyses.example_barriers import BarriersByExample
from lmc_lab.analyses.gap_terms import GapTermsOfHull
from lmc_lab.analyses.hulls import Hulls
from lmc_lab.analyses.inter_alignment import InterAlignment
from lmc_lab.analyses.layers import LayerBarriersOfMode
from lmc_lab.analyses.noise_hulls import NoiseHulls
from lmc_lab.analyses.pairs import Pairs
from lmc_lab.analyses.perturbed import PerturbedBranches
from lmc_lab.analyses.plane import PlaneOfHull
from lmc_lab.analyses.predictions import InterMode, Predictions
from lmc_lab.analyses.shared_examples import SharedExamples
from lmc_lab.analyses.star import InterStar, Star
from lmc_lab.analyses.store import identity_settings
from lmc_lab.data.examples import Dataset
from lmc_lab.landscape.predictions import unpack_mask
from lmc_lab.runs.endpoints import load_mode
from lmc_lab.runs.modes import Modes
from lmc_lab.runs.subject import Request
from lmc_lab.runs.varied_modes import VariedModes
from lmc_lab.tasks.evaluation_settings import EvaluationSettings
from tiny import augmented_clouds, of_noise, tiny_experiment, tiny_trunks, train_branch, variants

ALL = EvaluationSettings(bn_policy="keep")  # which asks the training set for no moments
SOME = EvaluationSettings(bn_policy="keep", num_examples=60)
NUM_TEST = 60  # of 90
OF_MODES = [
    ConvexMode(num_samples=7), Hulls(num_endpoints=2, num_samples=5), GapTermsOfHull(num_samples=5), Pairs(num_points=3),
    Predictions(), PlaneOfHull(num_samples=5, num_grid=3), Star(num_points=3), LayerBarriersOfMode(),
    BarriersByExample(num_resamples=20), InterMode(), InterStar(num_points=3), InterAlignment(num_samples=5, num_points=3),
]  # fmt: skip


@pytest.fixture(scope="module")
def trunks(tmp_path_factory):
    return tiny_trunks(tmp_path_factory.mktemp("tiny"))


def small(task):
    """The task with no other examples than those that are drawn of each set."""
    subsets = {name: SOME.examples(examples) for name, examples in task.dataset.subsets.items()}
    data = Dataset(subsets["train"], subsets["test"], "drawn", task.dataset.augment)
    return replace(task, load_data=lambda: data)


def rows(analysis, subject, task):
    found = [item for item in analysis.measure(subject, task) if isinstance(item, Measurement)]
    own = (
        found
        if not isinstance(analysis, InterAlignment)
        else [row for row in found if "activations" not in row.quantity]
    )
    return {(row.quantity, row.subset, row.branch, row.step, row.index): row.value for row in own}


def alike(analysis, subject, task):
    """Whether some examples of each set say what a task of these alone does, and something else than all of them."""
    found = rows(replace(analysis, evaluation=SOME), subject, task)
    expected = rows(replace(analysis, evaluation=ALL), subject, small(task))
    assert found == pytest.approx(expected, rel=1e-6, abs=1e-7)
    assert found != rows(replace(analysis, evaluation=ALL), subject, task)


@pytest.mark.parametrize("analysis", OF_MODES, ids=lambda analysis: analysis.name)
def test_losses_are_means_over_the_examples_that_are_drawn(analysis, trunks):
    modes = [load_mode(trunk, 13) for trunk in trunks]
    alike(analysis, Modes(tuple(modes)) if isinstance(analysis, JointAnalysis) else modes[0], trunks[0].task)


def of_branches_made_otherwise(analysis, experiment, make_variants):
    """A mode beside those of the analysis' variations, all trained."""
    varied = make_variants(experiment, analysis)
    for each in (experiment, *varied):
        for seed in range(3):
            train_branch(each, 13, seed)
    return VariedModes.load(experiment, Request(split_steps=(13,), varied=varied))


def test_so_are_those_of_branches_that_were_perturbed_or_have_other_noise(tmp_path):
    experiment = tiny_experiment(tmp_path / "perturbed")
    perturbed = PerturbedBranches(sigmas=(1e-6, 100), num_points=3)
    alike(perturbed, of_branches_made_otherwise(perturbed, experiment, variants), experiment.task)
    experiment = tiny_experiment(tmp_path / "noise")
    experiment = replace(experiment, task=replace(experiment.task, load_data=augmented_clouds))
    noise = NoiseHulls(num_samples=5)
    alike(noise, of_branches_made_otherwise(noise, experiment, of_noise), experiment.task)


def test_so_are_those_of_branches_of_some_examples_and_of_these_examples(tmp_path):
    """Which are chosen, and numbered, among all: a branch sees all that the endpoints have right."""
    experiment = tiny_experiment(tmp_path)
    analysis = SharedExamples(num_endpoints=3, num_samples=5, num_points=3, evaluation=SOME)
    modes = of_branches_made_otherwise(analysis, experiment, variants)
    found, mode, task = rows(analysis, modes, experiment.task), modes.varied[0], experiment.task
    assert found["num_examples_on_shared", None, None, None, None] > 60
    own = SOME.examples(task.dataset.train.at(mode.training.examples))
    of_own = replace(task, load_data=lambda: Dataset(own, None, "own"))
    for suffix, data in (("on_shared", small(task)), ("on_shared_own", of_own)):
        expected = rows(ConvexMode(num_samples=5, evaluation=ALL), mode, data)[
            "hull_point_loss", "train", None, None, None
        ]
        assert found[f"hull_point_loss_{suffix}", "train", None, None, None] == pytest.approx(expected, rel=1e-6)


def test_what_is_kept_of_each_example_says_which_it_is(trunks):
    mode, task = load_mode(trunks[0], 13), trunks[0].task
    for analysis in (Predictions(evaluation=SOME), BarriersByExample(evaluation=SOME)):
        kept = {item.name: item.tensor for item in analysis.measure(mode, task) if isinstance(item, Record)}
        index = kept["train_index"]
        assert len(index) == 60 and index.equal(task.dataset.train.drawn(60)) and kept["test_index"].max() >= NUM_TEST
        if analysis.name == "predictions":
            shown, masks = kept["train_examples_index"], unpack_mask(kept["train_correct"], 60)
            assert kept["train_examples"].equal(task.dataset.train.inputs[shown])
            assert set(shown.tolist()) <= set(index.tolist())
            places = torch.searchsorted(index, shown)
            assert kept["train_examples_num_right"].equal(masks[:, places].sum(dim=0))
        else:
            assert len(kept["train_example_barrier"]) == 60
        everything = replace(analysis, evaluation=ALL).measure(mode, task)
        assert "train_index" not in {item.name for item in everything if isinstance(item, Record)}


def test_more_examples_than_there_are_are_all_and_the_number_is_part_of_what_a_result_is_known_by(trunks):
    mode, task = load_mode(trunks[0], 13), trunks[0].task
    many = ConvexMode(num_samples=7, evaluation=replace(ALL, num_examples=10_000))
    assert rows(many, mode, task) == rows(replace(many, evaluation=ALL), mode, task)
    assert identity_settings(many, variant="")["evaluation"]["num_examples"] == 10_000
    assert "num_examples" not in str(identity_settings(replace(many, evaluation=ALL), variant=""))
