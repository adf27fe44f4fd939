"""Hulls of branches that see shared or unshared examples, beside what other analyses find of the same hulls."""

from dataclasses import replace
from functools import partial

import pytest
import torch

from lmc_lab.analyses.base import LeftOut, Measurement
from lmc_lab.analyses.convex_mode import ConvexMode
from lmc_lab.analyses.pairs import Pairs
from lmc_lab.analyses.predictions import Predictions
from lmc_lab.analyses.shared_examples import SharedExamples
from lmc_lab.data.examples import Dataset
from lmc_lab.errors import UserError
from lmc_lab.landscape.predictions import intra_mode, unpack_mask
from lmc_lab.runs.endpoints import load_mode
from lmc_lab.runs.subject import Request
from lmc_lab.runs.varied_modes import VariedModes
from lmc_lab.tasks.evaluation_settings import EvaluationSettings
from lmc_lab.tasks.regression import Regression
from tiny import tiny_experiment, train_branch, variants

KEPT = EvaluationSettings(bn_policy="keep")
ANALYSIS = SharedExamples(num_endpoints=3, num_samples=20, num_points=3, evaluation=KEPT)


@pytest.fixture(scope="module")
def experiment(tmp_path_factory):
    experiment = tiny_experiment(tmp_path_factory.mktemp("tiny"))
    for each in (experiment, *variants(experiment, ANALYSIS)):
        for seed in range(3):
            train_branch(each, 13, seed)
    return experiment


@pytest.fixture(scope="module")
def modes(experiment):
    return VariedModes.load(experiment, Request(split_steps=(13,), varied=variants(experiment, ANALYSIS)))


@pytest.fixture(scope="module")
def found(modes, experiment):
    return {
        (item.quantity, item.subset): item
        for item in ANALYSIS.measure(modes, experiment.task)
        if isinstance(item, Measurement)
    }


def expected(mode, task, subset="train"):
    """The same of a mode by the analyses that measure it alone, on a subset of the task's data."""
    algorithm = ConvexMode(num_samples=20, evaluation=KEPT).measure(mode, task)
    pairs = Pairs(num_endpoints=3, num_points=3, evaluation=KEPT).measure(mode, task)
    rows = [item for item in (*algorithm, *pairs) if isinstance(item, Measurement) and item.subset == subset]
    return {item.quantity: item for item in rows if item.branch is None}


NAMES = ("p_conv", "p_rand", "p_jensen_negative", "endpoint_loss", "endpoint_accuracy", "hull_point_loss",
         "hull_point_accuracy", "barrier_loss", "barrier_error")  # fmt: skip


def alike(found, suffix, subset, rows):
    for name in NAMES:
        row, other = found[f"{name}_{suffix}", subset], rows[name]
        assert (row.value, row.low, row.high, row.num_samples) == pytest.approx(
            (other.value, other.low, other.high, other.num_samples), abs=1e-9
        ), name


def on(task, examples):
    """The task with these training examples alone, for the losses: the policy `keep` asks for no others."""
    return replace(task, load_data=lambda: Dataset(examples, None, task.dataset.digest))


def test_a_hull_is_measured_as_it_is_alone_on_all_examples_and_on_those_that_it_saw(modes, found, experiment):
    task = experiment.task
    for way, mode in zip(ANALYSIS.ways, modes.varied, strict=True):
        for subset in ("train", "test"):
            alike(found, f"on_{way}", subset, expected(mode, task, subset))
        chosen = mode.training.examples
        alike(found, f"on_{way}_own", "train", expected(mode, on(task, task.dataset.train.at(chosen))))
        assert found[f"num_examples_on_{way}", None].value == len(chosen)


def test_the_plain_hull_is_measured_on_both_parts(modes, found, experiment):
    task = experiment.task
    (packed,) = [
        item.tensor
        for item in Predictions(evaluation=KEPT).measure(load_mode(experiment, 13), task)
        if getattr(item, "name", "") == "train_correct"
    ]
    shared = intra_mode(unpack_mask(packed, 200))
    for name, examples in (("shared", shared), ("unshared", ~shared)):
        own = on(task, task.dataset.train.at(examples.nonzero().flatten()))
        alike(found, f"of_{name}", "train", expected(modes.mode, own))
    assert found["endpoint_accuracy_of_shared", "train"].value == 1
    assert not {name for name, _ in found if "of_random" in name}


def test_random_examples_are_as_many(found):
    numbers = {way: found[f"num_examples_on_{way}", None].value for way in ANALYSIS.ways}
    assert numbers["shared"] == numbers["random_shared"] and numbers["unshared"] == numbers["random_unshared"]
    assert numbers["shared"] + numbers["unshared"] == 200


def test_ways_are_known_by_their_rules():
    target = "lmc_lab.runs.agreement.by_agreement"
    rules = [each["examples"] for each in SharedExamples(ways=("unshared", "random_shared"), seed=3).variations]
    assert rules == [
        {"_target_": target, "num_endpoints": 5, "part": "unshared"},
        {"_target_": target, "num_endpoints": 5, "part": "shared", "at_random": True, "seed": 3},
    ]
    assert ANALYSIS.variations[0]["examples"]["bn_policy"] == "keep"


def test_branches_of_nobody_knows_which_examples_are_refused(modes, experiment):
    with pytest.raises(UserError, match="file of the choice"):
        list(ANALYSIS.measure(replace(modes, varied=(modes.mode,) * 4), experiment.task))


def test_branches_may_train_on_from_the_endpoints(experiment):
    analysis = replace(ANALYSIS, start="endpoints", ways=("shared",))
    (from_ends,) = variants(experiment, analysis)
    for seed in range(3):
        train_branch(from_ends, 13, seed)
    modes = VariedModes.load(experiment, Request(split_steps=(13,), varied=[from_ends]))
    rows = {item.quantity: item for item in analysis.measure(modes, experiment.task) if isinstance(item, Measurement)}
    (from_split,) = (each for each in variants(experiment, replace(ANALYSIS, ways=("shared",))))
    other = VariedModes.load(experiment, Request(split_steps=(13,), varied=[from_split]))
    assert rows["endpoint_loss_on_shared_own"].num_samples == 3
    assert modes.varied[0].training.examples.tolist() == other.varied[0].training.examples.tolist()
    assert (modes.varied[0].endpoints - other.varied[0].endpoints).norm(dim=1).min() > 0.01


def test_a_task_without_right_and_wrong_is_refused_before_branches_are_trained(experiment):
    regression = replace(
        experiment.task, build_module=lambda model: Regression(model, partial(torch.optim.SGD, lr=0.1))
    )
    with pytest.raises(
        UserError, match="right and wrong for analysis.shared_examples, found tiny without; leave it out"
    ):
        ANALYSIS.variations_of(regression)
    assert ANALYSIS.variations_of(experiment.task) == ANALYSIS.variations


def test_a_part_of_which_there_are_no_branches_is_left_out(modes, found, experiment):
    none = replace(modes.varied[1], part=replace(modes.varied[1].part, branches=()), endpoint_digests=())
    shared, _, _, random_shared = modes.varied
    answers = list(ANALYSIS.measure(replace(modes, varied=(shared, none, none, random_shared)), experiment.task))
    assert [str(item) for item in answers if isinstance(item, LeftOut)] == [
        "branches on examples that not all endpoints have right, which are fewer than a batch takes",
        "branches on as many random examples as there are examples that not all endpoints have right, which are fewer than a "
        "batch takes",
    ]
    rows = {(item.quantity, item.subset): item for item in answers if isinstance(item, Measurement)}
    assert rows == {key: row for key, row in found.items() if "unshared" not in key[0]}
