"""Do three checkpoints of a plain training loop lie in one convex region of low loss?

    python examples/hull_of_checkpoints.py [folder for the checkpoints]

A small convolutional net is trained on MNIST-1D to some step k, and from there three times, each in its own data order.
With k = 0 the three end in different regions; with k = 400 their whole hull is better than its corners. It takes less than
a minute on one core, and runs cell by cell in an editor that knows ``# %%``.
"""

# %% A net, data and a training loop, as anybody has them
import copy
import sys
from pathlib import Path

import torch
from mnist1d.data import make_dataset
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional as F

import lmc_lab

torch.set_num_threads(1)
SIGNALS = make_dataset()
INPUTS, LABELS = torch.tensor(SIGNALS["x"]).float().unsqueeze(1), torch.tensor(SIGNALS["y"])
NUM_STEPS, BATCH_SIZE = 800, 100


class Net(nn.Module):
    """Three convolutions and a linear layer, (B, 1, 40) -> (B, 10)."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for channels, kernel in ((1, 5), (25, 3), (25, 3)):
            layers += [nn.Conv1d(channels, 25, kernel, stride=2, padding=1), nn.ReLU()]
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(nn.Flatten(), nn.Linear(125, 10))

    def forward(self, signals: torch.Tensor) -> torch.Tensor:
        """Returns the logits."""
        return self.classifier(self.features(signals))


def train(model: nn.Module, optimizer: torch.optim.Optimizer, seed: int, num_steps: int) -> None:
    """Takes `num_steps` steps in the data order of `seed`."""
    generator = torch.Generator().manual_seed(seed)
    for _ in range(num_steps):
        batch = torch.randint(len(INPUTS), (BATCH_SIZE,), generator=generator)
        optimizer.zero_grad()
        F.cross_entropy(model(INPUTS[batch]), LABELS[batch]).backward()
        optimizer.step()


def branches(split_step: int) -> list[Net]:
    """Returns three nets that parted at step k, with the optimizer state that they had there."""
    torch.manual_seed(0)
    trunk = Net()
    optimizer = torch.optim.SGD(trunk.parameters(), lr=0.04, momentum=0.9)
    train(trunk, optimizer, seed=0, num_steps=split_step)
    models = []
    for seed in (1, 2, 3):
        model = copy.deepcopy(trunk)
        own = torch.optim.SGD(model.parameters(), lr=0.04, momentum=0.9)
        own.load_state_dict(optimizer.state_dict())
        train(model, own, seed, NUM_STEPS - split_step)
        models.append(model)
    return models


# %% Checkpoints, in the formats in which people keep them
def save(models: list[Net], folder: Path) -> None:
    """Writes a state dict, a safetensors file, and the layout of a Lightning checkpoint."""
    folder.mkdir(parents=True, exist_ok=True)
    first, second, third = (model.state_dict() for model in models)
    torch.save(first, folder / "a.pt")
    save_file(second, folder / "b.safetensors")
    torch.save({"state_dict": {f"model.{name}": tensor for name, tensor in third.items()}}, folder / "c.ckpt")


def load(folder: Path) -> list[dict[str, torch.Tensor]]:
    """Returns the three state dicts; a prefix of their names does not matter."""
    return [
        torch.load(folder / "a.pt", weights_only=True),
        load_file(folder / "b.safetensors"),
        torch.load(folder / "c.ckpt", weights_only=True)["state_dict"],
    ]


# %% The questions
root = Path(sys.argv[1] if len(sys.argv) > 1 else "checkpoints")
objective = lmc_lab.Objective(Net(), F.cross_entropy, (INPUTS, LABELS))
for split_step in (0, 400):
    save(branches(split_step), root / f"split-{split_step}")
    states = load(root / f"split-{split_step}")
    probe = lmc_lab.probe_hull(objective, states)
    line = lmc_lab.barrier(objective, states[0], states[1])
    ends = lmc_lab.extreme_eigenvalues(objective, states[0], num_examples=512)
    spectrum = lmc_lab.singular_values(Net(), states, centred=True)
    shared = lmc_lab.shared_correct(objective, states)
    print(f"\nk = {split_step}, three endpoints at step {NUM_STEPS}")
    print(f"p_conv                 {probe.p_conv}")
    print(f"p_rand                 {probe.p_rand}")
    print(f"loss of endpoints      {probe.endpoints.loss.mean():.4f}")
    print(f"loss of hull points    {probe.conv.loss.mean():.4f}")
    print(f"barrier                {line.loss.barrier:.4f}")
    print(f"hessian ratio          {ends.ratio:.4f}")
    print(f"singular values        {', '.join(f'{value:.2f}' for value in spectrum.values[:-1])}")
    print(f"right by 1, 2, all 3   {', '.join(f'{share:.3f}' for share in shared.shares)}")
