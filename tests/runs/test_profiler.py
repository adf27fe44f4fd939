import pytest
from lightning.pytorch import Trainer

from lmc_lab.runs.profiler import NoProfiler, without_profiler

QUIET = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "accelerator": "cpu"}


def test_the_default_profiler_is_replaced_and_a_chosen_one_stays():
    assert isinstance(without_profiler(Trainer(**QUIET)).profiler, NoProfiler)
    chosen = without_profiler(Trainer(profiler="simple", **QUIET)).profiler
    assert type(chosen).__name__ == "SimpleProfiler"


def test_contexts_nest_and_let_errors_through():
    profiler = NoProfiler()
    with pytest.raises(ZeroDivisionError), profiler.profile("a"), profiler.profile("b"):
        raise ZeroDivisionError
