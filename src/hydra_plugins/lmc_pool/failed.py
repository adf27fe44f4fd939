"""What a sweep says of those of its jobs that failed, whichever launcher ran them."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hydra.core.utils import JobReturn, JobStatus

from hydra_plugins.lmc_pool.names import job_name, num_branches_of
from lmc_lab.errors import UserError, traceback_of

Reasons = Mapping[str, str]  # why parts of a job failed, by their names; that of the whole job is ""
_NUM_NAMED = 8  # of what failed; the command that repeats them knows the others


@dataclass(frozen=True)
class Outcome:
    """How a job of a sweep ended."""

    overrides: Sequence[str]
    failed: Reasons

    @property
    def num_parts(self) -> int:
        """Returns how many branches it has, 1 for a job of another kind."""
        return num_branches_of(self.overrides) or 1

    @property
    def num_failed(self) -> int:
        """Returns how many of them failed at most: all of a job that died, since it is not known here what it had finished."""
        return self.num_parts if "" in self.failed else min(len(self.failed), self.num_parts)


def failed_of(result: JobReturn) -> Reasons:
    """Returns what failed of a job that has ended.

    The error is taken from Hydra's private field: the public one raises it, and says so in lines of its own.
    """
    return reasons_of(result._return_value) if result.status == JobStatus.FAILED else {}


def reasons_of(error: Any) -> Reasons:
    """Returns what failed of a job that ended with an error: a sentence for what the user can mend, else a traceback."""
    from lmc_lab.failures import PartsFailed
    from lmc_lab.sentences import sentence

    if isinstance(error, PartsFailed):
        return error.reasons
    return {"": sentence(error) or traceback_of(error)}


def outcome_text(failed: Reasons) -> str:
    """Returns the outcome of a job as a line for who watches the sweep."""
    reasons = "; ".join(f"{part}: {reason}" if part else reason for part, reason in failed.items())
    return f"FAILED: {reasons}" if failed else "done"


def failure(outcomes: Sequence[Outcome], given: Collection[str]) -> UserError:
    """Returns the error of a sweep some of whose jobs failed: which, why, and how to repeat them.

    The reason of the first stands for all where there are several.

    Args:
        outcomes: of all jobs.
        given: the overrides of the whole sweep.
    """
    from lmc_lab.cli import this_command

    lost = [outcome for outcome in outcomes if outcome.failed]
    names = [job_name(outcome.overrides, given, part) for outcome in lost for part in outcome.failed]
    named = [*names[:_NUM_NAMED], *([f"… ({len(names) - _NUM_NAMED} more)"] if len(names) > _NUM_NAMED else [])]
    first, *others = dict.fromkeys(reason for outcome in lost for reason in outcome.failed.values())
    why = f" ({'the first: ' if others else ''}{first.strip().splitlines()[-1]})"
    at_most = "up to " if any("" in outcome.failed and outcome.num_parts > 1 for outcome in lost) else ""
    kind = "branches" if any(num_branches_of(outcome.overrides) for outcome in outcomes) else "jobs"
    num_failed, num_all = sum(outcome.num_failed for outcome in lost), sum(outcome.num_parts for outcome in outcomes)
    return UserError(
        f"{at_most}{num_failed} of {num_all} {kind} failed{why}: {'; '.join(named)}; "
        f"then repeat them (finished ones are skipped) with: {this_command()}"
    )
