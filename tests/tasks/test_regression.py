"""Squared errors are those of outputs and targets of one shape."""

from functools import partial

import pytest
import torch
from torch import nn

from lmc_lab.errors import UserError
from lmc_lab.tasks.regression import Regression


def test_targets_that_would_be_broadcast_are_refused():
    task = Regression(nn.Linear(4, 1), partial(torch.optim.SGD, lr=0.1))
    with pytest.raises(UserError, match=r"expected outputs of the targets' shape \(8,\), found \(8, 1\)"):
        task.training_loss((torch.zeros(8, 4), torch.arange(8)))
