"""The one optimizer in whatever Lightning takes from `configure_optimizers`."""

import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR, ReduceLROnPlateau

from lmc_lab.errors import UserError
from lmc_lab.tasks.supervised import only_optimizer

SGD = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1)
OTHER = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1)
COSINE = CosineAnnealingLR(SGD, 60)
BY_STEP = {"scheduler": COSINE, "interval": "step"}


@pytest.mark.parametrize(
    "configured",
    [
        SGD,
        [SGD],
        (SGD,),
        {"optimizer": SGD},
        {"optimizer": SGD, "lr_scheduler": None},
        {"optimizer": SGD, "lr_scheduler": BY_STEP},
        [{"optimizer": SGD, "lr_scheduler": BY_STEP}],
        ([SGD], [BY_STEP]),
        [[SGD], []],
        ([SGD], [BY_STEP, BY_STEP]),
    ],
)
def test_one_optimizer_is_found_however_it_is_returned(configured):
    assert only_optimizer(configured) is SGD


@pytest.mark.parametrize(
    ("configured", "sentence"),
    [
        ([SGD, OTHER], "expected configure_optimizers to return one optimizer, found SGD and SGD"),
        (([SGD, OTHER], []), "found SGD and SGD"),
        ([{"optimizer": SGD}, {"optimizer": OTHER}], "found SGD and SGD"),
        (None, "found NoneType"),
        ([], "found list"),
        ({"lr_scheduler": BY_STEP}, "found NoneType"),
        ({"optimizer": SGD, "lr_scheduler": COSINE}, "expected CosineAnnealingLR with interval: step, found epoch"),
        ({"optimizer": SGD, "lr_scheduler": {"scheduler": COSINE}}, "found epoch, and here is one endless epoch"),
        (([SGD], [COSINE]), "found epoch"),
        (([SGD], [BY_STEP, {"scheduler": COSINE, "interval": "epoch"}]), "found epoch"),
        ({"optimizer": SGD, "lr_scheduler": ReduceLROnPlateau(SGD)}, "found ReduceLROnPlateau, which waits"),
        (([SGD], [{**BY_STEP, "reduce_on_plateau": True}]), "a function of the step"),
    ],
)
def test_what_would_not_be_trained_as_it_says_is_refused(configured, sentence):
    with pytest.raises(UserError, match=sentence):
        only_optimizer(configured)
