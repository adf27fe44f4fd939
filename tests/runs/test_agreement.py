"""Branches that see what the plain endpoints of their split have right, or not: chosen once, for all of them."""

from dataclasses import replace

import pytest
import torch
from torch.func import functional_call

from lmc_lab.errors import UserError
from lmc_lab.results.part import Part
from lmc_lab.runs.agreement import by_agreement
from lmc_lab.runs.endpoints import load_mode
from lmc_lab.runs.finished import is_choice_kept
from lmc_lab.runs.run import Run
from lmc_lab.runs.side_by_side import _of_same_examples
from lmc_lab.runs.status import NoBranches, peek_status
from lmc_lab.runs.subject import Request
from lmc_lab.runs.trunk import ensure_split
from lmc_lab.runs.variation import Origin, Variation
from lmc_lab.runs.varied_modes import VariedModes
from lmc_lab.studies.record import _lacks_branches
from tiny import tiny_experiment, train_branch


def seeing(experiment, **settings):
    """The experiment with branches that see what is chosen by agreement."""
    settings = {"num_endpoints": 3, **settings}
    rule = {"_target_": "lmc_lab.runs.agreement.by_agreement", **settings}
    variation = Variation(examples=_Rule(settings), described={"examples": rule})
    return replace(experiment, variation=variation, given=("task=tiny", f"branch.examples={rule}"))


class _Rule:
    def __init__(self, settings):
        self.settings = settings

    def __call__(self, train, origin):
        return by_agreement(train, origin, **self.settings)


@pytest.fixture(scope="module")
def experiment(tmp_path_factory):
    experiment = tiny_experiment(tmp_path_factory.mktemp("tiny"))
    for step in (13, 20):
        for seed in range(3):
            train_branch(experiment, step, seed)
    return experiment


def right_by_all(experiment):
    """S_j of the split at 13, one endpoint after another in its own module, moments re-estimated on all 200 examples."""
    mode, train = load_mode(experiment, 13), experiment.task.dataset.train
    masks = []
    for theta in mode.endpoints:
        module = experiment.task.initialise(0)
        state = experiment.task.layout.parameters.unflatten(theta)
        for layer in module.modules():
            if isinstance(layer, torch.nn.Dropout):
                layer.eval()
        with torch.no_grad():  # in train mode a batch has its own moments
            normed = functional_call(module, state, (train.inputs,))
        masks.append(normed.argmax(1) == train.targets)
    return torch.stack(masks).all(dim=0)


def test_branches_see_s_j_or_its_complement_or_as_many_at_random(experiment):
    shared = right_by_all(experiment)
    chosen = {
        (part, at_random): Run(seeing(experiment, part=part, at_random=at_random), 13, 0).chosen
        for part in ("shared", "unshared")
        for at_random in (False, True)
    }
    # Variances of a batch are those of a sample in moments that are kept, and not where a batch has its own.
    agreeing = torch.zeros(200, dtype=torch.bool)
    agreeing[chosen["shared", False]] = True
    assert (agreeing == shared).double().mean() > 0.98
    joined = torch.cat([chosen["shared", False], chosen["unshared", False]])
    assert joined.sort().values.tolist() == list(range(200))
    for part in ("shared", "unshared"):
        drawn = chosen[part, True]
        assert len(drawn) == len(chosen[part, False]) and len(drawn.unique()) == len(drawn)
    few, many = sorted((set(chosen[part, True].tolist()) for part in ("shared", "unshared")), key=len)
    assert few < many
    other = Run(seeing(experiment, part="shared", at_random=True, seed=1), 13, 0).chosen
    assert not torch.equal(other, chosen["shared", True])


def test_a_branch_trains_on_what_was_chosen_and_the_choice_is_kept(experiment, monkeypatch):
    own = seeing(experiment)
    train_branch(own, 13, 0)
    chosen = Run(own, 13, 0).chosen
    batches, train = Run(own, 13, 0).batches(13), own.task.dataset.train
    seen = {tuple(row.tolist()) for step in range(13, 20) for row in batches.at(step)[0]}
    assert seen <= {tuple(row.tolist()) for row in train.inputs[chosen]} and len(Run(own, 13, 0).examples) == len(
        chosen
    )
    train_branch(own, 13, 1)
    assert torch.equal(load_mode(own, 13).training.examples, chosen)
    assert load_mode(experiment, 13).training.examples is None
    monkeypatch.setattr("lmc_lab.runs.run.load_mode", lambda *args, **more: pytest.fail("asked again"))
    assert torch.equal(Run(own, 13, 2).chosen, chosen)
    own.split_folder(13).examples.write_text("{")  # damaged: it is chosen again
    with pytest.raises(pytest.fail.Exception, match="asked again"):
        _ = Run(own, 13, 2).chosen


def test_a_choice_is_not_that_of_other_data(tmp_path):
    experiment = tiny_experiment(tmp_path)
    for seed in range(2):
        train_branch(experiment, 13, seed)
    own = seeing(experiment, num_endpoints=2)
    assert Run(own, 13, 0).chosen is not None
    changed = replace(own.task, load_data=lambda: replace(experiment.task.dataset, digest="other"))
    with pytest.raises(UserError, match="data"):  # of which no branch is
        _ = Run(replace(own, task=changed), 13, 0).chosen


def test_plain_branches_are_named_that_are_missing(experiment):
    own = seeing(experiment, num_endpoints=5)
    with pytest.raises(UserError, match="unfinished ones with seed=3,4") as error:
        train_branch(own, 13, 0)
    assert "branch.examples" not in str(error.value) and "task=tiny" in str(error.value)


@pytest.mark.parametrize("at_random", [False, True])
def test_a_split_has_no_branches_of_a_part_that_is_smaller_than_a_batch(experiment, at_random):
    own = replace(
        seeing(experiment, part="unshared", at_random=at_random), task=replace(experiment.task, batch_size=150)
    )
    for _ in range(2):
        with pytest.raises(
            NoBranches, match=r"expected examples for the branches of .*split-20.*found that .* chooses none"
        ):
            train_branch(own, 20, 0)
    assert peek_status(own.split_folder(20).branch(0))["state"] == "left out"
    assert [*_lacks_branches(own, (Part(0, 20, (0,)),))] == [
        "no examples were chosen for the branches of trunk 0, k = 20"
    ]
    assert [*_lacks_branches(experiment, (Part(0, 20, (0,)),))] == []
    with pytest.raises(NoBranches):
        load_mode(own, 20)
    assert _of_same_examples([Run(own, 20, 0), Run(own, 20, 1)]) == []
    several = VariedModes.load(experiment, Request(split_steps=(20,), varied=[own]))
    assert len(several.varied[0]) == 0 and several.varied[0].endpoints.shape == (
        0,
        experiment.task.layout.parameters.dimension,
    )


@pytest.mark.parametrize("damage", [lambda path: path.unlink(), lambda path: path.write_text("{")])
def test_a_lost_choice_is_made_again_though_its_branches_are_finished(experiment, damage):
    own = seeing(experiment)
    train_branch(own, 13, 0)
    folder = own.split_folder(13)
    before, endpoint = folder.examples.read_bytes(), folder.branch(0).endpoint.stat().st_mtime_ns
    assert is_choice_kept(folder)
    damage(folder.examples)
    assert not is_choice_kept(folder)
    train_branch(own, 13, 0)
    assert folder.examples.read_bytes() == before and folder.branch(0).endpoint.stat().st_mtime_ns == endpoint
    assert peek_status(folder.branch(0))["state"] == "finished"


def test_a_program_has_branches_of_the_same_examples(experiment):
    own = seeing(experiment, part="shared", at_random=False, seed=7)
    for step in (13, 20):
        ensure_split(own, step)
    runs = [Run(own, step, seed) for step in (13, 20) for seed in range(2)]
    assert _of_same_examples(runs) == [runs[:2], runs[2:]]
    plain = [Run(experiment, step, seed) for step in (13, 20) for seed in range(2)]
    assert _of_same_examples(plain) == [plain]
    assert _of_same_examples([Run(seeing(experiment, num_endpoints=9), 13, 0)]) == []


def test_an_origin_without_other_branches_says_so():
    with pytest.raises(ValueError, match="none with seeds"):
        Origin(None, 0, 13, 0, 16).endpoints(range(2))
