"""Analyses a mode, of one split or from elsewhere: ``python -m lmc_lab.analyze task=lenet split_step=2000``."""

from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

from lmc_lab import cli, schema
from lmc_lab.process import heavy_imports, prepare_process

if TYPE_CHECKING:
    from lmc_lab.analyses.base import Analysis
    from lmc_lab.runs.experiment import Experiment
    from lmc_lab.runs.subject import Request, Subject


def main() -> None:
    """Runs the command line."""
    cli.main("analyze", job)


def job(config: DictConfig) -> None:
    """Computes the rows of all analyses asked for, each unless it exists, and prints where they are.

    An analysis that fails costs its own rows; one of a trunk or of several modes is left out where files are named.
    """
    schema.check(config)
    prepare_process()
    with heavy_imports():
        from lmc_lab.analyses.store import ensure_rows
        from lmc_lab.compose import build_analyses, build_experiment, build_experiment_of
        from lmc_lab.failures import Failures

    _check_trunk(config)
    experiment = build_experiment(config)
    request = _request(config, experiment)
    failures = Failures("analysis")
    subjects = _Subjects(request)
    for analysis in build_analyses(config):
        if request.endpoints is not None and not analysis.subject.takes_files:
            print(f"{analysis.name}: left out, since weights from elsewhere are one mode without a trunk")
            continue
        with failures.kept(analysis.name):
            own = build_experiment_of(config, analysis) if analysis.branch else experiment
            print(ensure_rows(own, subjects.of(analysis, own), analysis))
    failures.tell()


def _check_trunk(config: DictConfig) -> None:
    from lmc_lab.errors import UserError

    if not isinstance(config.trunk_seed, int):
        raise UserError(
            f"expected one trunk_seed to analyse, found {config.trunk_seed}; sweep over several (-m trunk_seed=0,1), or set "
            "trunks=[0,1] for an analysis of their modes together"
        )


class _Subjects:
    """Loads what analyses are about; those that follow each other and ask for the same share it, tensors included."""

    def __init__(self, request: "Request") -> None:
        self._request = request
        self._last: tuple[Experiment, type[Subject], Request, Subject] | None = None

    def of(self, analysis: "Analysis", experiment: "Experiment") -> "Subject":
        """Returns the subject of an analysis, of the branches of an experiment."""
        asked = experiment, analysis.subject, analysis.request(self._request)
        if self._last is None or self._last[0] is not experiment or self._last[1:3] != asked[1:]:
            self._last = None  # its tensors go before others come
            self._last = (*asked, analysis.subject.load(experiment, asked[2]))
        return self._last[3]


def _request(config: DictConfig, experiment: "Experiment") -> "Request":
    """Returns what the user asks to be measured."""
    from lmc_lab.compose import split_steps
    from lmc_lab.runs.subject import Request

    return Request(
        split_steps=split_steps(experiment, config.split_step),
        trunks=_listed(config.trunks),
        seeds=_listed(config.seeds),
        allow_missing=config.allow_missing,
        allow_diverged=config.allow_diverged,
        endpoints=_listed(config.endpoints),
    )


def _listed(value: Any) -> "list[Any] | None":
    """Returns the items of a key's value, which may be one text or null."""
    return None if value is None else [value] if isinstance(value, str) else list(value)


if __name__ == "__main__":
    from lmc_lab import analyze  # by its name, so that worker processes can import the job

    analyze.main()
