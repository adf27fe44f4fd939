"""A result that a study asks for, and what of it there is."""

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from lmc_lab.results.folder import Result
from lmc_lab.results.part import Part
from lmc_lab.results.row_file import Entry

_Step = tuple[int | None, int | None, int | None]  # trunk, split step, step on the way


@dataclass(frozen=True)
class Wanted:
    """A result that a study asks for."""

    analysis: str
    version: int
    settings: Mapping[str, Any]  # that are not the defaults
    subject: tuple[Part, ...]  # with all branches of the study

    @classmethod
    def of_plain(cls, content: Mapping[str, Any]) -> "Wanted":
        """Returns what JSON holds."""
        return cls(**{**content, "subject": tuple(map(Part.of_plain, content["subject"]))})

    def to_plain(self) -> dict[str, Any]:
        """Returns this as JSON holds it."""
        return asdict(self)

    def fits(self, entry: Entry) -> bool:
        """Returns whether a result is this one, perhaps of fewer branches."""
        if (entry.analysis, entry.version, entry.settings) != (self.analysis, self.version, self.settings):
            return False
        asked, measured = _by_step(self.subject), _by_step(entry.subject)
        return asked.keys() == measured.keys() and all(
            measured[step].seeds <= set(asked[step].branches) for step in asked
        )

    def is_whole(self, entry: Entry) -> bool:
        """Returns whether a result that fits is of all branches, but for those that diverged."""
        asked, measured = _by_step(self.subject), _by_step(entry.subject)
        return all(measured[step].seeds == set(asked[step].branches) for step in asked)


def most_complete(results: Collection[Result]) -> Result:
    """Returns the result of the most branches, the newest among equals."""
    return max(
        results, key=lambda result: (sum(len(part.branches) for part in result.entry.subject), result.entry.created)
    )


def _by_step(subject: Collection[Part]) -> dict[_Step, Part]:
    return {(part.trunk, part.split_step, part.step): part for part in subject}
