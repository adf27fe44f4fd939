"""Does a measure along training announce the onset? Where each turns, and whether that goes with the onset over settings."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from lmc_lab.landscape.rank_correlation import RankCorrelation, rank_correlation, spearman
from lmc_lab.landscape.turning_point import half_life, turning_point
from lmc_lab.reporting.detectors import DETECTORS, LOSS, along_trunks

SHARES = (0.1, 0.25, 0.5, 0.75, 0.9)  # of a detector's changing, of which one is chosen
LOSS_HALVED, INVERSE_RATE = "loss has halved", "1 / rate"
_TRIVIAL = (LOSS_HALVED, INVERSE_RATE)
_LEVEL = 0.95  # of all intervals together


def turning_points(rows: pd.DataFrame, rate: float | None = None) -> pd.DataFrame:
    """Returns where each detector turns along each trunk.

    Args:
        rows: of one task.
        rate: its learning rate, whose inverse is a detector without any measuring; None: left out.

    Returns:
        Columns `trunk`, `detector`, `share` (NaN where there is none to choose) and `step`.
    """
    lines: list[dict[str, object]] = [*_measured(rows)]
    if rate is not None:
        trunks = {line["trunk"] for line in lines}
        lines += [{"trunk": trunk, "detector": INVERSE_RATE, "share": np.nan, "step": 1 / rate} for trunk in trunks]
    return pd.DataFrame(lines, columns=["trunk", "detector", "share", "step"])


def _measured(rows: pd.DataFrame) -> Iterator[dict[str, object]]:
    for quantity, detector in DETECTORS.items():
        for trunk, trunk_rows in along_trunks(rows, quantity).groupby("trunk"):
            steps, values = trunk_rows["step"].astype(float).tolist(), trunk_rows["value"].tolist()
            line: dict[str, object] = {"trunk": trunk, "detector": detector.name}
            yield from (line | {"share": share, "step": turning_point(steps, values, share)} for share in SHARES)
            if quantity == LOSS:
                yield line | {"detector": LOSS_HALVED, "share": np.nan, "step": half_life(steps, values)}


@dataclass(frozen=True)
class Judged:
    """How detectors go with the onset.

    Args:
        share: of their changing at which they turn, chosen on `num_chosen_on` settings.
        num_chosen_on: settings.
        num_judged_on: the other settings.
        found: of each detector, on these; the intervals hold together at 95 %.
    """

    share: float
    num_chosen_on: int
    num_judged_on: int
    found: Mapping[str, RankCorrelation]

    @property
    def rule(self) -> str:
        """Returns the rule, and what it was chosen and judged on, as a sentence."""
        return (
            f"Detectors turn where {self.share:.0%} of their changing is done, chosen on {self.num_chosen_on} settings; rank "
            f"correlation with the onset on the other {self.num_judged_on}, with intervals that hold together at {_LEVEL:.0%}:"
        )

    @property
    def table(self) -> pd.DataFrame:
        """Returns a line for each detector."""
        lines = [
            {"detector": name, "rank correlation with the onset": str(each), "pairs": each.num_pairs}
            for name, each in self.found.items()
        ]
        return pd.DataFrame(lines)


def judge(points: pd.DataFrame, *, seed: int = 0) -> Judged:
    """Returns the rank correlation of each detector's turning point with the onset, over settings.

    One share serves all detectors: the one whose mean size of correlation is largest on one half of the settings, drawn at
    random. The other half judges. Trunks of a setting are resampled together; intervals are corrected for the number of
    detectors (Bonferroni). An infinite onset ranks last.

    Args:
        points: a line for each `setting`, `trunk`, `detector` and `share`: `step` where it turns, and the `onset`.
        seed: of the halves and of the resampling.
    """
    settings = sorted(points["setting"].unique())
    order = np.random.default_rng(seed).permutation(len(settings))
    chosen_on = {settings[number] for number in order[: len(settings) // 2]}
    first = points[points["setting"].isin(chosen_on)]
    share = max(SHARES, key=lambda share: _mean_size(first, share))
    rest = points[~points["setting"].isin(chosen_on)]
    names = list(dict.fromkeys(points["detector"]))
    level = 1 - (1 - _LEVEL) / max(len(names), 1)
    correlations = {name: rank_correlation(*_pairs(rest, name, share), level=level, seed=seed) for name in names}
    return Judged(share, len(chosen_on), len(settings) - len(chosen_on), correlations)


def _mean_size(points: pd.DataFrame, share: float) -> float:
    """Returns the mean size of the correlations of all detectors that are measured, each turning at a share."""
    names = [name for name in points["detector"].unique() if name not in _TRIVIAL]
    sizes = [abs(spearman(*_pairs(points, name, share))) for name in names]
    return float(np.nanmean(sizes)) if np.isfinite(sizes).any() else 0.0


def _pairs(points: pd.DataFrame, detector: str, share: float) -> tuple[Tensor, Tensor]:
    """Returns `step` and `onset` (settings, trunks); a setting that lacks one of them for a trunk is left out."""
    of_detector = points[points["detector"].eq(detector)]
    of_detector = of_detector[of_detector["share"].isna() | of_detector["share"].eq(share)]
    tables = [of_detector.pivot(index="setting", columns="trunk", values=name) for name in ("step", "onset")]
    whole = tables[0].notna().all(axis=1) & tables[1].notna().all(axis=1)
    steps, onsets = (torch.tensor(table[whole].to_numpy(dtype=float)) for table in tables)
    return steps, onsets
