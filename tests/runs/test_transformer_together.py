"""Attention between several tokens: branches of a language model together are those alone."""

from functools import partial

import torch
from examples.language_model.language_model import LanguageModel

from alike import assert_alike, experiment, runs_of
from lmc_lab.data.examples import Dataset, Examples
from lmc_lab.runs.companions import why_alone
from lmc_lab.runs.together import train_together
from lmc_lab.tasks.classification import Classification
from tiny import train_branch

NUM_TOKENS, LENGTH = 7, 6


def sequences():
    """The next token depends on the token before the last, which only attention sees."""
    tokens = torch.randint(NUM_TOKENS, (64, LENGTH), generator=torch.Generator().manual_seed(0))
    return Examples(tokens, (tokens + 2 * tokens.roll(1, dims=1)) % NUM_TOKENS, lambda x: x)


def test_twenty_steps_are_the_same(tmp_path):
    """Not of Adam: the gradient of the keys' bias is zero but for rounding, which Adam would blow up."""
    sgd = partial(torch.optim.SGD, lr=0.1, momentum=0.9)
    changes = {
        "model": partial(LanguageModel, NUM_TOKENS, LENGTH, width=16),
        "module": lambda model: Classification(model, sgd, num_classes=NUM_TOKENS),
        "load_data": lambda: Dataset(sequences(), None, "sequences"),
        "max_steps": 25,
    }
    own, other = (experiment(tmp_path / name, **changes) for name in ("together", "alone"))
    runs = runs_of(own, splits=(5,), seeds=(0, 1, 2))
    assert why_alone(runs[0], allows_noise=False) is None
    train_together(runs)
    for run in runs:
        assert_alike(run, train_branch(other, 5, run.seed))
