"""Where points are evaluated: on a CPU, or on a GPU, whose memory says how many of them at once."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Self

import torch

from lmc_lab.errors import UserError

# Points and examples at a time on a GPU. LeNet-5 on an H100, us per example and point: .174 for 1 x 8,192, .133 for 8 x 2,048,
# .122 for 32 x 1,024, .119 for 64 x 1,024.
_NUM_MODELS = 32
_NUM_EXAMPLES = 1024
_SMALLEST = 64  # examples, which a GPU needs at least to be busy
_SHARE_OF_MEMORY = 0.25  # for what one pass computes if all of it is kept; the rest is for points, data and libraries


class DeviceName(StrEnum):
    """What a user may ask for."""

    AUTO = "auto"  # a GPU where there is one
    CPU = "cpu"
    CUDA = "cuda"


@dataclass(frozen=True)
class PassSizes:
    """How many models are evaluated at once, and on how many examples."""

    num_models: int
    num_examples: int


@dataclass(frozen=True)
class Device:
    """Where points are evaluated.

    Args:
        torch_device: as torch calls it.
        name: as rows call it.
        total_memory: in bytes; None where sizes follow from the caches of a CPU.
    """

    torch_device: torch.device
    name: str
    total_memory: int | None = None

    @classmethod
    def named(cls, name: str) -> Self:
        """Returns the device that `evaluation.device` names.

        Raises:
            UserError: it is a GPU, and torch sees none.
        """
        if name == DeviceName.CPU or (name == DeviceName.AUTO and not torch.cuda.is_available()):
            return cls.of(torch.device("cpu"))
        if not torch.cuda.is_available():
            raise UserError(
                "expected a GPU for evaluation.device=cuda, found none that torch can use; set it to auto or cpu"
            )
        return cls.of(torch.device("cuda", torch.cuda.current_device()))

    @classmethod
    def of(cls, torch_device: torch.device) -> Self:
        """Returns what there is to know of a device of torch's."""
        if torch_device.type != "cuda":
            return cls(torch_device, torch_device.type)
        properties = torch.cuda.get_device_properties(torch_device)
        return cls(torch_device, f"cuda ({properties.name})", properties.total_memory)

    def sizes(self, bytes_per_example: int, memory: float) -> PassSizes:
        """Returns how many models to evaluate at once on a device whose memory bounds it, and on how many examples.

        Both are powers of two, so that a model's numbers begin at a multiple of 64 of them. First there are fewer examples,
        then fewer models, at last fewer of both.

        Args:
            bytes_per_example: of all that one model computes of one example.
            memory: the share, of what would be taken by default, that may be taken.
        """
        assert self.total_memory is not None
        fitting = int(_SHARE_OF_MEMORY * self.total_memory / bytes_per_example)
        num_pairs = max(1, int(memory * min(_NUM_MODELS * _NUM_EXAMPLES, fitting)))
        num_examples = min(_NUM_EXAMPLES, max(_SMALLEST, _power_of_two(num_pairs // _NUM_MODELS)))
        num_models = max(1, min(_NUM_MODELS, _power_of_two(num_pairs // num_examples)))
        return PassSizes(num_models, min(num_examples, _power_of_two(num_pairs)))


def name_of(kind: str) -> str:
    """Returns the name of the present device of a kind, ``cpu`` or ``cuda``, that of a GPU with the card's."""
    if kind != "cuda" or not torch.cuda.is_available():
        return kind
    return Device.of(torch.device(kind, torch.cuda.current_device())).name


def _power_of_two(number: int) -> int:
    """Returns the largest power of two up to `number`; 0 for 0."""
    return 2 ** (number.bit_length() - 1) if number else 0
