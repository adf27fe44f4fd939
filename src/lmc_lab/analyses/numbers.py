"""NaN becomes a sentence for the user, not a row."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from lmc_lab.errors import UserError
from lmc_lab.landscape.finite import NotFinite

_DIVERGED = "those weights have diverged: train with a lower task.optimizer.lr, or leave that run out"
_MADE = ("hull point", "perturbation", "centre", "point between", "point of the plane")  # of endpoints, not trained
_OVERFLOW = (
    "the endpoints are fine, so that float32 is too small there: see that task.module's loss does not divide by zero"
)


@contextmanager
def numbers_only(subject: str, names: Sequence[str] = ()) -> Iterator[None]:
    """Turns a `NotFinite` that is raised in this context into a sentence that says what the user can do.

    Args:
        subject: what is measured, for the message.
        names: of the points of kind ``endpoint``.

    Raises:
        UserError: a `NotFinite` came out of the context.
    """
    try:
        yield
    except NotFinite as error:
        is_endpoint = error.kind == "endpoint"
        name = f" ({names[error.index]})" if is_endpoint and names else ""
        advice = _OVERFLOW if error.kind in _MADE else _DIVERGED
        raise UserError(f"{error}{name}, {subject}; {advice}") from error
