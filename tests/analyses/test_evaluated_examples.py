"""``evaluation.num_examples``: every loss is a mean over this many examples of each set, drawn once."""

from dataclasses import replace
from functools import partial

import pytest
import torch

from lmc_lab.analyses.base import Choice, JointAnalysis, Measurement, Record
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
from lmc_lab.tasks.regression import Regression
from tiny import augmented_clouds, of_noise, tiny_experiment, tiny_trunks, train_branch, variants

ALL = EvaluationSettings(bn_policy="keep")  # which asks the training set for no moments
NUM_DRAWN = 60  # of 200 and of 90
SOME = EvaluationSettings(bn_policy="keep", num_examples=NUM_DRAWN)
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
    """The values of an answer; not of what follows from the activations on 512 examples of the whole set."""
    found = [item for item in analysis.measure(subject, task) if isinstance(item, Measurement)]
    own = [row for row in found if not row.quantity.endswith("_activations")]
    return {(row.quantity, row.subset, row.branch, row.step, row.index): row.value for row in own}


def check(analysis, subject, task):
    """Compares what some examples of each set say with what a task of these alone does; all of them say something else."""
    found = rows(replace(analysis, evaluation=SOME), subject, task)
    expected = rows(replace(analysis, evaluation=ALL), subject, small(task))
    assert found == pytest.approx(expected, rel=1e-6, abs=1e-7)
    assert found != rows(replace(analysis, evaluation=ALL), subject, task)


@pytest.mark.parametrize("analysis", OF_MODES, ids=lambda analysis: analysis.name)
def test_losses_are_means_over_the_examples_that_are_drawn(analysis, trunks):
    modes = [load_mode(trunk, 13) for trunk in trunks]
    check(analysis, Modes(tuple(modes)) if isinstance(analysis, JointAnalysis) else modes[0], trunks[0].task)


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
    check(perturbed, of_branches_made_otherwise(perturbed, experiment, variants), experiment.task)
    experiment = tiny_experiment(tmp_path / "noise")
    experiment = replace(experiment, task=replace(experiment.task, load_data=augmented_clouds))
    noise = NoiseHulls(num_samples=5)
    check(noise, of_branches_made_otherwise(noise, experiment, of_noise), experiment.task)


def test_so_are_those_of_branches_of_some_examples_and_of_these_examples(tmp_path):
    """Which are chosen, and numbered, among all: a branch sees all that the endpoints have right."""
    experiment = tiny_experiment(tmp_path)
    analysis = SharedExamples(num_endpoints=3, num_samples=5, num_points=3, evaluation=SOME)
    modes = of_branches_made_otherwise(analysis, experiment, variants)
    found, mode, task = rows(analysis, modes, experiment.task), modes.varied[0], experiment.task
    assert found["num_examples_on_shared", None, None, None, None] > NUM_DRAWN
    own = SOME.examples(task.dataset.train.at(mode.training.examples))
    of_own = replace(task, load_data=lambda: Dataset(own, None, "own"))
    for suffix, hull, data, subset in (
        ("on_shared", mode, small(task), "train"),
        ("on_shared", mode, small(task), "test"),
        ("on_shared_own", mode, of_own, "train"),
        ("of_shared", modes.mode, of_own, "train"),
    ):
        expected = rows(ConvexMode(num_samples=5, evaluation=ALL), hull, data)[
            "hull_point_loss", subset, None, None, None
        ]
        assert found[f"hull_point_loss_{suffix}", subset, None, None, None] == pytest.approx(expected, rel=1e-6)


def kept(analysis, mode, task):
    return {item.name: item.tensor for item in analysis.measure(mode, task) if isinstance(item, Record)}


def test_masks_and_pictures_say_of_which_examples_they_are(trunks):
    mode, task = load_mode(trunks[0], 13), trunks[0].task
    some, everything = (kept(Predictions(evaluation=each), mode, task) for each in (SOME, ALL))
    assert not {"train_index", "test_index"} & everything.keys()
    for subset, examples in task.dataset.subsets.items():
        index, masks = some[f"{subset}_index"], unpack_mask(some[f"{subset}_correct"], NUM_DRAWN)
        assert masks.equal(unpack_mask(everything[f"{subset}_correct"], len(examples))[:, index])
        shown = some[f"{subset}_examples_index"]
        assert some[f"{subset}_examples"].equal(examples.inputs[shown])
        assert some[f"{subset}_examples_target"].equal(examples.targets[shown])
        assert some[f"{subset}_examples_num_right"].equal(masks[:, torch.searchsorted(index, shown)].sum(dim=0))


def test_barriers_of_examples_say_of_which_they_are(trunks):
    mode, task = load_mode(trunks[0], 13), trunks[0].task
    some, everything = (kept(BarriersByExample(evaluation=each), mode, task) for each in (SOME, ALL))
    assert some.keys() == {*everything, "train_index"}
    for name in ("train_example_barrier", "train_el2n"):
        torch.testing.assert_close(some[name], everything[name][some["train_index"]])


def test_what_has_no_masks_keeps_no_indices(trunks):
    def regression(model):
        return Regression(model, partial(torch.optim.SGD, lr=0.05))

    task = trunks[0].task
    values = {name: replace(each, targets=torch.randn(len(each), 3)) for name, each in task.dataset.subsets.items()}
    data = Dataset(values["train"], values["test"], "values")
    task = replace(task, build_module=regression, load_data=lambda: data)
    assert not kept(Predictions(evaluation=SOME), load_mode(trunks[0], 13), task)


def test_examples_are_drawn_independently_of_those_that_moments_are_of(trunks):
    train = trunks[0].task.dataset.train
    index = set(SOME.index(train).tolist())
    assert len(index) == NUM_DRAWN and 0 < len(index & set(train.drawn(NUM_DRAWN).tolist())) < NUM_DRAWN / 2


def test_more_examples_than_there_are_are_all(trunks):
    mode, task = load_mode(trunks[0], 13), trunks[0].task
    many = Predictions(evaluation=replace(ALL, num_examples=10_000))
    assert rows(many, mode, task) == rows(replace(many, evaluation=ALL), mode, task)
    assert "train_index" not in kept(many, mode, task)


def test_rows_say_over_how_many_examples_a_loss_is_a_mean(trunks):
    mode, task = load_mode(trunks[0], 13), trunks[0].task
    told = [item for item in Pairs(evaluation=SOME).measure(mode, task) if isinstance(item, Choice)]
    assert Choice("examples", f"{NUM_DRAWN} train, {NUM_DRAWN} test") in told


def test_the_number_is_part_of_what_a_result_is_known_by():
    analysis = ConvexMode(num_samples=7, evaluation=SOME)
    assert identity_settings(analysis, variant="")["evaluation"]["num_examples"] == NUM_DRAWN
    assert "num_examples" not in str(identity_settings(replace(analysis, evaluation=ALL), variant=""))
