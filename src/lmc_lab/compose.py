"""From a composed config to objects: the one place that instantiates."""

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf
from torch import nn

from lmc_lab import schema
from lmc_lab.addresses import described, fingerprint, listed, paths_of
from lmc_lab.configs import config_dir_flags
from lmc_lab.construct import LOGGER_CALL, argument_names, check_arguments, check_node, factory, plain
from lmc_lab.data.examples import Dataset
from lmc_lab.data.order import Noise
from lmc_lab.data.transforms import Transform
from lmc_lab.errors import UserError
from lmc_lab.run_keys import check_run_keys
from lmc_lab.runs.experiment import Experiment, RunName
from lmc_lab.runs.noise import BranchNoise
from lmc_lab.runs.settings import RunSettings
from lmc_lab.runs.split import BranchLength, parse_step
from lmc_lab.runs.trainer_keys import check_task
from lmc_lab.runs.variation import Origin, Variation
from lmc_lab.tasks.optimization import Optimization
from lmc_lab.tasks.supervised import SupervisedTask
from lmc_lab.tasks.task import ClipAlgorithm, Task
from lmc_lab.values import overrides_of

if TYPE_CHECKING:
    from lmc_lab.analyses.base import Analysis

_OF_TRUNK_AND_BRANCH = ("name", "model", "data")  # keys of a task
# What only an analysis is given, and what says which run is trained.
_NOT_OF_TRAINING = (
    "allow_missing", "analysis", "branches", "endpoints", "seed", "seeds", "split_step", "steps", "trunk_seed",
    "trunks",
)  # fmt: skip


def build_experiment(config: DictConfig) -> Experiment:
    """Returns the experiment that the config describes.

    Raises:
        UserError: a value of the config, or a target and its arguments, cannot be what they are.
    """
    check_run_keys(config)
    task = _task(config)
    return Experiment(
        task=task,
        paths=paths_of(config),
        trunk_seed=listed(config.trunk_seed)[0],
        # Neither is made before it is called: an analysis trains nothing and does without Lightning.
        make_trainer=lambda **arguments: _make_trainer(config, arguments),
        make_logger=_logger_factory(config),
        settings=RunSettings(**cast("dict[str, Any]", plain(config.run))),
        config=cast("dict[str, Any]", plain(config)),
        given=_given(),
        variation=_variation(config, task),
        device=_device(config),
    )


def with_branches(experiment: Experiment, config: DictConfig, branch: Mapping[str, Any]) -> Experiment:
    """Returns the experiment of a config with branches that are made otherwise; it shares task and data.

    Args:
        experiment: that the config describes.
        config: composed.
        branch: values of its node `branch`, which take the place of those under the same keys; none: the experiment itself.
    """
    if not branch:
        return experiment
    content = cast("dict[str, Any]", plain(config))
    varied = OmegaConf.create({**content, "branch": {**content["branch"], **branch}})
    return replace(
        experiment,
        config=cast("dict[str, Any]", plain(varied)),
        given=(*experiment.given, *overrides_of("branch", branch)),
        variation=_variation(varied, experiment.task),
    )


def _make_trainer(config: DictConfig, arguments: Mapping[str, Any]) -> Any:
    """Returns a Trainer on the device of `_device`: Lightning's own ``auto`` takes devices without float64, too."""
    is_open = config.trainer.get("accelerator") == "auto"
    chosen = {"accelerator": _device(config)} if is_open else {}
    return factory(config, "trainer", named=(*arguments, *chosen))(**arguments, **chosen)


def _device(config: DictConfig) -> str:
    """Returns the type of the device that `trainer` chooses: a GPU if there is one for ``auto``, else the CPU."""
    accelerator = str(config.trainer.get("accelerator", "auto"))
    if accelerator == "auto":
        import torch

        return "cuda" if torch.cuda.is_available() else "cpu"
    return "cuda" if accelerator == "gpu" else accelerator


def _task(config: DictConfig) -> Task:
    check_task(cast("dict[str, Any]", plain(config.task)))
    build_model = factory(config, "task.model")
    build_module = factory(config, "task.module", num_positional=2)
    task = config.task
    optimization = Optimization(
        factory(config, "task.optimizer", num_positional=1),
        factory(config, "task.scheduler", num_positional=1) if task.scheduler else None,
        task.decay_norms_and_biases,
    )
    return Task(
        name=task.name,
        fingerprint=fingerprint(config),
        batch_size=task.batch_size,
        max_steps=task.max_steps,
        precision=task.precision,
        build_model=lambda: _made(build_model(), nn.Module, "task.model"),
        build_module=lambda model: _with(
            optimization, _made(build_module(model, optimization), SupervisedTask, "task.module")
        ),
        load_data=data_loader(config),
        gradient_clip_val=task.gradient_clip_val,
        gradient_clip_algorithm=ClipAlgorithm(task.gradient_clip_algorithm),
        num_classes=OmegaConf.select(task, "module.num_classes"),
        make_callbacks=_callback_factory(config),
        make_transforms=_transform_factory(config),
    )


def _with(optimization: Optimization, module: SupervisedTask) -> SupervisedTask:
    """Returns the module; refuses one that would ignore the schedule or the parameter groups of the config."""
    if not optimization.is_plain and type(module).configure_optimizers is not SupervisedTask.configure_optimizers:
        raise UserError(
            "expected task.scheduler=null and task.decay_norms_and_biases=true where task.module has a configure_optimizers of "
            f"its own, found {type(module).__name__} with both; leave the method out, or make schedule and groups there"
        )
    return module


def _variation(config: DictConfig, task: Task) -> Variation:
    """Returns how branches are made, from the config's keys that concern nothing else."""
    branch = config.branch
    return Variation(
        start=_with_origin(config, "branch.start") if branch.start else None,
        carry_optimizer_state=config.carry_optimizer_state,
        examples=_with_origin(config, "branch.examples") if branch.examples else None,
        noise=_noise(plain(branch.noise)) if branch.noise else None,
        task=replace(_task(_overridden(config)), load_data=lambda: task.dataset) if branch.overrides else None,
        length=BranchLength(config.branch_length),
        described=described(config),
    )


def _with_origin(config: DictConfig, key: str) -> Callable[[Any, Origin], Any]:
    """Returns a function of (argument, origin of a branch) that calls the target at a key, with the origin if it takes one."""
    node = plain(OmegaConf.select(config, key))
    has_target = isinstance(node, Mapping) and "_target_" in node
    if has_target and "origin" in argument_names(node["_target_"], key):
        make = factory(config, key, num_positional=1, named=("origin",))
        return lambda given, origin: make(given, origin=origin)
    make = factory(config, key, num_positional=1)
    return lambda given, _: make(given)


def _noise(settings: dict[str, Any]) -> BranchNoise:
    """Returns the noise that branches have.

    Raises:
        UserError: a setting is something else than it may be, or the kind is missing.
    """
    check_arguments(BranchNoise, settings, "branch.noise")
    if "kind" not in settings:
        raise UserError(
            f"expected branch.noise.kind, one of {', '.join(Noise)}, found none; add +branch.noise.kind=dropout, say"
        )
    return BranchNoise(**settings)


def _overridden(config: DictConfig) -> DictConfig:
    """Returns the config with the task that its branches train.

    Raises:
        UserError: an override is of a key that a task does not have, or that makes the task what it is.
    """
    overrides = cast("dict[str, Any]", plain(config.branch.overrides))
    valid = [str(key) for key in config.task if key not in _OF_TRUNK_AND_BRANCH]
    if unknown := [key for key in overrides if key not in valid]:
        raise UserError(
            f"expected branch.overrides to be of {', '.join(valid)}, found {unknown[0]}; "
            "a trunk and its branches share name, model and data"
        )
    other = OmegaConf.merge(config, {"task": overrides})
    schema.check_values(cast("DictConfig", other))
    return cast("DictConfig", other)


def data_loader(config: DictConfig) -> Callable[[], Dataset]:
    """Returns what loads the data of the config's task.

    Raises:
        UserError: its target does not take what is written there.
    """
    load = factory(config, "task.data", named=("data_dir", "cache_dir"))
    return lambda: load(data_dir=Path(config.data_dir), cache_dir=Path(config.cache_dir).absolute())


def _made(found: Any, kind: type[Any], key: str) -> Any:
    """Returns `found`, the object that a target has made, if it is of the kind that is needed.

    Raises:
        UserError: it is something else than what is needed at `key`.
    """
    if not isinstance(found, kind):
        name = f"{kind.__module__}.{kind.__qualname__}"
        raise UserError(f"expected {key} to make a {name}, found a {type(found).__qualname__}; change its _target_")
    return found


def _callback_factory(config: DictConfig) -> Callable[[], list[Any]]:
    keys = [f"task.callbacks[{i}]" for i in range(len(config.task.callbacks))]
    makers = {key: factory(config, key) for key in keys}

    def make_callbacks() -> list[Any]:
        from lightning.pytorch import Callback

        return [_made(make(), Callback, key) for key, make in makers.items()]

    return make_callbacks


def _transform_factory(config: DictConfig) -> Callable[[], list[Transform]]:
    makers = [factory(config, f"task.augmentation[{i}]") for i in range(len(config.task.augmentation))]
    return lambda: [make() for make in makers]


def _given() -> tuple[str, ...]:
    """Returns this command's overrides that also apply to `train`; none outside of `train` and `analyze`."""
    if not HydraConfig.initialized() or HydraConfig.get().job.config_name not in ("train", "analyze"):
        return ()
    given = HydraConfig.get().overrides.task
    return (*config_dir_flags(), *(item for item in given if _key(item) not in _NOT_OF_TRAINING))


def _key(override: str) -> str:
    """Returns the first part of the key of an override: ``analysis`` of ``+analysis.pairs.num_points=5``."""
    return re.split(r"[.=@]", override.lstrip("+~"))[0]


def split_steps(experiment: Experiment, value: Any) -> list[int]:
    """Returns the split steps in `value`: one, a list, or None."""
    return _steps(experiment, value, what="split step k", max_steps=experiment.task.max_steps)


def steps_on_the_way(experiment: Experiment, value: Any) -> list[int]:
    """Returns the steps in `value` at which branches are looked at: one, a list, or None.

    They lie before the end of a branch: T, or 2 T where one of the last split trains T steps of its own.
    """
    total = experiment.task.max_steps
    last = experiment.last_step(total)
    return _steps(experiment, value, what="step t", max_steps=last, end="T" if last == total else "the end of a branch")


def _steps(experiment: Experiment, value: Any, **names: Any) -> list[int]:
    texts = [] if value is None else [value] if isinstance(value, str | int | float) else list(value)
    # Epochs need the data; steps do not, and an entry point should refuse a bad one before it loads anything.
    needs_epochs = any(str(text).endswith("ep") for text in texts)
    steps_per_epoch = experiment.task.steps_per_epoch if needs_epochs else 1
    return [parse_step(text, steps_per_epoch=steps_per_epoch, **names) for text in texts]


def build_analyses(config: DictConfig) -> "list[Analysis]":
    """Returns the analyses of the config, in its order.

    Raises:
        UserError: one has a setting that it does not know or that cannot be, or there is none.
    """
    from lmc_lab.analyses.base import Analysis  # here, since training does without it, and without scipy

    if not config.get("analysis"):
        raise UserError("expected one analysis or more, found none; name some: 'analysis=[convex_mode]', say")
    check_node(plain(config.evaluation), "evaluation")  # of all analyses, and to be named by this key
    makers = {name: factory(config, f"analysis.{name}") for name in config.analysis}
    return [_made(make(), Analysis, f"analysis.{name}") for name, make in makers.items()]


def _logger_factory(config: DictConfig) -> Any:
    if not config.logger:
        return _no_logger
    make = factory(config, "logger", **LOGGER_CALL)

    def make_logger(name: RunName, content: Mapping[str, Any]) -> Any:
        return make(name, output_dir=str(Path(config.output_dir).absolute()), config=content)

    return make_logger


def _no_logger(name: RunName, content: Mapping[str, Any]) -> None:
    return None
