"""From a composed config to objects: the one place that instantiates."""

import hashlib
import json
from functools import cache
from pathlib import Path
from typing import Any, cast

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, ListConfig, OmegaConf

from lmc_lab.analyses.base import Analysis
from lmc_lab.cli import config_dir
from lmc_lab.errors import UserError, member
from lmc_lab.runs.experiment import BranchLength, Experiment, RunName, RunSettings
from lmc_lab.runs.layout import Layout
from lmc_lab.runs.split import parse_split_step
from lmc_lab.runs.trainer_keys import check_trainer
from lmc_lab.tasks.task import ClipAlgorithm, Task

_WHOLE_NUMBERS = {"trunk_seed": 0, "task.batch_size": 1, "task.max_steps": 1, "run.log_every": 1}  # key -> minimum


def require_whole(config: DictConfig, key: str, minimum: int) -> None:
    """Refuses a value that is not a whole number, or too small.

    Raises:
        UserError: it is not.
    """
    value = OmegaConf.select(config, key)
    if not isinstance(value, int) or isinstance(value, bool) or value < minimum:
        raise UserError(f"expected {key} to be a whole number >= {minimum}, found '{value}'; change it")


def fingerprint(config: DictConfig) -> str:
    """Returns the short hash of the task subtree: whatever changes the weights changes it, nothing else does.

    What stands at its value in ``conf/task_defaults.yaml`` is left out, so that a new key there changes no address.
    """
    task = cast("dict[str, Any]", OmegaConf.to_container(config.task, resolve=True))
    defaults = _task_defaults()
    content = {key: value for key, value in task.items() if key not in defaults or value != defaults[key]}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:8]


@cache
def _task_defaults() -> dict[str, Any]:
    return cast("dict[str, Any]", OmegaConf.to_container(OmegaConf.load(config_dir() / "task_defaults.yaml")))


def layout_of(config: DictConfig) -> Layout:
    """Returns where the files of the config's task lie."""
    return Layout.of(Path(config.output_dir).absolute(), config.task.name, fingerprint(config))


def build_experiment(config: DictConfig) -> Experiment:
    """Returns the experiment that the config describes."""
    for key, minimum in _WHOLE_NUMBERS.items():
        require_whole(config, key, minimum)
    _check_save_steps(config)
    check_trainer({key: value for key, value in config.trainer.items() if not str(key).startswith("_")})
    torch.set_num_threads(1)  # one core a process: two threads collapse when a core is shared
    task = config.task
    load_data = instantiate(task.data)
    return Experiment(
        task=Task(
            name=task.name,
            fingerprint=fingerprint(config),
            batch_size=task.batch_size,
            max_steps=task.max_steps,
            precision=task.precision,
            build_model=lambda: instantiate(task.model),
            build_module=lambda model: instantiate(task.module)(model, instantiate(task.optimizer)),
            load_data=lambda: load_data(data_dir=Path(config.data_dir), cache_dir=Path(config.cache_dir).absolute()),
            gradient_clip_val=task.gradient_clip_val,
            gradient_clip_algorithm=member(ClipAlgorithm, task.gradient_clip_algorithm, "task.gradient_clip_algorithm"),
        ),
        layout=layout_of(config),
        trunk_seed=config.trunk_seed,
        # Neither is instantiated before it is called: an analysis trains nothing and does without Lightning.
        make_trainer=lambda **settings: instantiate(config.trainer)(**settings),
        make_logger=_logger_factory(config),
        make_callbacks=lambda: [instantiate(node) for node in task.callbacks],
        settings=RunSettings(**cast("dict[str, Any]", OmegaConf.to_container(config.run, resolve=True))),
        config=cast("dict[str, Any]", OmegaConf.to_container(config, resolve=True)),
        carry_optimizer_state=config.carry_optimizer_state,
        branch_length=member(BranchLength, config.branch_length, "branch_length"),
    )


def _check_save_steps(config: DictConfig) -> None:
    steps, last = config.run.save_steps, config.task.max_steps
    is_list = isinstance(steps, ListConfig)
    if not is_list or not all(isinstance(step, int) and 0 <= step <= last for step in steps):
        raise UserError(
            f"expected run.save_steps to be a list of whole numbers from 0 to T = {last}, found {steps}; change it, "
            "or the steps that a study's analyses ask for"
        )


def split_steps(experiment: Experiment, value: Any) -> list[int]:
    """Returns the split steps in `value`: one, a list, or None."""
    texts = [] if value is None else [value] if isinstance(value, str | int | float) else list(value)
    # Epochs need the data; steps do not, and an entry point should refuse a bad one before it loads anything.
    needs_epochs = any(str(text).endswith("ep") for text in texts)
    steps_per_epoch = experiment.task.steps_per_epoch if needs_epochs else 1
    return [
        parse_split_step(text, steps_per_epoch=steps_per_epoch, max_steps=experiment.task.max_steps) for text in texts
    ]


def build_analyses(config: DictConfig) -> list[Analysis]:
    """Returns the analyses of the config, in its order."""
    return [instantiate(node, _convert_="all") for node in config.analysis.values()]


def _logger_factory(config: DictConfig) -> Any:
    if not config.logger:
        return _no_logger
    content = OmegaConf.to_container(config, resolve=True)

    def make_logger(name: RunName) -> Any:
        make = instantiate(config.logger, output_dir=str(Path(config.output_dir).absolute()))
        # Not through instantiate, which would take the `_target_`s inside the content for calls.
        return make(name, config=content)

    return make_logger


def _no_logger(name: RunName) -> None:
    return None
