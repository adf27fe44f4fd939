"""Analyses the mode of one split: ``python -m lmc_lab.analyze task=lenet split_step=2000``."""

from typing import TYPE_CHECKING

from omegaconf import DictConfig

from lmc_lab import cli, schema
from lmc_lab.process import heavy_imports, keep_large_pages

if TYPE_CHECKING:
    from lmc_lab.analyses.base import Analysis
    from lmc_lab.analyses.store import Subject
    from lmc_lab.runs.experiment import Experiment


def main() -> None:
    """Runs the command line."""
    cli.main("analyze", job)


def job(config: DictConfig) -> None:
    """Computes the rows of all analyses asked for, each unless it exists, and prints where they are."""
    schema.check(config)
    keep_large_pages()
    with heavy_imports():
        from lmc_lab.analyses.store import ensure_rows
        from lmc_lab.compose import build_analyses, build_experiment

    experiment = build_experiment(config)
    seeds = None if config.seeds is None else list(config.seeds)
    for analysis in build_analyses(config):
        subject = _subject(config, experiment, analysis, seeds)
        print(ensure_rows(experiment, subject, analysis, seeds=seeds))


def _subject(config: DictConfig, experiment: "Experiment", analysis: "Analysis", seeds: list[int] | None) -> "Subject":
    """Returns the trunk, the mode or the modes that the analysis is about."""
    from dataclasses import replace

    from lmc_lab.analyses.base import JointAnalysis, TrunkAnalysis
    from lmc_lab.compose import split_steps
    from lmc_lab.errors import UserError
    from lmc_lab.runs.endpoints import load_mode
    from lmc_lab.runs.states import load_trunk

    if isinstance(analysis, TrunkAnalysis):
        return load_trunk(experiment, getattr(analysis, "steps", None))
    steps = split_steps(experiment, config.split_step)
    if len(steps) != 1:
        raise UserError(f"expected one split_step to analyse, found {config.split_step}; add split_step=2000, say")
    if not isinstance(analysis, JointAnalysis):
        return load_mode(experiment, steps[0], seeds=seeds, allow_missing=config.allow_missing)
    if config.trunks is None or len(config.trunks) < 2:
        raise UserError(
            f"expected two or more trunks for {analysis.name}, found {config.trunks}; add 'trunks=[0,1]', say"
        )
    return [
        load_mode(replace(experiment, trunk_seed=trunk), steps[0], seeds=seeds, allow_missing=config.allow_missing)
        for trunk in config.trunks
    ]


if __name__ == "__main__":
    from lmc_lab import analyze  # by its name, so that worker processes can import the job

    analyze.main()
