"""Three LeNets of a plain training loop, in three formats, for `analyze`: weights that lmc_lab did not train.

    python examples/three_lenets.py lenets
    python -m lmc_lab.analyze task=lenet 'endpoints=lenets/*'

CIFAR-10 is read from ``$LMC_DATA_DIR/cifar10/*.parquet`` where it is there, else downloaded by torchvision to ``data``. The
three begin with the same weights, and each has its own data order. It takes some minutes on one core.
"""

import argparse
import copy
import io
import os
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

BATCH_SIZE = 128
MEAN, DEVIATION = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)  # of CIFAR-10's channels


class LeNet(nn.Module):
    """LeNet-5 for images (B, 3, 32, 32); its tensors have the names of those of `task=lenet`."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 6, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2)
        )
        self.classifier = nn.Sequential(
            nn.Flatten(), nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10)
        )

    def forward(self, images: Tensor) -> Tensor:
        """Returns the logits (B, 10)."""
        return self.classifier(self.features(images))


def cifar10(num_images: int | None) -> tuple[Tensor, Tensor]:
    """Returns the first so many training images, uint8 (N, 3, 32, 32), and their labels (N,)."""
    folder = Path(os.environ.get("LMC_DATA_DIR", "data"))
    if files := sorted((folder / "cifar10").glob("train-*.parquet")):
        table = pd.concat(map(pd.read_parquet, files))[:num_images]
        encoded = table["img" if "img" in table else "image"]
        pictures = np.stack([np.asarray(Image.open(io.BytesIO(item["bytes"]))) for item in encoded])
        labels = np.array(table["label"])
    else:
        from torchvision.datasets import CIFAR10

        downloaded = CIFAR10(str(folder), download=True)
        pictures, labels = downloaded.data[:num_images], np.array(downloaded.targets[:num_images])
    return torch.from_numpy(pictures).permute(0, 3, 1, 2), torch.from_numpy(labels)


def train(model: nn.Module, images: Tensor, labels: Tensor, *, seed: int, num_steps: int) -> None:
    """Takes `num_steps` steps of SGD in the data order of `seed`."""
    mean, deviation = (torch.tensor(moments).view(3, 1, 1) for moments in (MEAN, DEVIATION))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(num_steps):
        batch = torch.randint(len(images), (BATCH_SIZE,), generator=generator)
        optimizer.zero_grad()
        F.cross_entropy(model((images[batch] / 255 - mean) / deviation), labels[batch]).backward()
        optimizer.step()


def save(models: list[LeNet], folder: Path) -> None:
    """Writes a state dict, a safetensors file, and the layout of a Lightning checkpoint."""
    folder.mkdir(parents=True, exist_ok=True)
    first, second, third = (model.state_dict() for model in models)
    torch.save(first, folder / "a.pt")
    save_file(second, folder / "b.safetensors")
    of_module = {f"model.{name}": tensor for name, tensor in third.items()}
    torch.save({"epoch": 3, "state_dict": of_module, "optimizer_states": []}, folder / "c.ckpt")


def main() -> None:
    """Trains and saves."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--num-steps", type=int, default=5_000)
    parser.add_argument("--num-images", type=int)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    start = LeNet()
    images, labels = cifar10(arguments.num_images)
    models = [copy.deepcopy(start) for _ in range(3)]
    for seed, model in enumerate(models):
        train(model, images, labels, seed=seed, num_steps=arguments.num_steps)
    save(models, arguments.folder)


if __name__ == "__main__":
    main()
