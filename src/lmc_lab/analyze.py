"""Analyses the mode of one split: ``python -m lmc_lab.analyze task=lenet split_step=2000``."""

from typing import TYPE_CHECKING

from omegaconf import DictConfig

from lmc_lab import cli, schema
from lmc_lab.process import heavy_imports, keep_large_pages

if TYPE_CHECKING:
    from lmc_lab.analyses.base import Analysis
    from lmc_lab.analyses.subject import Subject
    from lmc_lab.runs.endpoints import Mode
    from lmc_lab.runs.experiment import Experiment


def main() -> None:
    """Runs the command line."""
    cli.main("analyze", job)


def job(config: DictConfig) -> None:
    """Computes the rows of all analyses asked for, each unless it exists, and prints where they are.

    An analysis that fails costs its own rows.
    """
    schema.check(config)
    keep_large_pages()
    with heavy_imports():
        from lmc_lab.analyses.store import ensure_rows
        from lmc_lab.compose import build_analyses, build_experiment
        from lmc_lab.failures import Failures

    experiment = build_experiment(config)
    failures = Failures("analysis")
    for analysis in build_analyses(config):
        with failures.kept(analysis.name):
            print(ensure_rows(experiment, _subject(config, experiment, analysis), analysis))
    failures.tell()


def _subject(config: DictConfig, experiment: "Experiment", analysis: "Analysis") -> "Subject":
    """Returns the trunk, the mode or the modes that the analysis is about."""
    from dataclasses import replace

    from lmc_lab.analyses.base import JointAnalysis, TrunkAnalysis
    from lmc_lab.errors import UserError
    from lmc_lab.runs.states import load_trunk

    if isinstance(analysis, TrunkAnalysis):
        return load_trunk(experiment, analysis.steps)
    if not isinstance(analysis, JointAnalysis):
        return _mode(config, experiment)
    if config.trunks is None or len(config.trunks) < 2:
        raise UserError(
            f"expected two or more trunks for {analysis.name}, found {config.trunks}; add 'trunks=[0,1]', say"
        )
    return [_mode(config, replace(experiment, trunk_seed=trunk)) for trunk in config.trunks]


def _mode(config: DictConfig, experiment: "Experiment") -> "Mode":
    """Returns the mode at `split_step`: the branches `seeds`, or all that exist."""
    from lmc_lab.compose import split_steps
    from lmc_lab.errors import UserError
    from lmc_lab.runs.endpoints import load_mode

    steps = split_steps(experiment, config.split_step)
    if len(steps) != 1:
        raise UserError(f"expected one split_step to analyse, found {config.split_step}; add split_step=2000, say")
    return load_mode(
        experiment,
        steps[0],
        seeds=None if config.seeds is None else list(config.seeds),
        allow_missing=config.allow_missing,
        allow_diverged=config.allow_diverged,
    )


if __name__ == "__main__":
    from lmc_lab import analyze  # by its name, so that worker processes can import the job

    analyze.main()
