import copy

import pytest
import torch
from torch import nn

from lmc_lab.errors import UserError
from lmc_lab.tasks.state_dicts import endpoints_of


def build():
    return nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Linear(3, 2), nn.Linear(2, 2))


def states(count=2):
    return [build().state_dict() for _ in range(count)]


def test_points_are_all_parameters_in_order_and_the_buffers_beside_them():
    given = states(3)
    thetas, buffers = endpoints_of(build(), given)
    for i, state in enumerate(given):
        names = [name for name, _ in build().named_parameters()]
        assert torch.equal(thetas[i], torch.cat([state[name].flatten() for name in names]))
        assert torch.equal(buffers["1.running_var"][i], state["1.running_var"])
    assert list(buffers) == ["1.running_mean", "1.running_var", "1.num_batches_tracked"]


def test_of_several_sets_of_weights_the_usual_one_is_taken_or_none():
    model, average = states()
    both = {f"ema.{key}": tensor for key, tensor in average.items()}
    usual = both | {f"model.{key}": tensor for key, tensor in model.items()}
    unusual = both | {f"net.{key}": tensor for key, tensor in model.items()}
    thetas, _ = endpoints_of(build(), [usual, copy.deepcopy(model)])
    assert torch.equal(thetas[0], thetas[1])
    with pytest.raises(UserError, match="found several sets of them, below ema. and net.; save the one that is meant"):
        endpoints_of(build(), [unusual, model])


@pytest.mark.parametrize("prefix", ["module.", "model.", "_orig_mod.", "net.backbone."])
def test_a_prefix_is_recognised_and_what_is_beside_it_left_out(prefix):
    given = states()
    with_prefix = [
        {f"{prefix}{name}": tensor for name, tensor in state.items()} | {"loss.weight": torch.ones(2)}
        for state in given
    ]
    found, expected = endpoints_of(build(), with_prefix), endpoints_of(build(), given)
    assert torch.equal(found[0], expected[0])
    assert all(torch.equal(found[1][name], expected[1][name]) for name in expected[1])


def test_tied_weights_count_once_and_other_precisions_are_converted():
    model = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False))
    model[1].weight = model[0].weight
    thetas, _ = endpoints_of(model, [{name: tensor.double() for name, tensor in model.state_dict().items()}])
    assert thetas.shape == (1, 4) and thetas.dtype == torch.float32
    assert torch.equal(thetas[0], model[0].weight.detach().flatten())


def changed(**changes):
    return build().state_dict() | {name.replace("_", ".", 1): tensor for name, tensor in changes.items()}


def without(*names):
    return {name: tensor for name, tensor in build().state_dict().items() if name not in names}


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (nn.Linear(2, 3).state_dict(), r"with 0.weight, 0.bias, 1.weight, …, found weight, bias; give the model"),
        (without("2.bias"), "with 2.bias, found none of them"),
        (changed(**{"4_weight": torch.ones(2)}), "with 0.weight, 0.bias, 1.weight, …, found 4.weight"),
        (changed(**{"2_weight": torch.ones(5, 3)}), r"with 2.weight \(2, 3\), found 2.weight \(5, 3\)"),
        ({"state_dict": {}, "epoch": 3}, "with 0.weight, 0.bias, 1.weight, …, found state_dict, epoch"),
        ({}, "with 0.weight, 0.bias, 1.weight, …, found none of them"),
        (build(), "found Sequential; give a list of what model.state_dict"),
    ],
)
def test_weights_of_another_model_are_refused_with_the_first_names_of_both_sides(state, words):
    with pytest.raises(UserError, match=rf"expected states\[1\] to be weights of Sequential, {words}"):
        endpoints_of(build(), [build().state_dict(), state])


def test_buffers_may_be_missing_and_names_of_the_states_are_in_the_sentence():
    parameters = dict(build().named_parameters())
    thetas, buffers = endpoints_of(build(), [build().state_dict(), parameters])
    assert thetas.shape == (2, 29) and buffers == {}
    with pytest.raises(UserError, match=r"expected b.pt to be weights of Sequential, with 2.bias, found none of them"):
        endpoints_of(build(), [build().state_dict(), without("2.bias")], ["a.pt", "b.pt"])


def test_one_state_dict_in_place_of_a_list_is_refused():
    with pytest.raises(UserError, match=r"states\[0\] .* found str; give a list of what model.state_dict\(\) returns"):
        endpoints_of(build(), build().state_dict())


def test_weights_that_are_no_numbers_are_refused():
    state = changed(**{"2_weight": torch.full((2, 3), torch.nan)})
    with pytest.raises(UserError, match=r"finite weights in states\[1\], found NaN or infinity in 2.weight"):
        endpoints_of(build(), [build().state_dict(), state])


def test_state_dicts_of_one_model_that_was_trained_on_are_refused_and_copies_taken():
    model = build()
    first = model.state_dict()
    with torch.no_grad():
        model[0].weight += 1
    with pytest.raises(UserError, match=r"found states\[0\] and states\[2\] in the same memory"):
        endpoints_of(model, [first, build().state_dict(), model.state_dict()])
    thetas, _ = endpoints_of(model, [copy.deepcopy(first), first])
    assert torch.equal(thetas[0], thetas[1])
