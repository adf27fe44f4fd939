"""The examples behind the shared predictions: which of them do many endpoints have right, and which none?"""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from torch import Tensor


def example_table(masks: Mapping[int, Tensor], targets: Tensor, *, num_examples: int = 100) -> pd.DataFrame:
    """Returns examples from those that no endpoint has right to those that all have, evenly spaced by that number.

    Args:
        masks: correct masks C_i^j, bool (P, N), of the modes of one trunk by split step.
        targets: (N,).
        num_examples: to show.
    """
    counts = pd.DataFrame({f"right at k={step}": mask.sum(dim=0) for step, mask in sorted(masks.items())})
    num_right = counts.sum(axis=1)
    order = np.argsort(num_right.to_numpy(), kind="stable")
    chosen = order[np.linspace(0, len(order) - 1, min(num_examples, len(order))).astype(int)]
    table = counts.iloc[chosen].reset_index(names="example")
    table.insert(1, "target", targets[chosen].tolist())
    return table
