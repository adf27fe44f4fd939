"""Colours that the colour-blind tell apart: one set for quantities, on the page and on paper, and the page's map for splits."""

from collections.abc import Iterable

# Okabe and Ito (2008), without yellow and black, which vanish on a light or on a dark page, and with a lighter blue.
BLUE, ORANGE, GREEN, RED, PINK, SKY, GREY = (
    "#1a7fc4", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#56b4e9", "#8a8a8a",
)  # fmt: skip

SHARES = "Cividis"  # of plotly: maps of what is between 0 and 1
LENGTHS = "Viridis"  # of plotly: maps of lengths and losses

# Viridis (van der Walt and Smith 2015) without its ends, and with a first colour that is seen on a dark page.
_SPLITS = ("#6650b4", "#3f6fae", "#277f8e", "#1fa187", "#4ac16d", "#a0da39")


def split_colours(splits: Iterable[int]) -> dict[int, str]:
    """Returns a colour for each split step, from dark for the earliest to light for the latest."""
    ordered = sorted(set(splits))
    last = max(len(ordered) - 1, 1)
    return {split: _between(number / last * (len(_SPLITS) - 1)) for number, split in enumerate(ordered)}


def _between(place: float) -> str:
    """Returns the colour at a place along the map, mixed of its neighbours."""
    first = min(int(place), len(_SPLITS) - 2)
    share = place - first
    pairs = zip(_channels(_SPLITS[first]), _channels(_SPLITS[first + 1]), strict=True)
    return "#" + "".join(f"{round(low + share * (high - low)):02x}" for low, high in pairs)


def _channels(colour: str) -> list[int]:
    return [int(colour[start : start + 2], 16) for start in (1, 3, 5)]
