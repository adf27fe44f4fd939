"""The assignment of units, by scipy, which `landscape` does without."""

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor


def best_assignment(scores: Tensor) -> Tensor:
    """Returns for each row of `scores` (n, n) a column of its own, int64 (n,), so that their sum is largest."""
    _, columns = linear_sum_assignment(scores.cpu().numpy(), maximize=True)
    return torch.as_tensor(columns)
