"""A command of several parts, each of which costs only itself when it fails."""

import sys
import traceback
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

from lmc_lab.errors import UserError
from lmc_lab.sentences import sentence


class Failures:
    """The parts of a command that failed while it went on with the others.

    Args:
        kind: what a part is called.
    """

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._names: dict[str, list[str]] = defaultdict(list)  # by the reason
        self._num_parts = 0

    def __contains__(self, name: str) -> bool:
        """Returns whether this part failed."""
        return any(name in names for names in self._names.values())

    def __bool__(self) -> bool:
        """Returns whether any part failed."""
        return bool(self._names)

    @contextmanager
    def kept(self, name: str) -> Iterator[None]:
        """Keeps the error that what is inside ends with; of one without a sentence it prints the traceback."""
        self._num_parts += 1
        try:
            yield
        except Exception as error:
            reason = sentence(error)
            if reason is None:
                traceback.print_exception(error, file=sys.stderr)
                reason = " ".join("".join(traceback.format_exception_only(error)).split())
            self._names[reason].append(name)

    def tell(self) -> None:
        """Says which parts failed.

        Raises:
            UserError: there are any.
        """
        if not self._names:
            return
        if len(self._names) == 1 and self._num_parts == sum(map(len, self._names.values())):
            raise UserError(next(iter(self._names)))
        told = "; ".join(f"{', '.join(names)} failed: {reason}" for reason, names in self._names.items())
        raise UserError(f"expected every {self._kind} to succeed, found that {told}")
