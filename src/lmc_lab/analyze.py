"""Analyses a mode, of one split or from elsewhere: ``python -m lmc_lab.analyze task=lenet split_step=2000``."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

from lmc_lab import cli, schema
from lmc_lab.locks import use_locks
from lmc_lab.process import heavy_imports, prepare_process

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

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
    use_locks(config.locks)
    with heavy_imports():
        from lmc_lab.analyses.store import ensure_rows
        from lmc_lab.compose import build_analyses, build_experiment, with_branches
        from lmc_lab.failures import Failures

    _check_trunk(config)
    experiment = build_experiment(config)
    request = _request(config, experiment)
    failures = Failures("analysis")
    subjects = _Subjects(request)
    analyses = build_analyses(config)
    for analysis, at_step in _questions(analyses, _steps_on_the_way(config, experiment, request)):
        if request.endpoints is not None and not analysis.subject.takes_files:
            print(f"{analysis.name}: left out, since weights from elsewhere are one mode without a trunk")
            continue
        with failures.collected(analysis.name if at_step is None else f"{analysis.name} at step {at_step}"):
            of_analysis = with_branches(experiment, config, analysis.branch)
            varied = [
                with_branches(of_analysis, config, {**analysis.branch, **variation})
                for variation in analysis.variations_of(of_analysis.task)
            ]
            print(ensure_rows(of_analysis, subjects.of(analysis, of_analysis, varied, at_step), analysis))
    failures.tell()


def _questions(analyses: "Sequence[Analysis]", steps: "Sequence[int]") -> "Iterator[tuple[Analysis, int | None]]":
    """Yields each analysis with None, for the endpoints, and those that can be asked of branches on their way with each step.

    Those of one step follow each other, so that they share what was loaded.
    """
    yield from ((analysis, None) for analysis in analyses)
    yield from ((analysis, step) for step in steps for analysis in analyses if analysis.over_time)


def _steps_on_the_way(config: DictConfig, experiment: "Experiment", request: "Request") -> list[int]:
    """Returns the steps of `steps` between the split and the branches' end: there is no hull elsewhere.

    Raises:
        UserError: one is no step before the branches' end, or weights from elsewhere are asked for, which have no way.
    """
    from lmc_lab.compose import steps_on_the_way
    from lmc_lab.errors import UserError

    steps = steps_on_the_way(experiment, config.steps)
    if steps and request.endpoints is not None:
        raise UserError("expected steps of branches, found weights from elsewhere, which have none; leave steps out")
    split_step = min(request.split_steps, default=0)
    return sorted({step for step in steps if experiment.is_on_the_way(step, split_step)})


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

    def of(
        self, analysis: "Analysis", experiment: "Experiment", varied: "Sequence[Experiment]", at_step: int | None
    ) -> "Subject":
        """Returns the subject of an analysis, of the branches of an experiment, at their ends or at a step on their way."""
        request = replace(analysis.request(self._request), at_step=at_step, varied=tuple(varied))
        asked = experiment, analysis.subject, request
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
