"""The terms of the Jensen gap of trained branches, beside what Algorithm 1 finds of the same hull points."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from lmc_lab.analyses.base import Choice, LeftOut, Measurement
from lmc_lab.analyses.convex_mode import ConvexMode
from lmc_lab.analyses.gap_terms import GapTermsOfHull
from lmc_lab.runs.endpoints import load_mode
from lmc_lab.tasks.classification import Classification
from lmc_lab.tasks.regression import Regression
from tiny import tiny_experiment, train_branch


@pytest.fixture(scope="module")
def experiment(tmp_path_factory):
    experiment = tiny_experiment(tmp_path_factory.mktemp("tiny"))
    for seed in range(3):
        train_branch(experiment, 13, seed)
    return experiment


def values(found, subset):
    rows = [
        m for m in found if isinstance(m, Measurement) and m.subset == subset and m.index is None and m.branch is None
    ]
    return {m.quantity: m.value for m in rows}


@pytest.mark.parametrize("subset", ["train", "test"])
def test_terms_sum_to_what_algorithm_1_finds_of_the_same_points(experiment, subset):
    mode = load_mode(experiment, 13)
    terms = values(GapTermsOfHull(num_samples=40).measure(mode, experiment.task), subset)
    found = values(ConvexMode(num_samples=40).measure(mode, experiment.task), subset)
    assert terms["gap_averaging"] > 0
    assert terms["gap_bend"] - terms["gap_averaging"] == pytest.approx(found["jensen_gap"], abs=1e-7)
    assert terms["gap_excess"] == pytest.approx(
        terms["gap_bend"] - terms["gap_averaging"] + terms["gap_corner"], abs=1e-12
    )
    assert terms["gap_averaging_probabilities"] > 0  # since the cross-entropy is convex in probabilities, too
    assert terms["ensemble_loss"] < found["endpoint_loss"] and terms["probabilities_loss"] < found["endpoint_loss"]
    assert terms["ensemble_accuracy"] == pytest.approx(found["endpoint_accuracy"], abs=0.05)


def test_each_point_has_its_terms_and_how_far_it_is(experiment):
    found = list(GapTermsOfHull(num_samples=9).measure(load_mode(experiment, 13), experiment.task))
    points = {m.quantity: m for m in found if isinstance(m, Measurement) and m.index == 8}
    assert points.keys() == {f"point_{name}" for name in ("bend", "averaging", "corner", "excess", "distance")}
    assert points["point_distance"].value > 0
    assert any(isinstance(answer, Choice) for answer in found)


class Tempered(Classification.__mro__[1]):
    """A loss with a parameter of its own."""

    def __init__(self, model, optimizer):
        super().__init__(model, optimizer)
        self.temperature = nn.Parameter(torch.ones(()))

    def per_example_loss(self, outputs, targets):
        return nn.functional.cross_entropy(outputs / self.temperature, targets, reduction="none")

    def is_correct(self, outputs, targets):
        return outputs.argmax(1) == targets


def test_a_loss_with_parameters_of_its_own_is_left_out(tmp_path):
    own = tiny_experiment(tmp_path)
    own = replace(
        own, task=replace(own.task, build_module=lambda model: Tempered(model, lambda p: torch.optim.SGD(p, lr=0.1)))
    )
    for seed in range(2):
        train_branch(own, 13, seed)
    *_, last = GapTermsOfHull(num_samples=5).measure(load_mode(own, 13), own.task)
    assert isinstance(last, LeftOut) and "parameters of its own" in last.why


def test_a_regression_has_terms_and_no_probabilities(tmp_path):
    own = tiny_experiment(tmp_path)
    data = own.task.dataset
    train = replace(data.train, targets=nn.functional.one_hot(data.train.targets, 3).float())
    task = replace(
        own.task,
        build_module=lambda model: Regression(model, lambda p: torch.optim.SGD(p, lr=0.1)),
        load_data=lambda: replace(data, train=train, test=None),
    )
    own = replace(own, task=task)
    for seed in range(2):
        train_branch(own, 13, seed)
    found = values(GapTermsOfHull(num_samples=5).measure(load_mode(own, 13), own.task), "train")
    assert found["gap_averaging"] > 0 and "probabilities_loss" not in found and "ensemble_accuracy" not in found
