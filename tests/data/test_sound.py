import time
from dataclasses import replace

import pytest
import torch

from lmc_lab.data.examples import Dataset, Examples, take
from lmc_lab.errors import UserError
from tiny import tiny_experiment

INPUTS = torch.randn(3000, 4, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(3000) % 3


def changed(tensor, index, value):
    tensor = tensor.clone()
    tensor[index] = value
    return tensor


def dataset(inputs=INPUTS, targets=LABELS):
    return Dataset(Examples(INPUTS, LABELS, lambda x: x), Examples(inputs, targets, lambda x: x), "mine")


@pytest.mark.parametrize(
    ("inputs", "targets", "expected"),
    [
        (changed(INPUTS, (2000, 3), float("nan")), LABELS, "expected finite inputs of test, found nan at example 2000"),
        (changed(INPUTS, (7, 0), float("-inf")), LABELS, "expected finite inputs of test, found -inf at example 7"),
        (changed(INPUTS, 7, float("inf")).half(), LABELS, "found inf at example 7"),
        (INPUTS, changed(INPUTS, (5, 1), float("nan")), "expected finite targets of test, found nan at example 5"),
        (INPUTS, changed(LABELS, 9, -1), "expected labels from 0 on in test, found -1 at example 9"),
        (INPUTS, changed(LABELS, 9, -100), "found -100 at example 9"),
        (INPUTS, LABELS[:-1], "expected a target for each of the 3000 inputs of test, found 2999 targets"),
        (INPUTS[:0], LABELS[:0], "expected examples in test"),
        (INPUTS[:, :0], LABELS, "expected examples in test"),
        (INPUTS[:1].expand(3000, 4), LABELS, "found that all 3000 examples are equal"),
        (torch.zeros(2, 3, dtype=torch.uint8), LABELS[:2], "found that all 2 examples are equal"),
        (INPUTS.numpy(), LABELS, "expected the inputs of test to be a tensor .* found ndarray"),
        (INPUTS, torch.tensor(3), "expected the targets of test to be a tensor .* found a single number"),
    ],
)
def test_data_that_nothing_can_be_learned_from_are_refused(inputs, targets, expected):
    with pytest.raises(UserError, match=expected) as error:
        dataset(inputs, targets)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("inputs", "targets"),
    [
        (INPUTS, INPUTS - 100),  # values, no labels
        (INPUTS, LABELS == 1),
        (INPUTS, torch.zeros(3000)),  # of a task that has no targets
        (INPUTS[:1], LABELS[:1]),
        (changed(INPUTS[:1].expand(3000, 4), 2999, 1.0), LABELS),
        (torch.full((3000, 4), 3e38) * torch.linspace(0.5, 1, 3000)[:, None], LABELS),  # their sum overflows
    ],
)
def test_unusual_data_are_taken(inputs, targets):
    dataset(inputs, targets)


@pytest.mark.parametrize(
    ("targets", "expected"),
    [
        (changed(LABELS, 4, 3), "expected labels from 0 to 2 in test, found 3 at example 4"),
        (LABELS.float(), "expected a whole number as the label of each example of test"),
        (LABELS + 1, "expected labels from 0 to 2 in test, found labels from 1 to 3; number the classes from 0$"),
        (
            changed(LABELS + 1, 4, 4),
            "expected labels from 0 to 2 in test, found 3 at example 2; mend the data or raise",
        ),
        (torch.eye(3, dtype=torch.int64)[LABELS], r"found 3 numbers of which one is 1; store .*targets\.argmax\(1\)$"),
        (torch.eye(3)[LABELS], r"found 3 numbers of which one is 1; store .*targets\.argmax\(1\)$"),
        (LABELS[:, None], "expected a whole number as the label of each example of test"),
    ],
)
def test_labels_of_a_classification_name_its_classes(tmp_path, targets, expected):
    task = replace(tiny_experiment(tmp_path).task, load_data=lambda: dataset(targets=targets))
    task.dataset  # noqa: B018  how many classes there are is not known
    with pytest.raises(UserError, match=expected):
        replace(task, num_classes=3).dataset  # noqa: B018


def test_labels_of_sequences_are_no_one_hot_targets(tmp_path):
    targets = changed(torch.eye(3, dtype=torch.int64)[LABELS], (7, slice(None)), 1)
    task = replace(tiny_experiment(tmp_path).task, load_data=lambda: dataset(targets=targets))
    alone = Dataset(Examples(INPUTS, targets, lambda x: x), None, "mine")
    assert replace(task, load_data=lambda: alone, num_classes=3).dataset is alone


def test_a_loader_that_returns_no_dataset_is_refused(tmp_path):
    task = replace(tiny_experiment(tmp_path).task, load_data=lambda: (INPUTS, LABELS))
    with pytest.raises(UserError, match="expected task.data to return a Dataset, found tuple"):
        task.dataset  # noqa: B018


def test_images_cost_next_to_nothing():
    images = torch.randint(256, (5000, 32, 32, 3), dtype=torch.uint8)
    examples = Examples(images, torch.arange(5000) % 10, lambda x: x)
    started = time.perf_counter()
    Dataset(examples, None, "images")
    assert time.perf_counter() - started < 0.05


@pytest.mark.parametrize("count", ["many", 1.5, True, 0, 3001, -1])
def test_a_count_that_is_none_is_refused(count):
    with pytest.raises(UserError, match="expected num_train between 1 and 3000"):
        take(Examples(INPUTS, LABELS, lambda x: x), count, "num_train")
