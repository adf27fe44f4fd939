"""How many models fit, by the books of a GPU that is not there."""

from types import SimpleNamespace

import pytest
import torch

from lmc_lab.runs import memory
from lmc_lab.runs.memory import num_on, num_that_fit
from lmc_lab.runs.run import Run
from lmc_lab.runs.trial import TriedModels
from tiny import tiny_experiment

GPU = torch.device("cuda")


def test_as_many_as_memory_holds():
    assert num_that_fit(lambda count: 10 + 5 * count, total=100) == 15  # (85 - 10) / 5
    assert num_that_fit(lambda count: 200, total=100) == 1


def test_models_that_cost_nothing_to_be_seen_have_a_bound():
    assert num_that_fit(lambda count: 10, total=100) == 8


class Books:
    """What a GPU would say: each model keeps some bytes, and takes more for gradients and for the optimizer's step."""

    KEPT, GRADIENTS, STEP = 1000, 7000, 3000

    def __init__(self, total):
        self.total, self.kept, self.peak = total, 0, 0

    def trial(self, run, batches, device):
        books = self
        books.kept = books.peak = len(batches) * self.KEPT

        class OnBooks(TriedModels):
            def compute_gradients(self):
                super().compute_gradients()
                books.take(len(batches) * books.GRADIENTS)

            def step(self):
                super().step()
                books.take(len(batches) * books.STEP)

        return OnBooks(run, batches, torch.device("cpu"))

    def take(self, size):
        if self.kept + size > self.total:
            raise torch.cuda.OutOfMemoryError
        self.peak = max(self.peak, self.kept + size)


@pytest.fixture
def on(monkeypatch):
    def books_of(total):
        books = Books(total)
        monkeypatch.setattr(memory, "TriedModels", books.trial)
        for name, say in {
            "empty_cache": lambda: None,
            "memory_allocated": lambda device: books.kept,
            "max_memory_allocated": lambda device: books.peak,
            "reset_peak_memory_stats": lambda device: setattr(books, "peak", books.kept),
            "get_device_properties": lambda device: SimpleNamespace(total_memory=total),
        }.items():
            monkeypatch.setattr(torch.cuda, name, say)

    return books_of


def per_model(run):
    """Weights, gradients and step, three points, two more batches, two epochs of indices."""
    num_parameters = sum(parameter.numel() for parameter in run.task.initialise(0).parameters())
    batch = run.task.batch_size * (2 * 4 + 8)
    return 1000 + 7000 + 3000 + 3 * 4 * num_parameters + 2 * batch + 2 * 8 * len(run.examples)


@pytest.mark.parametrize("total", [200_000, 1_000_000])
def test_a_program_is_as_large_as_memory_allows(tmp_path, on, total):
    run = Run(tiny_experiment(tmp_path))
    on(total)
    of_data = len(run.examples) * (2 * 4 + 8)
    assert num_on(run, GPU) == int(0.85 * (total - of_data) // per_model(run)) > 5


@pytest.mark.parametrize("total", [9_000, 12_000])
def test_where_two_models_do_not_fit_there_is_one(tmp_path, on, total):
    on(total)
    assert num_on(Run(tiny_experiment(tmp_path)), GPU) == 1


def test_elsewhere_than_on_a_gpu_there_is_one(tmp_path):
    assert num_on(Run(tiny_experiment(tmp_path)), torch.device("cpu")) == 1
