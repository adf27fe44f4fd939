from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import nn

from lmc_lab.errors import UserError
from lmc_lab.files import read_json
from lmc_lab.runs import checkpoint
from lmc_lab.runs.chosen_examples import choose_once, stored_choice
from lmc_lab.runs.paths import RunPaths
from lmc_lab.runs.perturbation import perturbed
from lmc_lab.runs.run import Run
from lmc_lab.runs.split import Split
from lmc_lab.runs.trunk import ensure_trunk
from lmc_lab.runs.variation import BranchLength, Origin, Variation
from lmc_lab.tasks.classification import Classification
from tiny import tiny_experiment, train_branch


def weights(folder):
    return checkpoint.load(folder.endpoint).state["model"]


def shifted(state, origin=None):
    return {name: value + 1 if name.endswith("4.bias") else value for name, value in state.items()}


def varied(path, **parts):
    described = {name: str(value) for name, value in parts.items() if name != "length"}
    return tiny_experiment(path, variation=Variation(**parts, described=described))


def test_what_is_default_names_no_folder(tmp_path):
    assert str(Variation()) == ""
    assert (
        str(Variation(length=BranchLength.AFTER_SPLIT, carry_optimizer_state=False)) == "-after_split-fresh_optimizer"
    )
    names = {str(Variation(described={"start": {"sigma": sigma}})) for sigma in (1, 2)}
    assert len(names) == 2 and all(name.startswith("-varied_") for name in names)


def test_a_split_says_how_its_branches_are_made(tmp_path):
    plain = Split(0, 13, "to_total", True)
    assert "described" not in plain.to_plain()
    experiment = varied(tmp_path, start=shifted)
    train_branch(experiment, 13, 0)
    folder = experiment.split_folder(13)
    assert read_json(folder.manifest)["described"] == experiment.variation.described
    assert not plain.is_published(folder)


def test_a_branch_begins_with_what_start_makes_of_the_split(tmp_path):
    """With a learning rate of zero the endpoint is where the branch began."""
    still = replace(
        tiny_experiment(tmp_path).task,
        build_module=lambda model: Classification(model, partial(torch.optim.SGD, lr=0.0, momentum=0.9), num_classes=3),
    )
    experiment = varied(tmp_path, start=shifted, task=still)
    folder = train_branch(experiment, 13, 0)
    at_split = checkpoint.module_state(checkpoint.load(experiment.trunk_folder.step(13)).state)
    found = weights(folder)
    for name in (name for name in found if "bias" in name and "1." not in name):
        assert torch.equal(found[name], shifted(at_split)[name]), name


def test_another_kind_of_optimizer_cannot_go_on_with_the_trunks_state(tmp_path):
    adam = replace(
        tiny_experiment(tmp_path).task,
        build_module=lambda model: Classification(model, partial(torch.optim.Adam, lr=0.01), num_classes=3),
    )
    experiment = varied(tmp_path, task=adam)
    with pytest.raises(UserError, match="set carry_optimizer_state=false"):
        train_branch(experiment, 13, 0)
    afresh = replace(experiment.variation, carry_optimizer_state=False)
    assert train_branch(replace(experiment, variation=afresh), 13, 0).endpoint.exists()


@pytest.mark.parametrize(
    ("start", "said"),
    [
        (lambda state, origin: {}, "names and shapes"),
        (lambda state, origin: {name: value * float("nan") for name, value in state.items()}, "finite weights"),
    ],
)
def test_a_start_that_is_none_is_refused(tmp_path, start, said):
    with pytest.raises(UserError, match=said):
        train_branch(varied(tmp_path, start=start), 13, 0)


def test_the_seed_of_the_trunk_goes_on_as_the_trunk_from_the_same_start(tmp_path):
    experiment = varied(tmp_path, start=lambda state, origin: dict(state))
    folder = train_branch(experiment, 13, "trunk")
    ensure_trunk(experiment, {40})
    end = checkpoint.module_state(checkpoint.load(experiment.trunk_folder.step(40)).state)
    assert all(torch.equal(value, end[name]) for name, value in weights(folder).items())


def test_branches_see_the_examples_that_were_chosen(tmp_path):
    chosen = torch.arange(0, 200, 4)
    experiment = varied(tmp_path, examples=lambda train, origin: chosen)
    batches = Run(experiment, 13, 0).batches(13)
    train = experiment.task.dataset.train
    seen = {tuple(row.tolist()) for step in range(13, 16) for row in batches.at(step)[0]}
    assert seen <= {tuple(row.tolist()) for row in train.inputs[chosen]}
    assert batches.order.num_examples == 50 and len(Run(experiment).examples) == 200
    assert (
        weights(train_branch(experiment, 13, 0)).keys()
        == weights(train_branch(tiny_experiment(tmp_path), 13, 0)).keys()
    )


@pytest.mark.parametrize(
    ("index", "said"),
    [
        (torch.tensor([0.0]), "indices"),
        (torch.tensor([0] * 20), "distinct numbers from 0 to 199"),
        (torch.arange(190, 210), "distinct numbers"),
        (torch.arange(15), "at least one batch of 16"),
    ],
)
def test_examples_that_are_none_are_refused(tmp_path, index, said):
    with pytest.raises(UserError, match=said):
        train_branch(varied(tmp_path, examples=lambda train, origin: index), 13, 0)


def test_an_override_of_the_task_concerns_branches_alone(tmp_path):
    shorter = replace(tiny_experiment(tmp_path).task, max_steps=20)
    experiment = varied(tmp_path, task=shorter)
    folder = train_branch(experiment, 13, 0)
    assert checkpoint.load(folder.endpoint).state["step"] == 20 and experiment.task.max_steps == 40


def test_a_killed_branch_does_not_start_again_from_the_changed_state(tmp_path, monkeypatch):
    from lmc_lab.runs.settings import RunSettings
    from runs.test_branch import Killed, killing_heartbeat

    settings = RunSettings(log_every=5, resume_seconds=0.0)
    whole = train_branch(replace(varied(tmp_path / "whole", start=shifted), settings=settings), 13, 4)
    stopped = replace(varied(tmp_path / "stopped", start=shifted), settings=settings)
    with monkeypatch.context() as patch:
        ensure_trunk(stopped, {13})
        patch.setattr("lmc_lab.runs.fit.Heartbeat", killing_heartbeat(29))
        with pytest.raises(Killed):
            train_branch(stopped, 13, 4)
    resumed = weights(train_branch(stopped, 13, 4))
    assert all(torch.equal(value, resumed[name]) for name, value in weights(whole).items())


class Tied(nn.Sequential):
    """Two layers of one matrix."""

    def __init__(self):
        super().__init__(nn.Linear(2, 4), nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 3))
        self[2].weight = self[1].weight


def begun(task, state, **parts):
    """The checkpoint that a branch begins with."""
    trunks = {"state_dict": dict(state), "optimizer_states": [{"state": {}, "param_groups": []}], "lr_schedulers": []}
    return lambda **further: Variation(**parts).begun(trunks | further, Origin(task, 0, 13, 0, 16))


def test_a_tied_matrix_moves_under_all_its_names(tmp_path):
    task = replace(tiny_experiment(tmp_path).task, build_model=Tied)
    state = task.initialise(0).state_dict()
    found = begun(task, state, start=partial(perturbed, sigma=1.0))()["state_dict"]
    moved = {name: not torch.equal(found[name], value) for name, value in state.items() if name.endswith("weight")}
    assert moved == dict.fromkeys(moved, True)
    assert torch.equal(found["model.1.weight"], found["model.2.weight"])


def test_branches_leave_the_weights_where_training_is_and_not_their_average(tmp_path):
    task = tiny_experiment(tmp_path).task
    state = task.initialise(0).state_dict()
    average = {name: torch.zeros_like(value) for name, value in state.items()}
    of_trunk = {"current_model_state": state, "averaging_state": {"n": 3}}
    moved = begun(task, average, start=shifted)(**of_trunk)
    assert moved.keys().isdisjoint(of_trunk)
    assert all(torch.equal(moved["state_dict"][name], value) for name, value in shifted(state).items())
    without = begun(task, average, described={"overrides": {"callbacks": []}})(**of_trunk)
    assert without.keys().isdisjoint(of_trunk) and without["state_dict"] is state
    assert begun(task, average)(**of_trunk).keys() >= of_trunk.keys()


def test_a_damaged_choice_is_set_aside_by_who_makes_it_anew_alone(tmp_path):
    folder = RunPaths.of(tmp_path, "tiny", "0").split(0, 13, "")
    first = choose_once(folder, "data", lambda: torch.tensor([3, 5]))
    folder.examples.write_text("half")
    assert stored_choice(folder, "data") is None and folder.examples.read_text() == "half"
    assert torch.equal(choose_once(folder, "data", lambda: torch.tensor([3, 5])), first)
    assert folder.examples.with_name("examples.json.corrupt").exists()
