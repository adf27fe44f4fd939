"""A figure of the report, on paper or on the page: what it needs, what it shows, and how it is drawn."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import numpy as np
import pandas as pd

from lmc_lab.results.select import select_any

Drawn = TypeVar("Drawn")


@dataclass(frozen=True)
class ReportFigure(Generic[Drawn]):
    """A figure of the report.

    Args:
        draw: makes it of the rows of all tasks that are of the quantities named here, and whose values are finite: a
            figure of matplotlib, or the panels of a figure of the page.
        needs: quantities; it is left out where the rows have none of them.
        caption: what it shows, as plain text; its first sentence is the heading on the page.
        also: further quantities that it draws.
        over_time: whether its rows are those of hulls on their way, too, each with its step; else of endpoints alone.
        of_trunks: whether it draws what was measured along trunks alone, and neither of branches nor of splits.
        of_elsewhere: whether it also draws weights from elsewhere, whose rows have no trunk and no split.
        only_with: parts of the caption that are told only where there is one of these quantities.
    """

    draw: Callable[[pd.DataFrame], Drawn]
    needs: Sequence[str]
    caption: str
    also: Sequence[str] = ()
    over_time: bool = False
    of_trunks: bool = False
    of_elsewhere: bool = False
    only_with: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def source(self, rows: pd.DataFrame, rows_over_time: pd.DataFrame) -> pd.DataFrame:
        """Returns those of the rows of endpoints, and of hulls on their way, that it is drawn from."""
        return rows_over_time if self.over_time else rows

    @property
    def quantities(self) -> set[str]:
        """Returns all that it draws."""
        return {*self.needs, *self.also}

    def can_be_drawn(self, rows: pd.DataFrame) -> bool:
        """Returns whether `rows` have a number that it needs."""
        return not self._selected(rows, self.needs).empty

    def drawn(self, rows: pd.DataFrame) -> Drawn:
        """Returns the figure of what it names in `rows`."""
        return self.draw(self.rows_of(rows))

    def caption_of(self, rows: pd.DataFrame) -> str:
        """Returns the caption without what it tells of quantities that `rows` do not have."""
        known, caption = self.rows_of(rows), self.caption
        for part, quantities in self.only_with.items():
            if select_any(known, quantities).empty:
                caption = caption.replace(f" {part}", "")
        return caption

    def rows_of(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Returns what it sees of `rows`: what it names, where that is finite."""
        return self._selected(rows, self.quantities)

    def _selected(self, rows: pd.DataFrame, quantities: Collection[str]) -> pd.DataFrame:
        found = finite(select_any(rows, quantities))
        return found[found["branch"].isna() & found["split_step"].isna()] if self.of_trunks else found


def finite(rows: pd.DataFrame) -> pd.DataFrame:
    """Returns the rows whose values are numbers that can be drawn."""
    return rows[np.isfinite(rows["value"])]
