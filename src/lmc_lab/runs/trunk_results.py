"""What was measured of the modes of a trunk's splits: a subject that is made of results."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Self

import pandas as pd

from lmc_lab.errors import UserError
from lmc_lab.results.folder import Result, all_rows, read_results
from lmc_lab.results.part import Part, columns_of
from lmc_lab.results.wanted import most_complete
from lmc_lab.runs.experiment import Experiment
from lmc_lab.runs.subject import Request, Subject


@dataclass(frozen=True)
class TrunkResults(Subject):
    """The results of some analyses on the modes of all splits of one trunk."""

    stage: ClassVar[str] = "splits"
    has_branches: ClassVar[bool] = True
    has_tensors: ClassVar[bool] = False

    trunk_seed: int
    split_steps: tuple[int, ...]  # increasing; perhaps some without a result
    results: tuple[Result, ...]

    @cached_property
    def rows(self) -> pd.DataFrame:
        """The rows of all results."""
        return all_rows(self.results)

    @property
    def parts(self) -> tuple[Part, ...]:
        """The mode of each split, as it was measured; without branches where it was not."""
        measured: dict[int | None, Part] = {}
        for result in self.results:
            (part,) = result.entry.subject
            best = measured.get(part.split_step)
            measured[part.split_step] = part if best is None else min(part, best, key=lambda each: len(each.branches))
        return tuple(measured.get(step) or Part(self.trunk_seed, step) for step in self.split_steps)

    @property
    def columns(self) -> dict[str, int | None]:
        """The trunk; no split, also where there is one alone."""
        return {**columns_of(self.parts), "split_step": None}

    @property
    def digests(self) -> tuple[str, ...]:
        """The digests of the results' rows, and the splits."""
        return (*(_digest(result) for result in self.results), *map(str, self.split_steps))

    @classmethod
    def load(cls, experiment: Experiment, request: Request) -> Self:
        """Returns the results on the splits that are named, or on all, of the branches that are named, or of any.

        Raises:
            UserError: there is none, or an analysis was run with several settings and none of them is named.
        """
        found = [
            result
            for result in read_results(experiment.paths.results, experiment.task.fingerprint)[0]
            if _is_of(result, experiment, request) and result.entry.analysis in request.results
        ]
        chosen = [
            result
            for analysis, settings in request.results.items()
            for result in _with_settings(found, analysis, settings)
        ]
        if not chosen:
            raise UserError(_none_found(found, experiment, request))
        steps = {part.split_step for result in chosen for part in result.entry.subject} | {*request.split_steps}
        return cls(
            experiment.trunk_seed, tuple(sorted(step for step in steps if step is not None)), tuple(_best(chosen))
        )

    @classmethod
    def in_study(cls, trunks: Sequence[int], steps: Sequence[int], seeds: Sequence[int]) -> list[tuple[Part, ...]]:
        """Returns all splits of each trunk."""
        return [tuple(Part(trunk, step, tuple(seeds)) for step in sorted(steps)) for trunk in trunks]

    @classmethod
    def sweep(cls, trunks: str, splits: str, seeds: str) -> list[str]:
        """Returns the overrides that ask for all splits of each trunk."""
        return [f"trunk_seed={trunks}", f"split_step=[{splits}]", f"seeds=[{seeds}]"]


def _is_of(result: Result, experiment: Experiment, request: Request) -> bool:
    """Returns whether a result is of one mode of the experiment's trunk that the request includes."""
    if len(result.entry.subject) != 1:
        return False
    (part,) = result.entry.subject
    return (
        part.trunk == experiment.trunk_seed
        and part.split_step is not None
        and part.step is None
        and result.entry.settings.get("variant", "") == experiment.variant
        and (not request.split_steps or part.split_step in request.split_steps)
        and (request.seeds is None or part.seeds <= set(request.seeds))
    )


def _none_found(results: Sequence[Result], experiment: Experiment, request: Request) -> str:
    """Returns the sentence about results that are not there, or have other settings than are asked for."""
    wanted = " or ".join(
        analysis if settings is None else f"{analysis} with {dict(settings) or 'its defaults'}"
        for analysis, settings in request.results.items()
    )
    others = {f"{result.entry.analysis} with {dict(result.entry.settings) or 'its defaults'}" for result in results}
    there = f"only {' and '.join(sorted(others))}" if others else "none"
    return (
        f"expected results of {wanted or 'some analysis'} on splits of trunk {experiment.trunk_seed} in "
        f"{experiment.paths.results}, found {there}; run these analyses first"
    )


def _with_settings(results: Sequence[Result], analysis: str, settings: Mapping[str, Any] | None) -> list[Result]:
    """Returns the results of an analysis with these settings, or with the only ones that there are."""
    of_analysis = [result for result in results if result.entry.analysis == analysis]
    newest = [
        result for result in of_analysis if result.entry.version == max(result.entry.version for result in of_analysis)
    ]
    settings_by_text = {str(sorted(result.entry.settings.items())): result.entry.settings for result in newest}
    if settings is None and len(settings_by_text) > 1:
        texts = " and ".join(str(dict(result)) for result in settings_by_text.values())
        raise UserError(
            f"expected results of {analysis} with the same settings at all splits, found {texts}; name those that are meant "
            f"in the setting `results` of the analysis that reads them: {{{analysis}:{{num_samples:100}}}}, say"
        )
    return [result for result in newest if settings is None or result.entry.settings == settings]


def _best(results: Sequence[Result]) -> Iterator[Result]:
    """Yields the most complete result of each analysis on each split."""
    groups: dict[tuple[str, int | None], list[Result]] = {}
    for result in results:
        (part,) = result.entry.subject
        groups.setdefault((result.entry.analysis, part.split_step), []).append(result)
    yield from (most_complete(group) for group in groups.values())


def _digest(result: Result) -> str:
    """Returns a hash of the rows: what a result says, whoever measured it and when."""
    values = result.rows.drop(columns="settings").to_csv(index=False, float_format="%.17g")
    return hashlib.sha256(f"{result.entry.analysis} {values}".encode()).hexdigest()
