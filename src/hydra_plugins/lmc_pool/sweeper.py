"""``hydra/sweeper=merging``: the points of a sweep that differ only in `seed` as few jobs, for any launcher.

A job of several seeds is composed, starts, and reads its data once, and may train them as one program. There are as few jobs
as keep all workers of the launcher busy: for one worker, such as one GPU, a single one, of all splits and trunks, too. Where a
launcher asks for more of them (`jobs_per_worker`), a worker that is done early takes over what another one has not begun.
"""

import logging
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from hydra_plugins.lmc_pool.failed import Outcome, Reasons, failed_of, failure, outcome_text
from lmc_lab.errors import UserError

log = logging.getLogger(__name__)


@dataclass
class MergingSweeperConf:
    """The node ``hydra.sweeper``.

    `num_workers` is how many jobs the launcher runs at a time. Null: what the launcher says; where it says nothing, each point
    is a job. `merges` are the keys that may have a list of the values that are swept, `seed` before others.
    """

    _target_: str = "hydra_plugins.lmc_pool.sweeper.MergingSweeper"
    num_workers: int | None = None
    merges: list[str] = field(default_factory=lambda: ["seed"])
    params: dict[str, str] | None = None  # overrides of every sweep, as of Hydra's own sweeper


ConfigStore.instance().store(group="hydra/sweeper", name="merging", node=MergingSweeperConf, provider="lmc_lab")


class MergingSweeper(Sweeper):
    """Merges points of a sweep that differ in runs alone into as few jobs as keep all workers busy."""

    def __init__(
        self,
        num_workers: int | None = None,
        merges: Sequence[str] = ("seed",),
        params: dict[str, str] | None = None,
    ) -> None:
        if num_workers is not None and num_workers < 1:
            raise UserError(
                f"expected hydra.sweeper.num_workers to be a whole number >= 1 or null, found {num_workers}; change it"
            )
        self._num_workers = num_workers
        self._merges = tuple(merges)
        self._params = params or {}

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Makes the launcher."""
        self.hydra_context, self.config = hydra_context, config
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> Any:
        """Launches the jobs; returns what the launcher does.

        Raises:
            UserError: jobs failed; it says which, and how to repeat them.
        """
        assert self.config is not None and self.launcher is not None and self.hydra_context is not None  # by `setup`
        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        overrides = parser.parse_overrides([*(f"{key}={value}" for key, value in self._params.items()), *arguments])
        is_few = getattr(self.launcher, "merges_into_few_jobs", False)
        per_worker = getattr(self.launcher, "jobs_per_worker", 1)
        jobs = merged(overrides, self._workers_of_launcher(), self._merges, is_few=is_few, per_worker=per_worker)
        folder = Path(self.config.hydra.sweep.dir)
        folder.mkdir(parents=True, exist_ok=True)
        OmegaConf.save(self.config, folder / "multirun.yaml")
        if not getattr(self.launcher, "composes_all_first", False):
            self.validate_batch_is_legal(jobs)  # composes each, so that no job begins where one cannot
        returned = self.launcher.launch(jobs, initial_job_idx=0)
        outcomes = [Outcome(job, _failed(result)) for job, result in zip(jobs, returned, strict=False)]
        if any(outcome.failed for outcome in outcomes):
            raise failure(outcomes, self.config.hydra.overrides.task)
        return [returned]

    def _workers_of_launcher(self) -> int | None:
        assert self.config is not None
        if self._num_workers is not None:
            return self._num_workers
        is_basic = self.config.hydra.runtime.choices["hydra/launcher"] == "basic"  # Hydra's: one job after another
        return 1 if is_basic else getattr(self.launcher, "num_workers", None)


def _failed(result: JobReturn) -> Reasons:
    """Returns what failed of a job, and says it: a launcher of somebody else's does not."""
    failed = failed_of(result)
    if failed:
        log.info("%s: %s", " ".join(result.overrides or ()), outcome_text(failed))
    return failed


def merged(
    overrides: Sequence[Override],
    num_workers: int | None,
    merges: Sequence[str] = ("seed",),
    *,
    is_few: bool = False,
    per_worker: int = 1,
) -> list[list[str]]:
    """Returns the overrides of each job.

    Args:
        overrides: of the sweep.
        num_workers: that run jobs at the same time, if that is known.
        merges: keys that may have a list of the values that are swept: the first if that leaves work for all workers, all of
            them if there is one worker.
        is_few: as few jobs as give each worker one, rather than equally many; for jobs whose start is long.
        per_worker: at least so many jobs for each of several workers, if there are as many values.

    Raises:
        UserError: the values of a sweep are not named.
    """
    values = {override.get_key_element(): _values(override) for override in overrides}
    for key in merges if num_workers == 1 else merges[:1]:
        if len(values.get(key, [])) > 1:
            num_others = math.prod(len(each) for other, each in values.items() if other != key)
            num_lists = num_workers and _num_lists(num_others, num_workers, is_few=is_few, per_worker=per_worker)
            values[key] = _lists(key, values[key], num_lists)
    return [list(job) for job in product(*values.values())]


def _values(override: Override) -> list[str]:
    """Returns an override for each value that is swept: ``seed=0``, ``seed=1``."""
    if not override.is_sweep_override():
        return [str(override.input_line)]
    if not override.is_discrete_sweep():
        raise UserError(f"expected values to sweep over, found '{override.input_line}'; name them: key=0,1,2")
    values = [f"{override.get_key_element()}={value}" for value in override.sweep_string_iterator()]
    if not values:
        raise UserError(
            f"expected values to sweep over, found none in '{override.input_line}'; name one or more: key=0,1,2"
        )
    return values


def _num_lists(num_others: int, num_workers: int, *, is_few: bool, per_worker: int) -> int:
    """Returns how many lists each combination of the other keys gets, so that all workers get equally many jobs, or one."""
    if is_few or num_workers == 1:
        return math.ceil(num_workers / num_others)
    fewest = num_workers // math.gcd(num_workers, num_others)
    return fewest * math.ceil(per_worker * num_workers / (fewest * num_others))


def _lists(key: str, values: Sequence[str], num_lists: int | None) -> list[str]:
    """Returns the values of a key as lists, ``seed=[0,1]``.

    Args:
        key: such as `seed`.
        values: ``seed=0``, ``seed=1``; what cannot stand in a list stays as it is.
        num_lists: how many there are; None: each has one value.
    """
    texts = list(dict.fromkeys(value.partition("=")[2] for value in values))
    items = [text for text in texts if re.fullmatch(r"\d+(it|ep)?|trunk", text)]
    others = [f"{key}={text}" for text in texts if text not in items]
    num_parts = len(items) if num_lists is None else min(num_lists, len(items))
    return [*(_list(key, part) for part in _evenly(items, num_parts)), *others]


def _evenly(items: Sequence[str], num_parts: int) -> list[Sequence[str]]:
    """Returns the items in `num_parts` parts, dealt out in turn: where the first ones are done already, all have work left."""
    return [items[i::num_parts] for i in range(num_parts)]


def _list(key: str, items: Sequence[str]) -> str:
    return f"{key}={items[0]}" if len(items) == 1 else f"{key}=[{','.join(items)}]"
