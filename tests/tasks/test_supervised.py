"""What a task of one's own returns: losses, which examples are right, and the one optimizer in whatever Lightning takes."""

from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR, ReduceLROnPlateau

from lmc_lab.errors import UserError
from lmc_lab.tasks.supervised import SupervisedTask, only_optimizer

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


class Own(SupervisedTask):
    def __init__(self, per_example_loss, is_correct):
        super().__init__(nn.Linear(2, 3), partial(torch.optim.SGD, lr=0.1))
        self.functions = per_example_loss, is_correct

    def per_example_loss(self, outputs, targets):
        return self.functions[0](outputs, targets)

    def is_correct(self, outputs, targets):
        return self.functions[1](outputs, targets)


BATCH = torch.randn(5, 2, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1, 2, 0, 1])
EACH = partial(F.cross_entropy, reduction="none")


def largest(outputs, targets):
    return outputs.argmax(dim=1) == targets


@pytest.mark.parametrize(
    ("loss", "found"),
    [
        (F.cross_entropy, r"torch.float32 \(\)"),
        (lambda outputs, targets: outputs.square(), r"torch.float32 \(5, 3\)"),
        (lambda outputs, targets: 0.5, "float"),
    ],
)
def test_a_loss_that_is_not_of_each_example_is_refused_by_the_first_step_and_by_a_measurement(loss, found):
    task = Own(loss, largest)
    expected = rf"expected per_example_loss to return \(5,\) for 5 examples, found {found}; give the loss reduction="
    with pytest.raises(UserError, match=expected):
        task.training_loss(BATCH)
    with pytest.raises(UserError, match=expected):
        task.judge(task(BATCH[0]), BATCH[1])


@pytest.mark.parametrize(
    ("is_correct", "found"),
    [
        (lambda outputs, targets: largest(outputs, targets).float().mean(), r"torch.float32 \(\)"),
        (lambda outputs, targets: largest(outputs, targets).float(), r"torch.float32 \(5,\)"),
        (lambda outputs, targets: largest(outputs, targets)[:, None], r"torch.bool \(5, 1\)"),
        (lambda outputs, targets: True, "bool"),
    ],
)
def test_what_does_not_say_of_each_example_whether_it_is_right_is_refused(is_correct, found):
    task = Own(EACH, is_correct)
    with pytest.raises(
        UserError, match=rf"expected is_correct to return torch.bool \(5,\) for 5 examples, found {found};"
    ):
        task.judge(task(BATCH[0]), BATCH[1])
