"""A command of several parts, each of which costs only itself when it fails."""

import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from lmc_lab.errors import UserError, traceback_of
from lmc_lab.sentences import sentence


class PartsFailed(UserError):  # noqa: N818  it says what the command did
    """Some parts of a command failed, or all; `reasons` says why, by their names."""

    def __init__(self, text: str, reasons: Mapping[str, str]) -> None:
        super().__init__(text)
        self.reasons = reasons


class Failures:
    """The parts of a command that failed while it went on with the others.

    Args:
        kind: what a part is called.
    """

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._reasons: dict[str, str] = {}
        self._num_parts = 0

    def __contains__(self, name: str) -> bool:
        """Returns whether this part failed."""
        return name in self._reasons

    def __bool__(self) -> bool:
        """Returns whether any part failed."""
        return bool(self._reasons)

    def reason(self, name: str) -> str | None:
        """Returns why this part failed, or None if it did not."""
        return self._reasons.get(name)

    @contextmanager
    def collected(self, name: str) -> Iterator[None]:
        """Collects the error that its block ends with as this part's reason; prints the traceback of one without a sentence."""
        self._num_parts += 1
        try:
            yield
        except Exception as error:
            reason = sentence(error)
            if reason is None:
                print(traceback_of(error), file=sys.stderr)
                reason = " ".join("".join(traceback.format_exception_only(error)).split())
            self._reasons[name] = reason

    def tell(self) -> None:
        """Says which parts failed.

        Raises:
            PartsFailed: there are any.
        """
        if not self._reasons:
            return
        names: dict[str, list[str]] = {}
        for name, reason in self._reasons.items():
            names.setdefault(reason, []).append(name)
        if len(names) == 1 and len(self._reasons) == self._num_parts:
            raise PartsFailed(next(iter(names)), self._reasons)
        failures = "; ".join(f"{', '.join(failed)} failed: {reason}" for reason, failed in names.items())
        raise PartsFailed(f"expected every {self._kind} to succeed, found that {failures}", self._reasons)
