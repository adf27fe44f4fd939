"""MNIST-1D (Greydanus 2020): 4,000 training and 1,000 test signals of 40 points in ten classes, generated, not downloaded."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from lmc_lab.data.cache import Arrays, decoded_once
from lmc_lab.data.examples import Dataset, Examples, take
from lmc_lab.values import Count


def load(
    *, cache_dir: Path, data_dir: Path | None = None, num_train: Count | None = None, num_test: Count | None = None
) -> Dataset:
    """Returns MNIST-1D with inputs (N, 1, 40) float32; `data_dir` is not needed, since the signals are generated."""
    decoded = decoded_once(Path(cache_dir) / "mnist1d", _generate)

    def examples(subset: str, count: int | None) -> Examples:
        signals, labels = (torch.from_numpy(decoded.arrays[f"{subset}_{name}"]) for name in ("signals", "labels"))
        return take(Examples(signals, labels, _with_channel), count, f"num_{subset}")

    return Dataset(examples("train", num_train), examples("test", num_test), decoded.digest)


def _with_channel(signals: Tensor) -> Tensor:
    """Adds the channel dimension, (B, 40) -> (B, 1, 40)."""
    return signals.unsqueeze(1)


def _generate() -> Arrays:
    from mnist1d.data import make_dataset

    with _global_generators_restored():
        data = make_dataset()
    return {
        "train_signals": data["x"].astype(np.float32),
        "train_labels": data["y"].astype(np.int64),
        "test_signals": data["x_test"].astype(np.float32),
        "test_labels": data["y_test"].astype(np.int64),
    }


@contextmanager
def _global_generators_restored() -> Iterator[None]:
    """Puts the global numpy and Python generators back: `make_dataset` seeds both."""
    numpy_state, python_state = np.random.get_state(), random.getstate()
    try:
        yield
    finally:
        np.random.set_state(numpy_state)
        random.setstate(python_state)
