"""Trains a trunk or branches: ``python -m lmc_lab.train task=lenet split_step=2000 -m 'seed=range(20)'``."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from omegaconf import DictConfig

from lmc_lab import cli, schema
from lmc_lab.locks import are_used, use_locks
from lmc_lab.process import heavy_imports, num_cores, num_gpus, prepare_process
from lmc_lab.quick import QuickJob

if TYPE_CHECKING:
    from lmc_lab.runs.experiment import Experiment
    from lmc_lab.runs.paths import Seed
    from lmc_lab.runs.run import Run


def main() -> None:
    """Runs the command line."""
    cli.main("train", job)


def _answer(config: DictConfig) -> bool:
    """Prints the folders of the branches that are asked for if all of them are finished; returns whether they are."""
    from lmc_lab.addresses import listed, paths_of, split_of
    from lmc_lab.run_keys import check_run_keys
    from lmc_lab.runs.finished import is_choice_kept, is_finished, is_reached
    from lmc_lab.runs.split import parse_step

    schema.check(config)
    _check(config)
    # How many steps an epoch has, only the data say, and what a logger takes, only its own module.
    if config.seed is None or config.logger or any(str(step).endswith("ep") for step in listed(config.split_step)):
        return False
    check_run_keys(config)
    paths = paths_of(config)
    found = []
    for trunk in listed(config.trunk_seed):
        for text in listed(config.split_step):
            step = parse_step(text, steps_per_epoch=1, max_steps=config.task.max_steps)
            split = split_of(config, trunk, step)
            own = split.folder(paths)
            folders = [own.branch(seed) for seed in listed(config.seed)]
            later = [each for each in config.run.save_steps if each > step]
            if not (all(is_finished(folder, later) for folder in folders) and is_reached(split, paths)):
                return False
            if config.branch.get("examples") is not None and not is_choice_kept(own):
                return False
            found += folders
    print(*(folder.path for folder in found), sep="\n")
    return True


def _work(config: DictConfig) -> None:
    """Trains what the config asks for."""
    prepare_process()
    use_locks(config.locks)
    with heavy_imports():
        from lmc_lab.addresses import listed
        from lmc_lab.compose import build_experiment, split_steps
        from lmc_lab.runs.side_by_side import train_trunks_side_by_side
        from lmc_lab.runs.trunk import ensure_trunk

    first = build_experiment(config)
    trunks = [replace(first, trunk_seed=seed) for seed in listed(config.trunk_seed)]
    steps = split_steps(first, config.split_step)
    if config.seed is not None:
        _train_branches(trunks, steps, listed(config.seed), allow_diverged=config.allow_diverged)
    elif config.branches is None:
        _train_trunks(trunks, steps, allow_diverged=config.allow_diverged)
    else:
        train_trunks_side_by_side(trunks, steps, splits=steps)
        with _said_if_left_out(allow_diverged=config.allow_diverged):
            for trunk in trunks:
                for step in sorted(steps):
                    ensure_trunk(trunk, {0, step}, splits={step})
            _branch_out(sorted(steps), config.branches)


# Trains branches if `seed` names some, or without it trunks; with `branches`, trunks to k and then that many branches.
job = QuickJob(_answer, _work)


def _train_trunks(trunks: "Sequence[Experiment]", steps: Sequence[int], *, allow_diverged: bool) -> None:
    """Trains trunks to T; one that fails costs only itself."""
    from lmc_lab.failures import Failures
    from lmc_lab.runs.side_by_side import train_trunks_side_by_side
    from lmc_lab.runs.trunk import ensure_trunk

    states = {*steps, *trunks[0].settings.save_steps, trunks[0].task.max_steps}
    train_trunks_side_by_side(trunks, states, splits=steps)
    failures = Failures("trunk")
    for trunk in trunks:
        with failures.collected(f"trunk_seed={trunk.trunk_seed}"), _said_if_left_out(allow_diverged=allow_diverged):
            ensure_trunk(trunk, states, splits=steps)
            print(trunk.trunk_folder.path)
    failures.tell()


def _train_branches(
    trunks: "Sequence[Experiment]", steps: Sequence[int], seeds: "Sequence[Seed]", *, allow_diverged: bool
) -> None:
    """Trains branches together where that is wanted, and what is left one after another; one that fails costs only itself."""
    from lmc_lab.failures import Failures
    from lmc_lab.runs.branch import train_from
    from lmc_lab.runs.run import Run
    from lmc_lab.runs.side_by_side import train_branches_side_by_side, train_trunks_side_by_side
    from lmc_lab.runs.trunk import ensure_split

    runs = [Run(trunk, step, seed) for trunk in trunks for step in steps for seed in seeds]
    if not are_used():  # no branch trains a trunk, which others might at the same time
        for trunk in trunks:
            for step in steps:
                ensure_split(trunk, step)
    if (
        len(trunks) == len(steps) == 1
    ):  # what goes wrong before the one split is the error of the job, not of its branches
        with _said_if_left_out(allow_diverged=allow_diverged) as is_whole:
            train_trunks_side_by_side(trunks, steps, splits=steps)
            ensure_split(trunks[0], steps[0])
        if not is_whole:
            return
    failures = Failures("branch")
    with _named_if_ended(runs) as left:
        train_branches_side_by_side(runs)
        for run in runs:
            name = _name(run, trunks, steps)
            with failures.collected(name):
                with _said_if_left_out(allow_diverged=allow_diverged):
                    split = ensure_split(run.experiment, run.split_step or 0)
                    print(train_from(run.experiment, split, run.seed or 0).path)
                left.remove(run)
            if len(runs) > 1 and (reason := failures.reason(name)):
                print(f"{name} failed: {reason}", flush=True)  # the others may take hours
                left.remove(run)
    failures.tell()


def _name(run: "Run", trunks: "Sequence[Experiment]", steps: Sequence[int]) -> str:
    """Returns what distinguishes a branch from the others of its job: ``seed=3``, or ``split_step=20 seed=3``."""
    trunk = [f"trunk_seed={run.experiment.trunk_seed}"] if len(trunks) > 1 else []
    step = [f"split_step={run.split_step}"] if len(steps) > 1 else []
    return " ".join([*trunk, *step, f"seed={run.seed}"])


@contextmanager
def _named_if_ended(runs: "Sequence[Run]") -> "Iterator[list[Run]]":
    """Says at SIGTERM or Ctrl-C which of the branches are not done: those that are left in the list it gives."""
    left = list(runs)
    try:
        yield left
    except (KeyboardInterrupt, SystemExit):
        seeds: dict[tuple[int, int | None], list[str]] = {}
        for run in left:
            seeds.setdefault((run.experiment.trunk_seed, run.split_step), []).append(str(run.seed))
        for (trunk, step), names in seeds.items():
            shown = f"[{','.join(names)}]" if len(names) > 1 else names[0]
            print(f"not done: trunk_seed={trunk} split_step={step} seed={shown}", flush=True)
        raise


@contextmanager
def _said_if_left_out(*, allow_diverged: bool) -> "Iterator[list[bool]]":
    """Says what is not to be inside, or diverged, if that is allowed; gives a list that is empty if something is left out."""
    from lmc_lab.runs.status import Diverged, NoBranches

    is_whole = [True]
    may_be_left_out = (NoBranches, Diverged) if allow_diverged else (NoBranches,)
    try:
        yield is_whole
    except may_be_left_out as error:
        is_whole.clear()
        print(f"left out: {error}")


def _check(config: DictConfig) -> None:
    """Refuses what the keys may be one by one and not together."""
    from lmc_lab.errors import UserError

    if config.seed is not None and config.split_step is None:
        raise UserError("expected a split_step for a branch, found none; add split_step=2000, say")
    if config.branches is None:
        return
    if config.seed is not None:
        raise UserError("expected either seed (these branches) or branches (that many), found both; drop one")
    if config.split_step is None:
        raise UserError(
            "expected a split_step for the branches to leave the trunk at, found none; add split_step=2000, say"
        )


def _branch_out(steps: Sequence[int], num_branches: int) -> None:
    """Starts the sweep over data-order seeds as a command of its own and waits for it: Hydra does not nest."""
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    from lmc_lab.stages import command, run

    given = HydraConfig.get().overrides
    overrides = [item for item in given.task if item.lstrip("+~").split("=")[0] not in ("branches", "split_step")]
    hydra = [item for item in given.hydra if not item.startswith("hydra.mode")]
    if HydraConfig.get().mode == RunMode.MULTIRUN:  # a job of a sweep has its share of a machine, and asks for no other
        hydra = ["hydra/launcher=pool", *([] if num_gpus() else [f"hydra.launcher.n_jobs={num_cores()}"])]
    run(
        command(
            "train",
            *overrides,
            *hydra,
            f"split_step={','.join(map(str, steps))}",
            f"seed=range({num_branches})",
            multirun=True,
        )
    )


if __name__ == "__main__":
    from lmc_lab import train  # by its name, so that worker processes can import the job

    train.main()
