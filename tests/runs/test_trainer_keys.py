import inspect

import pytest
from lightning.pytorch import Trainer

from lmc_lab.errors import UserError
from lmc_lab.runs.trainer_keys import PASSED_ON, REFUSED, check_task, check_trainer


def test_every_key_of_the_trainer_has_been_thought_of():
    """A version of Lightning with a new key fails here: may a user give it?"""
    keys = set(inspect.signature(Trainer.__init__).parameters) - {"self"}
    assert keys == PASSED_ON | REFUSED.keys() and not PASSED_ON & REFUSED.keys()


@pytest.mark.parametrize("key", sorted(REFUSED))
def test_a_key_that_would_break_a_promise_is_refused_with_what_to_do(key):
    with pytest.raises(UserError, match=rf"expected no trainer.{key}, found '3', .*; (use|drop|raise) "):
        check_trainer({"accelerator": "cpu", key: 3})


@pytest.mark.parametrize(
    "settings",
    [
        {"accelerator": "gpu", "devices": 1, "max_time": "00:00:00:05"},
        {"devices": [3], "deterministic": True},
        {"devices": "3,", "strategy": "single_device"},
    ],
)
def test_what_changes_no_step_is_passed_on(settings):
    check_trainer(settings)


@pytest.mark.parametrize(
    "settings", [{"devices": 2}, {"devices": "auto"}, {"devices": [0, 1]}, {"strategy": "ddp"}, {"num_nodes": 2}]
)
def test_a_run_has_one_device(settings):
    with pytest.raises(UserError, match="expected one device a run"):
        check_trainer(settings)


def test_a_key_that_the_trainer_does_not_have_is_refused_with_the_nearest():
    with pytest.raises(UserError, match="did you mean 'max_time'"):
        check_trainer({"max_tim": 3})


def test_a_key_of_the_trainer_in_a_task_would_do_nothing():
    """Others may be there for what refers to them."""
    check_task({"name": "mine", "width": 64, "precision": "32-true", "max_steps": 5, "callbacks": []})
    with pytest.raises(UserError, match="expected no task.accumulate_grad_batches.*; raise task.batch_size"):
        check_task({"name": "mine", "accumulate_grad_batches": 2})
    with pytest.raises(UserError, match=r"expected no task.max_time.*; use trainer\.max_time"):
        check_task({"name": "mine", "max_time": "00:00:01:00"})
