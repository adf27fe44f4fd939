import pytest
import torch
from torch import nn

from fake_cuda import FakeCuda, Graph
from lmc_lab.runs.copies_module import CopiesModule
from lmc_lab.runs.gradients import Capture, CapturedGradients, EagerGradients
from lmc_lab.tasks.supervised import only_optimizer
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
    gradients = CapturedGradients(lambda batch: leaf * batch[0], [leaf], [buffer], Capture("auto"))
    batch = (torch.tensor([3.0, 4.0]), torch.ones(2))
    with caplog.at_level("INFO"):
        assert gradients(batch).tolist() == [3, 4] and gradients(batch).tolist() == [3, 4]
    assert caplog.text.count("not captured") == 1 and leaf.grad.tolist() == [3, 4]


def trained(module, batches):
    """The losses of steps with momentum."""
    optimizer = only_optimizer(module.configure_optimizers())
    losses = []
    for batch in batches:
        module.training_step(batch, 0)
        losses.append(module.losses.clone())
        optimizer.step()
    return torch.stack(losses)


def test_a_recorded_step_is_its_eager_twin(monkeypatch):
    """Bit for bit, over several batches: weights, buffers and losses; gradients stay where the graph writes them."""
    cuda = FakeCuda(monkeypatch)
    batches = [(torch.randn(3, 5, 2, dtype=torch.float64), torch.randint(3, (3, 5))) for _ in range(4)]
    given = [(inputs.clone(), targets.clone()) for inputs, targets in batches]
    eager, _ = copies()
    recorded, _ = copies()
    recorded._capture = Capture("auto")
    monkeypatch.setattr(CopiesModule, "device", torch.device("cuda"))
    gradients = recorded._made_gradients()
    assert isinstance(gradients, CapturedGradients)
    monkeypatch.setattr(Graph, "gradients", gradients, raising=False)
    recorded._gradients = gradients
    expected, found = trained(eager, batches), trained(recorded, batches)
    assert torch.equal(found, expected) and Graph.num_replays == len(batches) and len(cuda.graphs) == 1
    for name, value in eager.state_dict().items():
        assert torch.equal(recorded.state_dict()[name], value), name
    assert recorded._capture == Capture("auto", is_done=True)
    assert cuda.current is cuda.main and cuda.generator.state == {"noise": 0, "is_recorded": False}
    assert all(
        torch.equal(a, b) for batch, own in zip(batches, given, strict=True) for a, b in zip(batch, own, strict=True)
    )


def test_after_a_recording_that_failed_all_is_as_it_was_and_nobody_tries_again(monkeypatch, caplog):
    cuda = FakeCuda(monkeypatch, fails=True)
    leaf, buffer = nn.Parameter(torch.ones(2)), torch.zeros(2)

    def losses(batch):
        buffer.add_(1)
        return leaf * batch[0]

    batch, capture = (torch.tensor([3.0, 4.0]), torch.ones(2)), Capture("auto")
    with caplog.at_level("INFO"):
        for stretch in (1, 2):
            gradients = CapturedGradients(losses, [leaf], [buffer], capture)
            assert gradients(batch).tolist() == [3, 4] and leaf.grad.tolist() == [3, 4]
            assert buffer.tolist() == [stretch, stretch]
    assert cuda.current is cuda.main and cuda.generator.state == {"noise": 0, "is_recorded": False}
    assert len(cuda.graphs) == 1 and caplog.text.count("not captured") == 1
    assert capture.is_refused and not capture.is_done


def test_who_insists_is_told_what_cannot_be_captured(monkeypatch):
    FakeCuda(monkeypatch, fails=True)
    leaf = nn.Parameter(torch.ones(2))
    gradients = CapturedGradients(lambda batch: leaf * batch[0], [leaf], [], Capture(True))
    with pytest.raises(RuntimeError, match="during capture"):
        gradients((torch.tensor([3.0, 4.0]), torch.ones(2)))
