"""What the keys of the entry points may be, where no argument of a class or a function says it."""

import logging
import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from omegaconf import DictConfig, OmegaConf

from lmc_lab.construct import plain
from lmc_lab.errors import UserError, clearly_meant
from lmc_lab.runs.trainer_keys import PASSED_ON, REFUSED
from lmc_lab.values import Condition, Count, Name, Positive, Seed, at_least, check_value, distinct

log = logging.getLogger(__name__)

_SOME = Condition("(1 or more)", lambda items: len(items) > 0)
_BranchSeed = Seed | Literal["trunk"]
_SmallSeed = Annotated[int, Condition(">= 0 and < 2**32", lambda value: 0 <= value < 2**32)]  # as Optuna takes it
_NumBranches = Annotated[int, at_least(2, because="a hull needs P >= 2")]

KINDS: Mapping[str, Any] = {
    "allow_diverged": bool,
    "allow_missing": bool,
    "beside": Sequence[str],
    "branch_length": Literal["to_total", "after_split"],
    "branch.noise": Mapping | None,
    "branch.overrides": Mapping,
    "branches": _NumBranches | None,
    "cache_dir": str,
    "carry_optimizer_state": bool,
    "data_dir": str,
    "locks": bool,
    "endpoints": str | Sequence[str] | None,
    "export": str | None,
    "figures": Sequence[Literal["png", "svg", "pdf"]],
    "output_dir": str,
    "overrides": Sequence[str],
    "results": str | Annotated[Sequence[str], _SOME] | None,
    "seed": _BranchSeed | Annotated[Sequence[_BranchSeed], distinct()] | None,
    "seeds": Annotated[Sequence[Seed], distinct(2)] | None,
    "split_step": int | str | Annotated[Sequence[int | str], _SOME] | None,
    "study.analyses": Mapping,
    "study.branches": _NumBranches,
    "study.evaluation": Mapping,
    "study.name": Name,
    "study.overrides": Sequence[str],
    "study.search": Mapping,
    "study.splits": Literal["search"] | Annotated[Sequence[int | str], distinct()],
    "study.steps": Sequence[int | str],
    "study.trunks": Annotated[Sequence[Seed], distinct()],
    "steps": Sequence[int | str],
    "sweep": Sequence[str],
    "sweep_config": str | None,
    "task.augmentation": Sequence,
    "task.batch_size": Count,
    "task.callbacks": Sequence,
    "task.decay_norms_and_biases": bool,
    "task.gradient_clip_algorithm": Literal["norm", "value"],
    "task.gradient_clip_val": Positive | None,
    "task.max_steps": Count,
    "task.name": Name,
    "task.scheduler": Mapping | None,
    "trials": Count | None,
    "trunk_seed": Seed | Annotated[Sequence[Seed], distinct()],
    "trunks": Annotated[Sequence[Seed], distinct(2)] | None,
    "tuning_seed": _SmallSeed,
}
_NODES = (
    "task.data",
    "task.model",
    "task.module",
    "task.optimizer",
    "task.precision",
)  # what they take is checked elsewhere
OPTIONAL = (
    "study.evaluation",
    "study.search",
    "study.steps",
)  # of the keys below another; at the top each entry point has its own


def check(config: DictConfig) -> None:
    """Compares the keys of a config, as it was composed, with what they may be, and with those that are read.

    Raises:
        UserError: one is something else, or left open, or one of the task or the study is a misspelled one.
    """
    check_values(config)
    for group in ("task", "study"):
        if group in config:
            _check_names(config, group)


def check_values(config: DictConfig) -> None:
    """Compares the keys of a config with what they may be.

    Raises:
        UserError: one is something else, or left open.
    """
    for key in [*sorted(OmegaConf.missing_keys(config)), *_absent_keys(config)]:
        raise UserError(f"expected a value of {key}, found none; add {key}=…")
    for key, kind in KINDS.items():
        if _has(config, key):
            check_value(plain(OmegaConf.select(config, key)), kind, key)


def _check_names(config: DictConfig, group: str) -> None:
    """Refuses a misspelled key, and warns of any other that nothing reads: neither the suite nor, as ``${task.width}``, a key.

    What refers to one may have been overridden, so that it is no mistake.
    """
    known = [key for key in (*KINDS, *_NODES) if key.startswith(f"{group}.")]
    of_trainer = {*PASSED_ON, *REFUSED} if group == "task" else set()  # which have sentences of their own
    referred = set(re.findall(r"\w+", " ".join(re.findall(r"\$\{[^}]*\}", OmegaConf.to_yaml(config)))))
    for name in config[group]:
        key = f"{group}.{name}"
        if key not in known and name not in {*of_trainer, *referred}:
            if meant := clearly_meant(name, [each.removeprefix(f"{group}.") for each in known]):
                raise UserError(f"expected a key of {group}, found {key}; did you mean '{meant}'?")
            log.warning("nothing reads %s; leave it out, or refer to it: ${%s}", key, key)


def _absent_keys(config: DictConfig) -> list[str]:
    below = (key for key in KINDS if "." in key and key.partition(".")[0] in config)
    return [key for key in below if key not in OPTIONAL and not _has(config, key)]


def _has(config: DictConfig, key: str) -> bool:
    parent, _, name = key.rpartition(".")
    node = OmegaConf.select(config, parent) if parent else config
    return isinstance(node, DictConfig) and name in node
