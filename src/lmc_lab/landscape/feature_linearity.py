"""Are features linear in the parameters, up to their scale? Layer-wise linear feature connectivity.

For h the results of a layer on an example, A = h(W_a) at a hull point and B = sum_i a_i h(W_i), the deviation is 1 - |<A,
B>| / (|A| |B|), a mean over examples; beside it stands the same of h(W_i) and h(W_j). It is 0 where A is a multiple of B
(Zhou et al. 2023, NeurIPS, "Going Beyond Linear Mode Connectivity", which has segments; hulls are their like).
"""

from torch import Tensor


def deviations(first: Tensor, second: Tensor) -> Tensor:
    """Returns 1 - |cosine| of features of the same examples, (..., B, ...) with the last dimensions flat: (..., B).

    Args:
        first: features (..., B, F).
        second: others (..., B, F).
    """
    first, second = first.double(), second.double()
    products = (first * second).sum(dim=-1).abs()
    sizes = first.norm(dim=-1) * second.norm(dim=-1)
    # Without any features both are the same; where one alone has none, nothing is alike.
    both = (first.norm(dim=-1) == 0) & (second.norm(dim=-1) == 0)
    return (1 - products / sizes.masked_fill(sizes == 0, 1)).masked_fill(both, 0)
