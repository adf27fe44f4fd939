"""Checks of data before anything is trained on them: finite, not all the same, with labels that exist."""

from typing import Any

import torch
from torch import Tensor

from lmc_lab.errors import UserError
from lmc_lab.inputs import by_name

_BLOCK = 1024  # examples that are compared at a time


def check_examples(inputs: Any, targets: Any, subset: str) -> None:
    """Refuses examples that nothing can be learned from; it costs one sum over floating-point data, less over images.

    Args:
        inputs: (N, ...), or a dict of such.
        targets: (N, ...), labels where they are whole numbers.
        subset: of which these are the examples, for the sentence.

    Raises:
        UserError: they are no tensors, empty, of different length, not finite, all equal, or labels below 0.
    """
    given = {f"inputs {name}".strip(): values for name, values in by_name(inputs).items()}
    for what, values in (given | {"targets": targets}).items():
        if not isinstance(values, Tensor) or values.dim() == 0:
            found = "a single number" if isinstance(values, Tensor) else type(values).__name__
            raise UserError(f"expected the {what} of {subset} to be a tensor (N, ...), found {found}; make it one")
    for what, values in given.items():
        if len(values) != len(targets):
            raise UserError(
                f"expected a target for each of the {len(values)} {what} of {subset}, found {len(targets)} targets; "
                "mend the data"
            )
        if values.numel() == 0:
            raise UserError(
                f"expected examples in {subset}, found {what} of shape {tuple(values.shape)}; mend the data"
            )
    for what, values in (given | {"targets": targets}).items():
        _check_finite(values, f"{what} of {subset}")
    if len(targets) > 1 and all(map(_are_all_equal, given.values())):
        raise UserError(
            f"expected inputs of {subset} that differ, found that all {len(targets)} examples are equal; mend the data"
        )
    if is_whole(targets) and int(targets.min()) < 0:
        raise UserError(
            f"expected labels from 0 on in {subset}, found {int(targets.min())} {_first(targets < 0)}; number the classes "
            "from 0, or make targets that are no classes floating-point"
        )


def check_labels(targets: Tensor, num_classes: int, subset: str) -> None:
    """Refuses labels (N,), or (N, T) of sequences, of classes that are not among 0 ... `num_classes` - 1.

    Raises:
        UserError: there is such a label, or targets are no labels.
    """
    if _are_one_hot(targets, num_classes):
        raise UserError(
            f"expected a whole number as the label of each example of {subset}, found {num_classes} numbers of which one is 1; "
            "store the number of the class, targets.argmax(1)"
        )
    is_sequence = targets.dim() == 2 and targets.shape[1] > 1  # (N, 1) is a mistake, more often than not
    if not (targets.dim() == 1 or is_sequence) or not is_whole(targets):
        raise UserError(
            f"expected a whole number as the label of each example of {subset}, found targets of shape "
            f"{tuple(targets.shape)} and type {targets.dtype}; mend the data, or choose task/module=regression"
        )
    if int(targets.min()) == 1 and int(targets.max()) == num_classes:
        raise UserError(
            f"expected labels from 0 to {num_classes - 1} in {subset}, found labels from 1 to {num_classes}; "
            "number the classes from 0"
        )
    if int(targets.max()) >= num_classes:
        raise UserError(
            f"expected labels from 0 to {num_classes - 1} in {subset}, found {int(targets[targets >= num_classes][0])} "
            f"{_first(targets >= num_classes)}; mend the data or raise task.module.num_classes"
        )


def _are_one_hot(targets: Tensor, num_classes: int) -> bool:
    """Returns whether each target is one 1 among zeros, a position for each class."""
    if targets.dim() != 2 or targets.shape[1] != num_classes or num_classes < 2:
        return False
    return bool(((targets == 0) | (targets == 1)).all() and (targets.sum(dim=1) == 1).all())


def _check_finite(values: Tensor, what: str) -> None:
    if not values.is_floating_point() or values.sum().isfinite():  # the sum of large values may overflow without reason
        return
    is_wrong = ~values.isfinite()
    if is_wrong.any():
        raise UserError(
            f"expected finite {what}, found {values[is_wrong][0].item()} {_first(is_wrong)}; mend the data there"
        )


def _are_all_equal(inputs: Tensor) -> bool:
    """Returns whether each example is the first one; of data that differ, no more than a block is looked at."""
    return all(torch.equal(block, inputs[:1].expand_as(block)) for block in torch.split(inputs, _BLOCK))


def is_whole(values: Tensor) -> bool:
    """Returns whether values are whole numbers by their type, as labels are."""
    return not (values.is_floating_point() or values.is_complex() or values.dtype == torch.bool)


def _first(is_wrong: Tensor) -> str:
    """Returns where a mask over examples (N, ...) is first true."""
    return f"at example {int(is_wrong.nonzero()[0, 0])}"
