import torch
import torch.nn.functional as F

from lmc_lab.models.lenet import LeNet


def usual_form(state, images):
    """LeNet-5 as it is usually written, each ReLU before its maximum."""
    for layer in (0, 3):
        images = F.conv2d(images, state[f"features.{layer}.weight"], state[f"features.{layer}.bias"])
        images = F.max_pool2d(F.relu(images), 2)
    hidden = images.flatten(1)
    for layer in (1, 3):
        hidden = F.relu(F.linear(hidden, state[f"classifier.{layer}.weight"], state[f"classifier.{layer}.bias"]))
    return F.linear(hidden, state["classifier.5.weight"], state["classifier.5.bias"])


def test_outputs_and_gradients_are_those_of_the_usual_form():
    torch.manual_seed(0)
    model, images, targets = LeNet(), torch.randn(16, 3, 32, 32), torch.arange(16) % 10
    parameters = dict(model.named_parameters())
    ours, usual = model(images), usual_form(parameters, images)
    assert torch.equal(ours, usual)
    gradients = [torch.autograd.grad(F.cross_entropy(out, targets), parameters.values()) for out in (ours, usual)]
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))
