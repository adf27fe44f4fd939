"""A task: what is trained, on what, how long, and how its points are judged."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.parameter import is_lazy

from lmc_lab.data.examples import Augment, Dataset
from lmc_lab.data.sound import check_labels
from lmc_lab.data.transforms import Transform, Transforms
from lmc_lab.errors import UserError
from lmc_lab.generators import forked_generators, seed_generators
from lmc_lab.tasks.layout import StateLayout
from lmc_lab.tasks.precision import precision_of
from lmc_lab.tasks.supervised import SupervisedTask

# Keeps the entropy of initialisations apart from that of data orders (`data.order.Role`).
_INIT_ROLE = 2


class ClipAlgorithm(StrEnum):
    """What `gradient_clip_val` bounds."""

    NORM = "norm"  # the norm of all gradients together
    VALUE = "value"  # the size of each number in them


@dataclass(frozen=True)
class Task:
    """One row of Table 1: model, data, loss, optimizer, batch size, precision and number of steps T.

    Raises:
        UserError: there is no such precision.
    """

    name: str
    fingerprint: str
    batch_size: int
    max_steps: int
    precision: str
    build_model: Callable[[], nn.Module]
    build_module: Callable[[nn.Module], SupervisedTask]
    load_data: Callable[[], Dataset]
    gradient_clip_val: float | None = None  # None: gradients are taken as they are
    gradient_clip_algorithm: ClipAlgorithm = ClipAlgorithm.NORM
    num_classes: int | None = None  # that labels may name, where it is known
    make_callbacks: Callable[[], Sequence[Any]] = tuple  # Lightning's, which may change the weights
    make_transforms: Callable[[], Sequence[Transform]] = (
        tuple  # of training inputs as they are stored, one after another
    )

    def __post_init__(self) -> None:
        precision_of(self.precision)

    @cached_property
    def dataset(self) -> Dataset:
        """Returns the data, loaded when first asked for.

        Raises:
            UserError: there are fewer examples than one batch takes, or labels of classes that do not exist.
        """
        dataset = self.load_data()
        if not isinstance(dataset, Dataset):
            raise UserError(
                f"expected task.data to return a Dataset, found {type(dataset).__name__}; "
                "return lmc_lab.data.examples.Dataset(train, test, digest)"
            )
        if self.num_classes is not None:
            for subset, examples in dataset.subsets.items():
                check_labels(examples.targets, self.num_classes, subset)
        if len(dataset.train) < self.batch_size:
            raise UserError(
                f"expected at least one batch of {self.batch_size} training examples, found {len(dataset.train)}; "
                "lower task.batch_size or give it more data"
            )
        return dataset

    @cached_property
    def transform(self) -> Augment | None:
        """Returns the transforms as one, or None without any."""
        transforms = self.make_transforms()
        return Transforms(transforms) if transforms else None

    @property
    def steps_per_epoch(self) -> int:
        """Returns the number of whole batches in the training set."""
        return len(self.dataset.train) // self.batch_size

    @cached_property
    def layout(self) -> StateLayout:
        """Returns which tensors of the module's state make a point."""
        return StateLayout.of(self.initialise(0))

    def initialise(self, trunk_seed: int) -> SupervisedTask:
        """Returns the module with weights W_0, a function of `trunk_seed` alone; its convolutions are channels-last.

        Lazy layers get their sizes from the first examples of the training set.
        """
        seed = np.random.SeedSequence([_INIT_ROLE, trunk_seed]).generate_state(1, np.uint64)[0]
        with forked_generators():
            seed_generators(int(seed >> np.uint64(1)))
            module = self.build_module(self.build_model())
            if any(map(is_lazy, [*module.parameters(), *module.buffers()])):
                self._materialise(module)
        types = {value.dtype for value in module.parameters()}
        if len(types) > 1 or any(kind.is_complex for kind in types):
            raise UserError(
                f"expected parameters of one real type, found {' and '.join(sorted(map(str, types)))}; convert the model, "
                "with .float(), say"
            )
        return module.to(memory_format=torch.channels_last)

    def _materialise(self, module: SupervisedTask) -> None:
        with forked_generators():  # what the data draw is not the weights'
            inputs, _ = self.dataset.train.batch(slice(0, 2))
        modes = [(part, part.training) for part in module.modules()]
        with torch.no_grad():
            module.eval()(inputs)
        for part, mode in modes:
            part.training = mode
