"""A mode of weights that were trained elsewhere."""

import json
import logging
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F

import lmc_lab
from lmc_lab.analyses.base import LeftOut, Measurement
from lmc_lab.analyses.convex_mode import ConvexMode
from lmc_lab.analyses.curves import BranchCurves
from lmc_lab.analyses.distances import Distances
from lmc_lab.analyses.hessian import BranchHessian
from lmc_lab.analyses.pairs import Pairs
from lmc_lab.analyses.predictions import Predictions
from lmc_lab.analyses.spectrum import Spectrum
from lmc_lab.analyses.store import ensure_rows, read_result
from lmc_lab.errors import UserError
from lmc_lab.runs.endpoints import Mode, load_mode
from lmc_lab.runs.subject import Part, Request
from lmc_lab.tasks.classification import Classification
from lmc_lab.tasks.evaluation_settings import EvaluationSettings
from tiny import build_model, tiny_experiment, train_branch


def trained_elsewhere(count=3):
    """State dicts of plain networks that were trained for a few steps from one start."""
    torch.manual_seed(0)
    start = build_model().state_dict()
    dataset = tiny_experiment(Path("nowhere")).task.dataset
    for seed in range(count):
        torch.manual_seed(seed)
        model = build_model()
        model.load_state_dict(start)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for batch in torch.randint(200, (20, 16)):
            optimizer.zero_grad()
            F.cross_entropy(model(dataset.train.inputs[batch]), dataset.train.targets[batch]).backward()
            optimizer.step()
        yield model.state_dict()


STATES = list(trained_elsewhere())
ALL = [
    ConvexMode(num_samples=20), Pairs(num_points=3), Predictions(), Spectrum(), Distances(num_samples=5),
    BranchHessian(num_branches=2), BranchCurves(),
]  # fmt: skip


@pytest.fixture
def experiment(tmp_path):
    return tiny_experiment(tmp_path / "out")


@pytest.fixture
def save(tmp_path, monkeypatch):
    """Saves state dicts below the current folder, which is an empty one."""
    monkeypatch.chdir(tmp_path)

    def save_all(states=STATES, names=("a.pt", "b.safetensors", "c.ckpt")):
        for state, name in zip(states, names, strict=True):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            if name.endswith(".safetensors"):
                save_file(state, tmp_path / name)
            else:
                nested = {"state_dict": {f"model.{key}": tensor for key, tensor in state.items()}}
                torch.save(nested if name.endswith(".ckpt") else state, tmp_path / name)
        return list(names)

    return save_all


def load(experiment, names, steps=()):
    return Mode.load(experiment, Request(endpoints=names, steps=steps))


def measured(analysis, mode):
    found = [m for m in analysis.measure(mode, mode.task) if isinstance(m, Measurement)]
    return {(m.quantity, m.subset, m.index, m.branch): m.value for m in found}


def test_files_of_any_format_are_a_mode(experiment, save):
    mode = load(experiment, save())
    assert len(mode) == 3 and mode.training is None
    (part,) = mode.parts
    assert part.trunk is None and part.split_step is None and part.branches == (0, 1, 2)
    assert sorted(part.endpoint_names) == ["a.pt", "b.safetensors", "c.ckpt"]
    of_names = dict(zip(("a.pt", "b.safetensors", "c.ckpt"), STATES, strict=True))
    for i, name in enumerate(part.endpoint_names):
        state = {f"model.{key}": tensor for key, tensor in of_names[name].items()}
        assert torch.equal(mode.endpoints[i], mode.layout.flatten(state))
        assert all(torch.equal(values[i], state[key]) for key, values in mode.buffers.items())
    assert mode.buffers.keys() == set(experiment.task.layout.buffers)


def test_names_order_and_format_of_the_files_are_not_what_they_are(experiment, save):
    first = load(experiment, save())
    second = load(experiment, save(STATES[::-1], ["x.safetensors", "deep/y.pt", "z.pt"]))
    assert first.digests == second.digests and torch.equal(first.endpoints, second.endpoints)
    path = ensure_rows(experiment, first, ConvexMode(num_samples=5))
    assert ensure_rows(experiment, second, ConvexMode(num_samples=5)) == path
    other_data = tiny_experiment(Path("out"), digest="other")
    assert load(other_data, ["x.safetensors", "z.pt"]).digests != load(experiment, ["x.safetensors", "z.pt"]).digests


def test_a_pattern_names_all_files_that_match(experiment, save):
    save(names=["runs/1/last.ckpt", "runs/2/last.ckpt", "runs/3/best.ckpt"])
    assert len(load(experiment, ["runs/*/last.ckpt"])) == 2
    assert (
        len(load(experiment, ["runs/**/*.ckpt"]))
        == len(load(experiment, ["runs/*/last.ckpt", "runs/3/best.ckpt"]))
        == 3
    )


@pytest.mark.parametrize("policy", ["reestimate", "interpolate", "keep"])
def test_the_library_gets_the_same_bits(experiment, save, policy):
    mode = load(experiment, save())
    names = {"a.pt": 0, "b.safetensors": 1, "c.ckpt": 2}
    states = [STATES[names[name]] for name in mode.names]
    train = experiment.task.dataset.train
    objective = lmc_lab.Objective(build_model(), F.cross_entropy, (train.inputs, train.targets), bn_policy=policy)
    probe = lmc_lab.probe_hull(objective, states, num_samples=20)
    found = measured(ConvexMode(num_samples=20, evaluation=EvaluationSettings(bn_policy=policy)), mode)
    assert found["p_conv", "train", None, None] == probe.p_conv.value
    assert found["hull_point_loss", "train", None, None] == float(probe.conv.loss.mean())
    assert [found["branch_loss", "train", None, i] for i in range(3)] == probe.endpoints.loss.tolist()


def test_what_was_trained_here_can_be_looked_at_as_files(experiment):
    """Endpoints of different splits, say, which are no mode of one trunk."""
    for seed in range(2):
        train_branch(experiment, 13, seed)
    expected = load_mode(experiment, 13)
    mode = load(experiment, [str(folder.endpoint) for folder in expected.training.folders])
    order = [mode.names.index(str(folder.endpoint)) for folder in expected.training.folders]
    assert torch.equal(mode.endpoints[order], expected.endpoints)
    for analysis in (Spectrum(), Pairs(num_points=3)):
        assert measured(analysis, mode) == pytest.approx(measured(analysis, expected), rel=1e-6, abs=1e-6)


def test_a_loss_with_tensors_of_its_own_is_part_of_the_point(experiment, save):
    class Scaled(Classification.__base__):
        def __init__(self, model):
            super().__init__(model, torch.optim.SGD)
            self.scale = nn.Parameter(torch.ones(1))

        def per_example_loss(self, outputs, targets):
            return self.scale * F.cross_entropy(outputs, targets, reduction="none")

        def is_correct(self, outputs, targets):
            return None

    own = replace(experiment, task=replace(experiment.task, build_module=Scaled))
    whole = [{f"net.model.{key}": t for key, t in state.items()} | {"net.scale": torch.ones(1)} for state in STATES]
    assert (
        load(own, save(whole, ["a.pt", "b.pt", "c.pt"])).endpoints.shape[1]
        == experiment.task.layout.parameters.dimension + 1
    )
    with pytest.raises(UserError, match="expected a.pt to be weights of Scaled, with scale, model.0.weight"):
        load(own, save())


@pytest.mark.parametrize("analysis", ALL, ids=lambda analysis: analysis.name)
def test_every_analysis_of_a_mode_measures_them(experiment, save, analysis, caplog):
    mode = load(experiment, save())
    with caplog.at_level(logging.INFO, logger="lmc_lab.analyses.store"):
        path = ensure_rows(experiment, mode, analysis)
        assert ensure_rows(experiment, mode, analysis) == path  # and says it again
    result = read_result(path)
    assert result.entry.subject == mode.parts
    told = {
        "distances": "distances: left out are distances to W_k and W_0, and lengths of paths, which weights from",
        "branch_curves": "branch_curves: left out are loss curves, which weights from elsewhere do not have",
    }
    assert [message.startswith(told.get(analysis.name, "?")) for message in caplog.messages] == [True] * (
        2 if analysis.name in told else 0
    )
    assert result.rows.empty == (analysis.name == "branch_curves")
    assert result.rows["trunk"].isna().all() and result.rows["split_step"].isna().all()
    assert (result.rows["num_endpoints"] == 3).all() and result.rows["value"].notna().all()
    for settings in result.rows["settings"]:
        assert json.loads(settings)["endpoints"] == dict(mode.part.files)


def test_distances_are_those_between_endpoints_alone(experiment, save):
    assert {key[0] for key in measured(Distances(num_samples=5), load(experiment, save()))} == {
        "endpoint_endpoint", "endpoint_hull_point", "hull_radius"
    }  # fmt: skip


def test_states_on_the_way_are_left_out_where_they_are_asked_for(experiment, save):
    mode = load(experiment, save(), steps=[20])
    found = list(BranchHessian(steps=[20]).measure(mode, mode.task))
    assert [item for item in found if isinstance(item, LeftOut)] == [LeftOut("states on the way")]
    assert {m.step for m in found if isinstance(m, Measurement)} == {None}


def test_buffers_are_needed_where_the_policy_takes_them_from_the_endpoints(experiment, save):
    parameters = {name for name, _ in build_model().named_parameters()}
    bare = [{name: state[name] for name in state if name in parameters} for state in STATES]
    mode = load(experiment, save(bare))
    assert mode.buffers == {} and len(measured(Spectrum(), mode))
    expected = measured(ConvexMode(num_samples=5), load(experiment, save()))
    found = measured(ConvexMode(num_samples=5), mode)
    assert found.keys() == expected.keys() and all(value == value for value in found.values())
    levels = [
        sorted(values[key] for key in values if key[:2] == ("branch_loss", "train")) for values in (found, expected)
    ]
    assert levels[0] == pytest.approx(levels[1], rel=1e-6)
    for policy in ("keep", "interpolate"):
        analysis = ConvexMode(num_samples=5, evaluation=EvaluationSettings(bn_policy=policy))
        with pytest.raises(
            UserError,
            match=r"endpoints with model.1.running_mean, model.1.running_var, model.1.num_batches_tracked, found none of "
            r"them; save the whole of model.state_dict\(\), or take the bn_policy reestimate",
        ):
            measured(analysis, mode)


def with_nan(state):
    return state | {"0.bias": torch.full((16,), torch.nan)}


OTHER = {
    "conv1.weight": torch.ones(2),
    "conv1.bias": torch.ones(2),
    "fc.weight": torch.ones(2),
    "fc.bias": torch.ones(2),
}
REFUSED = [
    (["none.pt", "a.pt"], "expected files of weights at endpoints=none.pt, found none; paths begin in "),
    (["*.pth"], "endpoints=*.pth, found none"),
    (["folder"], "endpoints=folder, found a folder; name its files: folder/*.pt, say"),
    ([], "expected at least 2 files in endpoints, since a hull needs P >= 2, found none; name more"),
    (["a.pt"], "found a.pt; name more"),
    (["a.pt", "same.safetensors"], "expected different weights in each of endpoints, found the same in "),
    (["a.pt", "a.pt"], "found the same in a.pt and a.pt; leave one of them out"),
    (
        ["a.pt", "other.pt"],
        "expected other.pt to be weights of Sequential, with 0.weight, 0.bias, 1.weight, …, found conv1.weight, "
        "conv1.bias, fc.weight, …; give the model that these weights are of",
    ),
    (["a.pt", "wide.pt"], "with 0.weight (16, 2), found 0.weight (16, 3); give the model"),
    (["a.pt", "nan.pt"], "expected finite weights in nan.pt, found NaN or infinity in 0.bias: that training has"),
]


@pytest.mark.parametrize(("names", "expected"), REFUSED)
def test_what_is_no_mode_is_refused_in_one_sentence(experiment, save, tmp_path, names, expected):
    first = STATES[0]
    wide = first | {"0.weight": torch.ones(16, 3)}
    save([first, first, OTHER, wide, with_nan(first)], ["a.pt", "same.safetensors", "other.pt", "wide.pt", "nan.pt"])
    (tmp_path / "folder").mkdir()
    with pytest.raises(UserError) as refused:
        load(experiment, names)
    assert expected in str(refused.value) and "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("named", "expected"),
    [
        ({"split_steps": [0]}, "without split_step, which name"),
        ({"seeds": [0, 1], "trunks": [0, 1]}, "without trunks and seeds, which"),
    ],
)
def test_branches_are_not_named_beside_files(named, expected):
    with pytest.raises(UserError, match=f"expected endpoints, which are weights from elsewhere, {expected}"):
        Request(endpoints=["a.pt", "b.pt"], **named)


def test_a_part_says_what_it_is_of():
    part = Part(None, branches=(0, 1), files=(("a.pt", "1f"), ("b.pt", "2e")))
    assert str(part) == "weights of a.pt, b.pt" and Part.of_plain(json.loads(json.dumps(vars(part)))) == part
    assert Part.of_plain({"trunk": 0, "split_step": 20, "branches": [0, 1], "diverged": []}) == Part(0, 20, (0, 1))
