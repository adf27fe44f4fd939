import pytest
import torch
from torch import nn
from torch.nn import functional as F

from lmc_lab.errors import UserError
from lmc_lab.tasks.classification import Classification


def task(**keywords):
    return Classification(nn.Identity(), lambda parameters: None, **keywords)


def test_the_loss_of_a_sequence_is_the_mean_over_its_places_and_its_last_place_is_right_or_wrong():
    outputs, targets = torch.randn(6, 5, 4), torch.randint(4, (6, 5))
    expected = torch.stack([F.cross_entropy(outputs[i], targets[i]) for i in range(6)])
    losses, correct = task(num_classes=4).judge(outputs, targets)
    torch.testing.assert_close(losses, expected)
    assert correct.tolist() == [bool(outputs[i, -1].argmax() == targets[i, -1]) for i in range(6)]


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((6, 4), r"expected 5 x 4 outputs an example, one for each class at each place of the sequence, found \(4,\)"),
        ((6, 5), r"found \(5,\); .*, or store one-hot targets as numbers of classes$"),
        ((6, 4, 5), r"expected 5 x 4 outputs .*found \(4, 5\)"),
    ],
)
def test_a_sequence_has_outputs_at_each_place(shape, expected):
    with pytest.raises(UserError, match=expected):
        task(num_classes=4).per_example_loss(torch.randn(shape), torch.randint(4, (6, 5)))
