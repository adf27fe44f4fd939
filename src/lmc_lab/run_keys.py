"""Refuses what the keys of an experiment cannot be, as far as that is known before torch is imported."""

from typing import Any, cast

from omegaconf import DictConfig

from lmc_lab import schema
from lmc_lab.construct import check_arguments, plain
from lmc_lab.errors import UserError
from lmc_lab.runs.settings import RunSettings
from lmc_lab.runs.split import BranchLength
from lmc_lab.runs.trainer_keys import check_trainer


def check_run_keys(config: DictConfig) -> None:
    """Compares the config's keys, and those of `run` and of `trainer`, with what they may be.

    Raises:
        UserError: one is something else.
    """
    schema.check_values(config)
    check_arguments(RunSettings, cast("dict[str, Any]", plain(config.run)), "run")
    _check_save_steps(config)
    check_trainer({key: value for key, value in config.trainer.items() if not str(key).startswith("_")})


def _check_save_steps(config: DictConfig) -> None:
    total, of_branches = config.task.max_steps, config.get("seed") is not None or config.get("branches") is not None
    is_own = of_branches and config.branch_length == BranchLength.AFTER_SPLIT
    last = (config.branch.overrides.get("max_steps", total) if of_branches else total) + (total if is_own else 0)
    if any(step > last for step in config.run.save_steps):
        name = "T" if last == total else "the end of a branch"
        raise UserError(
            f"expected run.save_steps to be steps from 0 to {name} = {last}, found {config.run.save_steps}; change it, or the "
            "steps that a study's analyses ask for"
        )
