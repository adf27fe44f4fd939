"""Trains a trunk or branches: ``python -m lmc_lab.train task=lenet split_step=2000 -m 'seed=range(20)'``."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from omegaconf import DictConfig, ListConfig

from lmc_lab import cli, schema
from lmc_lab.process import heavy_imports, num_cores, prepare_process
from lmc_lab.quick import QuickJob

if TYPE_CHECKING:
    from lmc_lab.runs.experiment import Experiment
    from lmc_lab.runs.paths import Seed
    from lmc_lab.runs.split import Split


def main() -> None:
    """Runs the command line."""
    cli.main("train", job)


def _answer(config: DictConfig) -> bool:
    """Prints the folders of the branches `seed` if all of them are finished; returns whether they are."""
    from lmc_lab.addresses import paths_of, split_of
    from lmc_lab.run_keys import check_run_keys
    from lmc_lab.runs.finished import is_finished, is_reached
    from lmc_lab.runs.split import parse_split_step

    schema.check(config)
    _check(config)
    # How many steps an epoch has, only the data say, and what a logger takes, only its own module.
    if config.seed is None or str(config.split_step).endswith("ep") or config.logger:
        return False
    check_run_keys(config)
    step = parse_split_step(config.split_step, steps_per_epoch=1, max_steps=config.task.max_steps)
    split, paths = split_of(config, step), paths_of(config)
    folders = [split.folder(paths).branch(seed) for seed in _seeds(config)]
    later = [each for each in config.run.save_steps if each > step]
    if not (all(is_finished(folder, later) for folder in folders) and is_reached(split, paths)):
        return False
    print(*(folder.path for folder in folders), sep="\n")
    return True


def _work(config: DictConfig) -> None:
    """Trains what the config asks for."""
    prepare_process()
    with heavy_imports():
        from lmc_lab.compose import build_experiment, split_steps
        from lmc_lab.runs.trunk import ensure_split, ensure_trunk

    experiment = build_experiment(config)
    steps = split_steps(experiment, config.split_step)
    with _left_out_if_diverged(allowed=config.allow_diverged):
        if config.seed is not None:
            split = ensure_split(experiment, steps[0])
            _train_branches(experiment, split, _seeds(config), allow_diverged=config.allow_diverged)
        elif config.branches is None:
            ensure_trunk(experiment, {*steps, *experiment.settings.save_steps, experiment.task.max_steps}, splits=steps)
            print(experiment.trunk_folder.path)
        for step in sorted(steps) if config.branches is not None else []:
            ensure_split(experiment, step)
            _branch_out(step, config.branches)


# Trains the branches `seed`, or without it the trunk; with `branches`, the trunk to k and then that many branches.
job = QuickJob(_answer, _work)


def _seeds(config: DictConfig) -> "list[Seed]":
    return list(config.seed) if isinstance(config.seed, ListConfig) else [config.seed]


def _train_branches(experiment: "Experiment", split: "Split", seeds: "Sequence[Seed]", *, allow_diverged: bool) -> None:
    """Trains branches of one split one after another; one that fails costs only itself."""
    from lmc_lab.failures import Failures
    from lmc_lab.runs.branch import train_from
    from lmc_lab.runs.run import Run
    from lmc_lab.runs.side_by_side import train_side_by_side

    train_side_by_side([Run(experiment, split.step, seed) for seed in seeds])
    failures = Failures("branch")
    with _named_if_ended(split, seeds) as left:
        for seed in seeds:
            with failures.kept(name := f"seed={seed}"):
                with _left_out_if_diverged(allowed=allow_diverged):
                    print(train_from(experiment, split, seed).path)
                left.remove(seed)
            if len(seeds) > 1 and (reason := failures.reason(name)):
                print(f"{name} failed: {reason}", flush=True)  # the others may take hours
                left.remove(seed)
    failures.tell()


@contextmanager
def _named_if_ended(split: "Split", seeds: "Sequence[Seed]") -> "Iterator[list[Seed]]":
    """Says at SIGTERM or Ctrl-C which of the branches are not done: those that are left in the list it gives."""
    left = list(seeds)
    try:
        yield left
    except (KeyboardInterrupt, SystemExit):
        names = ",".join(map(str, left))
        shown = f"[{names}]" if len(left) > 1 else names
        print(f"not done: trunk_seed={split.trunk_seed} split_step={split.step} seed={shown}", flush=True)
        raise


@contextmanager
def _left_out_if_diverged(*, allowed: bool) -> Iterator[None]:
    from lmc_lab.runs.status import Diverged

    try:
        yield
    except Diverged as error:
        if not allowed:
            raise
        print(f"left out: {error}")


def _check(config: DictConfig) -> None:
    """Refuses what the keys may be one by one and not together."""
    from lmc_lab.errors import UserError

    if config.seed is not None and not isinstance(config.split_step, int | str):
        raise UserError(f"expected one split_step for a branch, found {config.split_step}; add split_step=2000, say")
    if config.branches is None:
        return
    if config.seed is not None:
        raise UserError("expected either seed (these branches) or branches (that many), found both; drop one")
    if config.split_step is None:
        raise UserError(
            "expected a split_step for the branches to leave the trunk at, found none; add split_step=2000, say"
        )


def _branch_out(step: int, num_branches: int) -> None:
    """Starts the sweep over data-order seeds as a command of its own and waits for it: Hydra does not nest."""
    import multiprocessing

    from hydra.core.hydra_config import HydraConfig

    from lmc_lab.stages import command, run

    given = HydraConfig.get().overrides
    kept = [item for item in given.task if item.lstrip("+~").split("=")[0] not in ("branches", "split_step")]
    hydra = [item for item in given.hydra if not item.startswith("hydra.mode")]
    if multiprocessing.parent_process() is not None:  # a job of a local sweep has its share of the cores
        hydra = ["hydra/launcher=pool", f"hydra.launcher.n_jobs={num_cores()}"]
    run(command("train", *kept, *hydra, f"split_step={step}", f"seed=range({num_branches})", multirun=True))


if __name__ == "__main__":
    from lmc_lab import train  # by its name, so that worker processes can import the job

    train.main()
