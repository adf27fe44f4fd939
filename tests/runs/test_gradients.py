import torch
from torch import nn

from lmc_lab.runs.copies_module import CopiesModule
from lmc_lab.runs.gradients import CapturedGradients, EagerGradients
from tiny import build_module


def quiet_model():
    return nn.Sequential(nn.Linear(2, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Linear(8, 3))


def copies(count=3):
    torch.manual_seed(0)
    states = [build_module(quiet_model()).double().state_dict() for _ in range(count)]
    module = CopiesModule(build_module(quiet_model()).double(), count)
    module.load_state_dict({name: torch.stack([state[name] for state in states]) for name in states[0]})
    return module, states


def test_a_step_of_copies_has_the_gradients_and_buffers_of_each_alone():
    module, states = copies()
    inputs, targets = torch.randn(3, 5, 2, dtype=torch.float64), torch.randint(3, (3, 5))
    total = module.training_step((inputs, targets), 0)
    losses = []
    for i, state in enumerate(states):
        alone = build_module(quiet_model()).double()
        alone.load_state_dict(state)
        loss = alone.training_loss((inputs[i], targets[i]))
        loss.backward()
        losses.append(loss.detach())
        for leaf, parameter in zip(module.leaves, alone.parameters(), strict=True):
            torch.testing.assert_close(leaf.grad[i], parameter.grad, rtol=0, atol=1e-14)
        for name, value in alone.state_dict().items():
            torch.testing.assert_close(module.state_dict()[name][i], value, rtol=0, atol=1e-14)
    torch.testing.assert_close(module.losses, torch.stack(losses))
    torch.testing.assert_close(total, torch.stack(losses).sum())


def test_an_unused_parameter_has_no_gradient():
    leaf, unused = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))
    losses = EagerGradients(lambda batch: leaf * batch[0], [leaf, unused])((torch.tensor([3.0, 4.0]), torch.ones(2)))
    assert losses.tolist() == [3, 4] and leaf.grad.tolist() == [3, 4] and unused.grad is None


def test_a_step_that_cannot_be_captured_is_computed_eagerly_and_said_once(caplog, monkeypatch):
    leaf, buffer = nn.Parameter(torch.ones(2)), torch.zeros(2)

    def refuse(self, batch):
        raise RuntimeError("operation not permitted when stream is capturing")

    monkeypatch.setattr(CapturedGradients, "_record", refuse)
    gradients = CapturedGradients(lambda batch: leaf * batch[0], [leaf], [buffer])
    batch = (torch.tensor([3.0, 4.0]), torch.ones(2))
    with caplog.at_level("INFO"):
        assert gradients(batch).tolist() == [3, 4] and gradients(batch).tolist() == [3, 4]
    assert caplog.text.count("not captured") == 1 and leaf.grad.tolist() == [3, 4]
