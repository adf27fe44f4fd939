"""Measures along training that may announce the onset: which there are, and their rows."""

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd


@dataclass(frozen=True)
class Detector:
    """What a detector is called, and whether it is drawn on a logarithmic axis."""

    name: str
    is_log: bool = False


LOSS = "train_loss"
DETECTORS: Mapping[str, Detector] = {
    LOSS: Detector("training loss", is_log=True),
    "nc1": Detector("NC1", is_log=True),
    "nc3": Detector("NC3"),
    "lambda_max": Detector("largest eigenvalue", is_log=True),
    "hessian_ratio": Detector("lambda_min / lambda_max"),
    "lyapunov_exponent": Detector("Lyapunov exponent"),
    "kernel_velocity": Detector("kernel velocity", is_log=True),
}
UNUSUAL = ("nc1", "lyapunov_exponent", "kernel_velocity")  # those that no figure of the paper has


def along_trunks(rows: pd.DataFrame, quantity: str) -> pd.DataFrame:
    """Returns the rows of a detector along trunks, by their steps."""
    of_trunks = rows[
        rows["quantity"].eq(quantity) & rows["branch"].isna() & rows["split_step"].isna() & rows["step"].notna()
    ]
    return of_trunks[of_trunks["subset"].isna() | of_trunks["subset"].eq("train")].sort_values("step", kind="stable")
