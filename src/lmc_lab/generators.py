"""The random generators that a model, an optimizer or data may draw from: Python's, numpy's and torch's.

They are nobody's: whoever draws from them, or lets code of others do it, seeds them first.
"""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch


def seed_generators(seed: int) -> None:
    """Seeds those of the CPU and, once CUDA is in use, torch's of its GPUs; other devices it leaves as they are.

    `torch.manual_seed` also seeds MPS, XPU and a CUDA that nothing has used yet, and formats a stack trace for every
    device that is not there (0.9 ms).
    """
    seed_generators_of_cpu(seed)
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.manual_seed_all(seed)


def seed_generators_of_cpu(seed: int) -> None:
    """Seeds Python's, numpy's and torch's on the CPU."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.default_generator.manual_seed(seed)


def generator_states() -> tuple[object, ...]:
    """Returns the states of the CPU's generators, which are equal where nothing was drawn in between."""
    of_numpy: Any = np.random.get_state()
    return random.getstate(), of_numpy[1].tobytes(), of_numpy[2:], torch.get_rng_state().numpy().tobytes()


@contextmanager
def forked_generators() -> Iterator[None]:
    """Puts the CPU's generators back at the end of this context, as they were at its beginning."""
    of_python, of_numpy = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        random.setstate(of_python)
        np.random.set_state(of_numpy)
