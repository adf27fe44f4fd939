"""Analyses the mode of one split: ``python -m lmc_lab.analyze task=lenet split_step=2000``."""

from typing import TYPE_CHECKING

from omegaconf import DictConfig

from lmc_lab import cli, schema
from lmc_lab.process import heavy_imports, keep_large_pages

if TYPE_CHECKING:
    from lmc_lab.runs.experiment import Experiment
    from lmc_lab.runs.subject import Request


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
    request = _request(config, experiment)
    failures = Failures("analysis")
    for analysis in build_analyses(config):
        with failures.kept(analysis.name):
            subject = analysis.subject.load(experiment, analysis.request(request))
            print(ensure_rows(experiment, subject, analysis))
    failures.tell()


def _request(config: DictConfig, experiment: "Experiment") -> "Request":
    """Returns what the user asks to be measured."""
    from lmc_lab.compose import split_steps
    from lmc_lab.runs.subject import Request

    return Request(
        split_steps=split_steps(experiment, config.split_step),
        trunks=None if config.trunks is None else list(config.trunks),
        seeds=None if config.seeds is None else list(config.seeds),
        allow_missing=config.allow_missing,
        allow_diverged=config.allow_diverged,
    )


if __name__ == "__main__":
    from lmc_lab import analyze  # by its name, so that worker processes can import the job

    analyze.main()
