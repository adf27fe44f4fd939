"""The claims of the paper, each with a rule by which rows decide whether it was seen, and the numbers behind it."""

from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd

from lmc_lab.reporting import judgements
from lmc_lab.reporting.judgements import Judgement


@dataclass(frozen=True)
class Claim:
    """A claim of Yunis et al.; `judge` takes the rows of one task, of endpoints and trunks."""

    statement: str
    source: str  # "Figure 2, top", which the report's figure2 shows
    rule: str
    judge: Callable[[pd.DataFrame], Judgement]

    @property
    def figure(self) -> str:
        """Returns the name of the report's figure."""
        return self.source.partition(",")[0].lower().replace(" ", "")


def claims_table(rows: pd.DataFrame) -> pd.DataFrame:
    """Returns a line for each claim and task: what was found, and the numbers."""
    lines = [
        {
            "task": task,
            "claim": f"{number}. {claim.statement}",
            "found": judgement.verdict,
            "numbers": judgement.numbers,
        }
        for task in dict.fromkeys(rows["task"])
        for of_task in [rows[rows["task"] == task]]
        for number, claim in enumerate(CLAIMS, start=1)
        for judgement in [claim.judge(of_task)]
    ]
    return pd.DataFrame(lines, columns=["task", "claim", "found", "numbers"])


CLAIMS = (
    Claim(
        "After an early split random points of the hull are better than their nearest endpoint",
        "Figure 2, top",
        "p_conv is at least 0.9 from some split on, in every trunk",
        judgements.hull_is_better,
    ),
    Claim(
        "Perturbations as long are almost always worse",
        "Figure 2, top",
        "p_rand is at most 0.1 at every split of every trunk",
        judgements.perturbations_are_worse,
    ),
    Claim(
        "The hull is as large as the way to it",
        "Figure 2, bottom",
        "the distance between endpoints is within a factor of 3.2 of that from W_0, at each trunk's first convex hull",
        judgements.hull_is_large,
    ),
    Claim(
        "The hull has all its P - 1 dimensions, also beyond the number of classes K",
        "Figure 3",
        "no centred singular value before the last is less than half of the one before it, for P - 1 > K",
        judgements.hull_is_high_dimensional,
    ),
    Claim(
        "The Hessian's negative eigenvalues are small and do not announce the onset",
        "Figure 4, top",
        "lambda_min / lambda_max is between -0.25 and 0 from T/100 on, and its ranges at endpoints of convex and other hulls "
        "overlap where both were measured",
        judgements.curvature_tells_nothing,
    ),
    Claim(
        "Between two possible updates the loss is convex throughout",
        "Figure 4, bottom",
        "P(g < 0) is at least 0.9 at every state",
        judgements.updates_look_convex,
    ),
    Claim(
        "Points of the hull are more accurate than the endpoints",
        "Figure 5, top",
        "the mean training accuracy of hull points is above that of endpoints at every split from the onset on",
        judgements.hull_is_more_accurate,
    ),
    Claim(
        "Endpoints of a hull share far fewer correct predictions than each has, and hulls share fewer still",
        "Figure 5, bottom",
        "from the onset on the share that all endpoints have right is at least 0.1 below their accuracy, and that of the "
        "hulls of all trunks below that of each; not tested with one trunk where the first holds",
        judgements.functions_differ,
    ),
    Claim(
        "The onset is early: before the loss has halved",
        "Figure 6",
        "the trunk's training loss at the first split that holds is above half of its first, in every trunk; "
        "not tested where it is halved between the last split that fails and that, or where another trunk has no onset",
        judgements.onset_is_early,
    ),
)
