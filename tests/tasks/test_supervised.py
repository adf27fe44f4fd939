from torch import nn
from torch.optim import SGD

from lmc_lab.tasks.classification import Classification


def test_a_model_that_is_exchanged_is_the_one_that_is_trained():
    task = Classification(nn.Linear(4, 2), SGD)
    task.model, task._current_fx_name = nn.Linear(64, 3), "training_step"
    assert [parameter.shape for parameter in task.parameters()] == [(3, 64), (3,)]
    assert task._current_fx_name == "training_step"
