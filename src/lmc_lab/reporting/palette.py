"""Colours that the colour-blind tell apart: one set for quantities and a map for splits, on the page and on paper."""

from collections.abc import Iterable

# Okabe and Ito (2008), without yellow and black, which vanish on a light or on a dark page, and with a lighter blue.
BLUE, ORANGE, GREEN, RED, PINK, SKY, GREY = (
    "#1a7fc4", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#56b4e9", "#8a8a8a",
)  # fmt: skip

SHARES = "Cividis"  # of plotly: maps of what is between 0 and 1
LENGTHS = "Viridis"  # of plotly: maps of lengths and losses

# Viridis (van der Walt and Smith 2015), lighter where it begins, to be seen on a dark page, and without its yellow end, which
# is not seen on white.
_SPLITS = ("#6650b4", "#4674a4", "#23878c", "#1fa187", "#3bbb75", "#7ad151")


def split_colours(splits: Iterable[int]) -> dict[int, str]:
    """Returns a colour for each split step, from dark for the earliest to light for the latest."""
    ordered = sorted(set(splits))
    last = max(len(ordered) - 1, 1)
    return {split: _between(number / last * (len(_SPLITS) - 1)) for number, split in enumerate(ordered)}


def _between(position: float) -> str:
    """Returns the colour at a position along the map, mixed of its neighbours."""
    first = min(int(position), len(_SPLITS) - 2)
    share = position - first
    pairs = zip(_channels(_SPLITS[first]), _channels(_SPLITS[first + 1]), strict=True)
    return "#" + "".join(f"{round(low + share * (high - low)):02x}" for low, high in pairs)


def _channels(colour: str) -> list[int]:
    return [int(colour[start : start + 2], 16) for start in (1, 3, 5)]
