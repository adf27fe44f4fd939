from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol

import pytest
from torch import Tensor, device

from lmc_lab.runs.variation import BranchLength
from lmc_lab.schema import KINDS
from lmc_lab.values import (
    Count,
    Name,
    Natural,
    NotNegative,
    Positive,
    Seed,
    Share,
    choices,
    distinct,
    fits,
    shown,
    words,
)


class Closing(Protocol):
    """What `isinstance` refuses to judge."""

    def close(self): ...


NAN, INFINITY = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        (int, [0, -3, 2**70], [True, 1.0, "1", None, [1]]),
        (float, [0, 1.5, -2, INFINITY], [NAN, "fast", False, None]),
        (bool, [True, False], [0, 1, "true", None]),
        (str, ["", "1"], [1, None, ["a"]]),
        (None, [None], [0, ""]),
        (Natural, [0, 5], [-1, 0.5, True]),
        (Count, [1], [0, -1, "1"]),
        (Seed, [0, 2**63 - 1], [-1, 2**63, True, 1.5, "0"]),
        (Positive, [1e-9, 3], [0, -1, INFINITY, NAN, "1"]),
        (NotNegative, [0, 0.5], [-1e-9, INFINITY]),
        (Share, [0, 1, 0.9], [-0.1, 1.1, NAN]),
        (Name, ["lenet", "a.b_c-d+e", "7"], ["", ".", "..", "../x", "a/b", ".hidden", "a b", "ä", 7, "a\n"]),
        (Literal["batch", "none"], ["batch"], ["bach", None, 1]),
        (Literal[1], [1], [True, 1.0]),
        (Annotated[str, BranchLength], ["to_total"], ["to_totl", 1, None]),
        (Count | None, [1, None], [0, "many"]),
        (Sequence[Natural], [[], [0, 2], (1,)], [3, "12", [1, -1], None, {}]),
        (Annotated[Sequence[Seed], distinct(2)], [[0, 1]], [[0], [0, 0], 3]),
        (Annotated[Sequence[float], distinct()], [[0, 0.5]], [[0, 0.0], [1.0, 1]]),
        (tuple[float, float], [[0.9, 0.999]], [[0.9], [0.9, "x"], 0.9]),
        (tuple[int, ...], [[], [1, 2, 3]], [["x"]]),
        (dict[str, int], [{}, {"a": 1}], [[], "a"]),
        (float | Tensor, [1, 0.1], ["fast", None, [1]]),
        (float | Closing, [1, "cannot be judged"], []),
        (Path | None, [None, "a/b"], []),
        (device, ["cpu", 3, None], []),
        (Any, ["cpu", 3, None, []], []),
    ],
)
def test_what_fits_an_annotation(kind, good, bad):
    assert [value for value in good if not fits(value, kind)] == []
    assert [value for value in bad if fits(value, kind)] == []


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (Count, "a whole number >= 1"),
        (Seed | Literal["trunk"] | None, "a whole number >= 0 and < 2**63 or 'trunk' or null"),
        (Positive, "a number > 0"),
        (float | Tensor, "a number"),
        (Literal["batch", "none"], "one of batch, none"),
        (Annotated[Sequence[Seed], distinct(2)],
         "a list in which each is a whole number >= 0 and < 2**63 (2 or more, none of them twice)"),
        (list[Tensor], "a list"),
        (Annotated[str, BranchLength], "one of to_total, after_split"),
    ],
)  # fmt: skip
def test_the_words_for_an_annotation(kind, text):
    assert words(kind) == text


def test_the_branch_lengths_of_the_schema_are_those_that_there_are():
    assert choices(KINDS["branch_length"]) == list(BranchLength)


def test_choices_and_values_as_they_are_written():
    assert choices(Seed | Literal["trunk", "own"] | None) == ["trunk", "own"] and choices(int) == []
    assert [shown(value) for value in (True, None, "x", 1.5, [0, 0])] == ["true", "null", "'x'", "1.5", "[0, 0]"]
