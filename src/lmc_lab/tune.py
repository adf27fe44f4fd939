"""Relates a task's keys to its onset, a study for each choice of them: ``python -m lmc_lab.tune sweep_config=mnist1d_rate``."""

from typing import TYPE_CHECKING

from omegaconf import DictConfig, OmegaConf

from lmc_lab import cli

if TYPE_CHECKING:
    from collections.abc import Sequence


def main() -> None:
    """Runs the command line."""
    cli.main("tune", job)


def job(config: DictConfig) -> None:
    """Runs the trials of a sweep one after another, each a study, and says how the onset depends on their values.

    Without a sweep it runs one trial, of the keys ``+task.…`` on the command line, and logs its onset where an agent of
    Weights & Biases has started it. A trial that fails costs itself alone; what is finished answers from its files.
    """
    from hydra.core.hydra_config import HydraConfig

    from lmc_lab import schema
    from lmc_lab.studies.plan import launcher_of

    without_task = [str(key) for key in config if key != "task"]  # of which a trial has some keys alone
    schema.check(OmegaConf.masked_copy(config, without_task))
    overrides = HydraConfig.get().overrides
    given = [*overrides.task, *launcher_of(overrides.hydra)]
    if config.sweep_config is None:
        _one_trial(config, given)
    else:
        _sweep(config, given)


def _one_trial(config: DictConfig, given: "Sequence[str]") -> None:
    from lmc_lab.reporting.wandb_account import log_to_sweep
    from lmc_lab.tuning.overrides import task_values
    from lmc_lab.tuning.trial import Trial, check_metric, metrics

    check_metric("onset_p_conv", config.study.analyses)
    trial = Trial.of(task_values(given), config, given)
    trial.run()
    found = metrics(trial.onsets())
    print(*(f"{name}: {value:g}" for name, value in found.items()), trial.page, sep="\n", flush=True)
    log_to_sweep(found)


def _sweep(config: DictConfig, given: "Sequence[str]") -> None:
    from pathlib import Path

    from hydra import compose

    from lmc_lab.errors import UserError
    from lmc_lab.failures import Failures
    from lmc_lab.tuning.overrides import key_of, task_values, without_hydras
    from lmc_lab.tuning.record import SweepRecord
    from lmc_lab.tuning.search import proposals
    from lmc_lab.tuning.sweep import read_sweep
    from lmc_lab.tuning.trial import Trial, check_metric, metrics

    sweep = read_sweep(config.sweep_config)
    if task_values(given):
        raise UserError(
            f"expected either a sweep or keys +task.…, found both; leave sweep_config={config.sweep_config} out for one trial"
        )
    own_keys = {key_of(item) for item in given}
    given = [*(item for item in sweep.given if key_of(item) not in own_keys), *given]
    of_trials = compose("tune", overrides=without_hydras(given))
    check_metric(sweep.metric, of_trials.study.analyses)
    record, failures = SweepRecord(sweep, Path(of_trials.output_dir).absolute()), Failures("trial")
    for number, proposal in enumerate(proposals(sweep, config.trials, config.tuning_seed), start=1):
        trial = Trial.of(proposal.values, of_trials, given, sweep.name)
        print(f"trial {number}: {' '.join(trial.settings)}", flush=True)
        with failures.collected(trial.name):
            trial.run()
            onsets = trial.onsets()
            record.add(trial, onsets, trial.turning_points())
            proposal.metric = metrics(onsets)[sweep.metric]
            print(f"trial {number}: {sweep.metric} {proposal.metric:g}, {trial.page}", flush=True)
        if reason := failures.reason(trial.name):
            record.add_failed(trial, reason)
            print(f"trial {number}: failed: {reason}", flush=True)
        files = record.write()
    print(record.summary(), *files, sep="\n", flush=True)
    failures.tell()


if __name__ == "__main__":
    main()
