import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from lmc_lab.data.from_loader import examples_of
from lmc_lab.errors import UserError

INPUTS, LABELS = torch.randn(50, 3, generator=torch.Generator().manual_seed(0)), torch.arange(50) % 4
DATASET = TensorDataset(INPUTS, LABELS)


@pytest.mark.parametrize(
    "data",
    [
        (INPUTS, LABELS),
        [INPUTS, LABELS],
        DataLoader(DATASET, batch_size=16),
        DataLoader(DATASET, batch_size=50),
        DataLoader(DATASET, batch_size=16, num_workers=1),
        [(INPUTS[:1], LABELS[:1]), (INPUTS[1:], LABELS[1:])],
    ],
)
def test_tensors_and_batches_of_them_are_the_same_examples(data):
    examples = examples_of(data, "data")
    assert torch.equal(examples.inputs, INPUTS) and torch.equal(examples.targets, LABELS)
    assert torch.equal(examples.batch(slice(3, 5))[0], INPUTS[3:5])


class Augmented(TensorDataset):
    def __getitem__(self, index):
        inputs, targets = super().__getitem__(index)
        return inputs + torch.randn(3) * (index >= 20), targets


class Relabelled:
    """Gives other targets at every pass."""

    passes = 0

    def __iter__(self):
        self.passes += 1
        yield INPUTS, LABELS + self.passes


class Shrinking(Relabelled):
    def __iter__(self):
        self.passes += 1
        yield INPUTS[: 50 - self.passes], LABELS[: 50 - self.passes]


class Growing(Relabelled):
    def __iter__(self):
        self.passes += 1
        yield from [(INPUTS[:20], LABELS[:20])] * self.passes


@pytest.mark.parametrize(
    ("data", "start"),
    [
        (DataLoader(DATASET, batch_size=16, shuffle=True), 0),
        (DataLoader(Augmented(INPUTS, LABELS), batch_size=10), 20),
        (Relabelled(), 0),
        (Shrinking(), 48),
        (Growing(), 20),
        (iter([(INPUTS, LABELS)]), 0),
    ],
)
def test_passes_that_differ_are_refused(data, start):
    words = f"expected two passes over data to give the same .* from example {start} on; set shuffle=False"
    with pytest.raises(UserError, match=words):
        examples_of(data, "data")


def test_reading_leaves_the_random_numbers_of_the_program_alone():
    torch.manual_seed(0)
    expected = torch.randn(3)
    torch.manual_seed(0)
    examples_of(DataLoader(DATASET, batch_size=16), "data")
    assert torch.equal(torch.randn(3), expected)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (DATASET, "to be two tensors or a DataLoader, found TensorDataset; wrap it"),
        (3, "to be two tensors or a DataLoader, found int"),
        (INPUTS, r"expected batches \(inputs, targets\) of data, .*, found a tensor \(3,\)"),
        (DataLoader(INPUTS, batch_size=5), r"expected batches .*, found a tensor \(5, 3\)"),
        (
            DataLoader(TensorDataset(INPUTS, LABELS, LABELS)),
            r"found \(a tensor \(1, 3\), a tensor \(1,\), a tensor \(1,\)\)",
        ),
        ([(INPUTS, LABELS[1:])], r"as many rows, found \(a tensor \(50, 3\), a tensor \(49,\)\)"),
        ([{"x": INPUTS}], "found dict; let the DataLoader's collate_fn"),
        (
            [(INPUTS, LABELS), (INPUTS[:, :2], LABELS)],
            r"expected examples of one shape in data, found \(2,\) and \(3,\)",
        ),
        ([], "expected batches in data, found none"),
        ((INPUTS * torch.inf, LABELS), "expected finite inputs of data"),
    ],
)
def test_what_is_no_data_is_refused(data, words):
    with pytest.raises(UserError, match=words):
        examples_of(data, "data")
