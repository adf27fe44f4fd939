import math
from functools import partial

import pytest
import torch
from torch import nn
from torch.optim import SGD, AdamW, Rprop

from lmc_lab.errors import UserError
from lmc_lab.tasks import schedules
from lmc_lab.tasks.optimization import Optimization


def rates(make, num_steps):
    optimizer = SGD([nn.Parameter(torch.zeros(1))], lr=2.0)
    scheduler = make(optimizer)
    found = []
    for _ in range(num_steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return found


def test_cosine_rises_and_falls():
    found = rates(partial(schedules.cosine, num_steps=10, warm_up_steps=4, final=0.1), 12)
    expected = [2 * (t + 1) / 4 for t in range(4)]
    expected += [2 * (0.1 + 0.9 * (1 + math.cos(math.pi * t / 6)) / 2) for t in range(7)] + [0.2]
    assert found == pytest.approx(expected)


def test_linear_falls():
    assert rates(partial(schedules.linear, num_steps=4), 6) == pytest.approx([2.0, 1.5, 1.0, 0.5, 0.0, 0.0])


def test_step_falls_at_shares():
    assert rates(partial(schedules.step, num_steps=8), 8) == pytest.approx([2.0] * 4 + [0.2] * 2 + [0.02] * 2)


def model():
    return nn.Sequential(nn.Conv1d(1, 2, 3), nn.BatchNorm1d(2), nn.Flatten(), nn.Linear(4, 2))


def test_norms_and_biases_do_not_decay_where_the_task_says_so():
    module = model()
    optimizer = Optimization(partial(AdamW, lr=0.1, weight_decay=0.5), decays_norms_and_biases=False)(
        module.parameters()
    )
    decays = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    assert {name: decays[id(p)] for name, p in module.named_parameters()} == {
        "0.weight": 0.5, "0.bias": 0, "1.weight": 0, "1.bias": 0, "3.weight": 0.5, "3.bias": 0
    }  # fmt: skip
    assert len(Optimization(partial(AdamW, lr=0.1))(module.parameters()).param_groups) == 1


def test_an_optimizer_without_weight_decay_is_refused():
    with pytest.raises(UserError, match="expected an optimizer with weight_decay .* found Rprop"):
        Optimization(partial(Rprop, lr=0.1), decays_norms_and_biases=False)(model().parameters())
