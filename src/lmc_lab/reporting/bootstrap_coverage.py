"""How sure the intervals of barriers and instabilities are: what a bootstrap over P endpoints covers where it says 95 %.

Few members make a bootstrap too sure. How much was simulated once, by `benchmarks/bootstrap_coverage.py`; a share of its 1,000
trials is known to 1 to 2 %.
"""

from collections.abc import Collection, Mapping

COVERAGE: Mapping[
    int, tuple[float, float]
] = {  # by P, of the two quantities that stand for a barrier and an instability
    3: (0.53, 0.62),
    4: (0.75, 0.87),
    5: (0.79, 0.87),
    6: (0.84, 0.91),
    7: (0.83, 0.90),
    8: (0.87, 0.91),
    9: (0.86, 0.91),
    10: (0.87, 0.90),
    11: (0.88, 0.90),
    12: (0.89, 0.91),
    13: (0.89, 0.91),
    14: (0.90, 0.93),
    15: (0.90, 0.91),
    16: (0.91, 0.93),
    17: (0.90, 0.92),
    18: (0.91, 0.93),
    19: (0.92, 0.94),
    20: (0.91, 0.93),
}


def coverage_text(nums_endpoints: Collection[int]) -> str:
    """Returns what intervals over these numbers of endpoints cover, as "53 to 62 %".

    Args:
        nums_endpoints: at least 3 each; of fewer there is no interval. More than were simulated are said to cover as much
            as the most of these.
    """
    known = [COVERAGE[min(number, max(COVERAGE))] for number in nums_endpoints]
    low, high = min(low for low, _ in known), max(high for _, high in known)
    return f"{low * 100:.0f} to {high * 100:.0f} %"
