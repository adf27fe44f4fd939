"""Hulls of branches that differ in one kind of noise, and of mixtures of kinds."""

from dataclasses import replace

import pytest
import torch

from alike import quiet_model
from lmc_lab.analyses.base import LeftOut, Measurement
from lmc_lab.analyses.convex_mode import ConvexMode
from lmc_lab.analyses.distances import Distances
from lmc_lab.analyses.noise_hulls import NoiseHulls
from lmc_lab.errors import UserError
from lmc_lab.runs.endpoints import Mode
from lmc_lab.runs.noise import BranchNoise
from lmc_lab.runs.subject import Request
from lmc_lab.runs.varied_modes import VariedModes
from lmc_lab.tasks.evaluation_settings import EvaluationSettings
from lmc_lab.tasks.state_dicts import Endpoints
from tiny import of_noise, tiny_experiment, train_branch

J, KEPT = 20, EvaluationSettings(bn_policy="keep")
ANALYSIS = NoiseHulls(kinds=("labels", "rate"), num_samples=J, label_share=0.2, evaluation=KEPT)
NAMES = ("plain", "order", "labels", "rate")


def with_classes(path, **changes):
    own = tiny_experiment(path)
    return replace(own, task=replace(own.task, num_classes=3, **changes))


@pytest.fixture(scope="module")
def experiment(tmp_path_factory):
    return with_classes(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def modes(experiment):
    varied = of_noise(experiment, ANALYSIS)
    for each in (experiment, *varied):
        for seed in range(4):
            train_branch(each, 13, seed)
    return VariedModes.load(experiment, Request(split_steps=(13,), varied=varied))


@pytest.fixture(scope="module")
def found(modes, experiment):
    return [each for each in ANALYSIS.measure(modes, experiment.task) if isinstance(each, Measurement)]


def of_hull(rows, hull):
    end = f"_noise_{hull}"
    own = [row for row in rows if row.quantity.endswith(end)]
    return {(row.quantity.removesuffix(end), row.subset): row for row in own}


def assert_as_of(own, mode, task):
    """The rows of a hull are those that other analyses have of its endpoints as a mode."""
    others = [
        *ConvexMode(num_samples=J, evaluation=KEPT).measure(mode, task),
        *Distances(num_samples=J).measure(mode, task),
    ]
    known = {(row.quantity, row.subset): row for row in others if isinstance(row, Measurement) and row.branch is None}
    assert len(own) == 3 + 6 * 2 and own.keys() <= known.keys()
    for key, row in own.items():
        assert (row.value, row.low, row.high) == (known[key].value, known[key].low, known[key].high), key


@pytest.mark.parametrize("kind", NAMES)
def test_a_hull_of_one_kind_is_that_of_a_mode(modes, found, experiment, kind):
    mode = dict(zip(NAMES, (modes.mode, *modes.varied), strict=True))[kind]
    assert_as_of(of_hull([row for row in found if f"_and_{kind}" not in row.quantity], kind), mode, experiment.task)


def test_a_mixture_is_the_hull_of_half_of_both(modes, found, experiment):
    order, labels = modes.varied[0], modes.varied[1]
    thetas = torch.cat([order.endpoints[:2], labels.endpoints[2:]])
    buffers = {name: torch.cat([order.buffers[name][:2], labels.buffers[name][2:]]) for name in order.buffers}
    own = of_hull(found, "order_and_labels")
    distance = own.pop(("endpoint_endpoint", None))
    between = torch.cdist(thetas[:2].double(), thetas[2:].double(), compute_mode="donot_use_mm_for_euclid_dist")
    assert distance.value == pytest.approx(float(between.mean()), rel=1e-9) and distance.low < distance.value
    mode = Mode(order.part, order.endpoint_digests, experiment.task, lambda: Endpoints(thetas, buffers))
    known = ConvexMode(num_samples=J, evaluation=KEPT).measure(mode, experiment.task)
    p_conv = [row for row in known if isinstance(row, Measurement) and row.quantity == "p_conv"]
    assert [own["p_conv", row.subset].value for row in p_conv] == [row.value for row in p_conv]


def test_all_that_is_named_has_rows(found):
    hulls = {row.quantity.partition("_noise_")[2] for row in found if "_noise_" in row.quantity}
    assert hulls == {*NAMES, "order_and_labels", "order_and_rate", "mixed"}
    factors = {row.branch: row.value for row in found if row.quantity == "rate_factor"}
    assert factors == {seed: BranchNoise(kind="rate").rate_factor(0, seed) for seed in range(4)}


def test_a_task_has_the_kinds_that_it_can_have(tmp_path, experiment):
    def kinds(task, **settings):
        return [each["noise"] for each in NoiseHulls(**settings).variations_of(task)]

    labels, rate = {"kind": "labels", "share": 0.1}, {"kind": "rate", "spread": 2.0}
    assert kinds(experiment.task) == [{"kind": "order"}, {"kind": "dropout"}, labels, rate]
    quiet = with_classes(tmp_path, build_model=quiet_model).task
    assert kinds(quiet) == [labels, rate]  # plain branches differ in the order alone
    assert kinds(quiet, kinds=("rate", "order"), rate_factors=(1, 2)) == [{"kind": "rate", "factors": [1.0, 2.0]}]
    assert kinds(replace(quiet, num_classes=None)) == [rate]
    assert kinds(experiment.task, kinds=("rate",)) == [{"kind": "order"}, rate]
    with pytest.raises(UserError, match=r"expected analysis.noise_hulls.kinds of noise that tiny has, found dropout"):
        kinds(quiet, kinds=("labels", "dropout"))


def test_kinds_that_are_left_out_are_said(tmp_path):
    own = with_classes(tmp_path, build_model=quiet_model)
    analysis = NoiseHulls(num_samples=5, evaluation=KEPT)
    varied = of_noise(own, analysis)
    for each in (own, *varied):
        for seed in range(2):
            train_branch(each, 13, seed)
    modes = VariedModes.load(own, Request(split_steps=(13,), varied=varied))
    found = list(analysis.measure(modes, own.task))
    said = [str(item) for item in found if isinstance(item, LeftOut)]
    assert (
        len(said) == 2
        and "augmentation, which tiny does not have: its training inputs" in said[0]
        and "dropout" in said[1]
    )
    hulls = {item.quantity.partition("_noise_")[2] for item in found if isinstance(item, Measurement)}
    assert hulls == {"", "order", "labels", "rate", "order_and_labels", "order_and_rate"}
