"""What rows say of the paper's claims: each rule on rows that are made up, seen and not seen."""

import pandas as pd
import pytest

from lmc_lab.reporting.claims import CLAIMS, claims_table
from lmc_lab.reporting.judgements import Verdict
from lmc_lab.results.row_file import SCHEMA

SEEN, NOT_SEEN, NOT_TESTED, DOES_NOT_APPLY = Verdict


def frame(lines):
    return pd.DataFrame(lines).reindex(columns=list(SCHEMA)).astype(SCHEMA)


def row(quantity, value, *, trunk=0, **columns):
    return {"task": "made up", "trunk": trunk, "quantity": quantity, "value": value} | columns


def train(quantity, value, **columns):
    return row(quantity, value, subset="train", **columns)


def onset(held=100, failed=20, **columns):
    return train("onset_p_conv", float("inf") if held is None else held, high=held, low=failed, **columns)


def singular_values(*values):
    return [row("singular_value_centred", value, split_step=100, index=i) for i, value in enumerate(values, start=1)]


def accuracies(endpoint, hull_point, *, split_step=100):
    levels = {"endpoint_accuracy": endpoint, "hull_point_accuracy": hull_point, "endpoint_loss": 1.0}
    return [train(name, value, split_step=split_step) for name, value in levels.items()]


def shares(intra, inter, equal):
    return [
        train("intra_mode", intra, split_step=100),
        train("inter_mode", inter, trunk=None, split_step=100),
        train("equal_count_control", equal, trunk=None, split_step=100),
    ]


def curve(*values):
    return [row("train_loss", value, step=step) for step, value in zip((50, 100, 1000), values, strict=True)]


def hessian(*ratios):
    return [row("hessian_ratio", ratio, step=step) for step, ratio in zip((0, 10, 1000), ratios, strict=True)]


def of_endpoints(late, early, *, on_the_way=None):
    ends = [row("hessian_ratio", late, split_step=100), row("hessian_ratio", early, split_step=20)]
    if on_the_way is None:
        return ends
    states = [end | {"branch": 0, "step": 1000} for end in ends]
    return [*states, *(state | {"step": 500, "value": on_the_way} for state in states)]


P_RAND = {"low": 0.0, "high": 0.2, "split_step": 0}
LENGTHS = [row("endpoint_start", 10.0, split_step=100)]
REGRESSION = [train("endpoint_loss", 1.0, split_step=100)]
CASES = [
    (1, [onset()], SEEN, "trunk 0: fails last at k = 20, holds from k = 100"),
    (1, [onset(), onset(None, 1000, trunk=1)], NOT_SEEN, "trunk 1: fails last at k = 1000, holds at no later split"),
    (1, [onset(0, None)], SEEN, "trunk 0: holds from the first split on, k = 0"),
    (1, [], NOT_TESTED, ""),
    (
        1,
        [onset(None, 1000), train("onset_p_conv_unmeasured", 1000)],
        NOT_TESTED,
        "p_conv is missing where it is said to fail",
    ),
    (1, [onset(), train("onset_p_conv_unmeasured", 0)], SEEN, "holds from k = 100"),
    (2, [train("p_rand", 0.02, **P_RAND), train("p_rand", 0.1, **P_RAND)], SEEN, "at most 0.10 [0.00, 0.20]"),
    (2, [train("p_rand", 0.02, **P_RAND), train("p_rand", 0.3, trunk=1, **P_RAND)], NOT_SEEN, "at most 0.30"),
    (3, [onset(), *LENGTHS, row("endpoint_endpoint", 5.0, split_step=100)], SEEN, "0.50 times"),
    (3, [onset(), *LENGTHS, row("endpoint_endpoint", 1.0, split_step=100)], NOT_SEEN, "0.10 times"),
    (
        3,
        [
            onset(),
            row("endpoint_start", 10.0, split_step=100, low=8.0, high=12.0),
            row("endpoint_endpoint", 5.0, split_step=100, low=4.8, high=5.2),
        ],
        SEEN,
        "two endpoints are 0.50 [0.40, 0.65] times as far apart",
    ),
    (3, [onset(200), *LENGTHS, row("endpoint_endpoint", 5.0, split_step=100)], NOT_TESTED, ""),
    (4, [row("num_outputs", 2), *singular_values(1, 0.9, 0.8, 0.7, 1e-9)], SEEN, "value K + 1 at least 0.89"),
    (4, [row("num_outputs", 2), *singular_values(1, 0.9, 0.2, 0.19, 1e-9)], NOT_SEEN, "value K + 1 at least 0.22"),
    (4, [row("num_outputs", 10), *singular_values(1, 0.9, 0.8, 1e-9)], NOT_TESTED, "P = 4, which is not beyond K = 10"),
    (5, hessian(-0.9, -0.1, -0.02), SEEN, "-0.10 to -0.02 along the trunks, -0.90 before T/100"),
    (5, hessian(-0.9, -0.1, -0.3), NOT_SEEN, "-0.30 to -0.10"),
    (5, hessian(-0.9, -0.1, 0.01), NOT_SEEN, "-0.10 to 0.01"),
    (
        5,
        [onset(), *hessian(0, -0.1, -0.1), *of_endpoints(-0.02, -0.2)],
        NOT_SEEN,
        "-0.02 of convex hulls, -0.20 of others",
    ),
    (
        5,
        [onset(), *hessian(0, -0.1, -0.1), *of_endpoints(-0.02, -0.02, on_the_way=-0.2)],
        SEEN,
        "-0.02 of convex hulls, -0.02 of others",
    ),
    (6, [row("p_gap_negative", 0.95, low=0.8, high=1.0, step=0)], SEEN, "at least 0.95 [0.80, 1.00], at 1 states"),
    (6, [row("p_gap_negative", value, low=0.0, high=1.0, step=0) for value in (1.0, 0.5)], NOT_SEEN, "at 2 states"),
    (
        7,
        [onset(), *accuracies(0.7, 0.75), *accuracies(0.7, 0.6, split_step=20)],
        SEEN,
        "+0.050 on the training set, from the onset on; where it is least, 0.750 against 0.700",
    ),
    (7, [onset(), *accuracies(0.7, 0.65)], NOT_SEEN, "-0.050"),
    (7, [onset(None), *accuracies(0.7, 0.75)], NOT_TESTED, "no hull is convex"),
    (7, REGRESSION, DOES_NOT_APPLY, ""),
    (8, [onset(), *accuracies(0.7, 0.75), *shares(0.5, 0.4, 0.45)], SEEN, "of all hulls 0.40, as many endpoints"),
    (8, [onset(), *accuracies(0.7, 0.75), *shares(0.65, 0.4, 0.45)], NOT_SEEN, "have 0.65 right, each 0.70"),
    (8, [onset(), *accuracies(0.7, 0.75), *shares(0.5, 0.55, 0.5)], NOT_SEEN, "of all hulls 0.55"),
    (8, [onset(), *accuracies(0.7, 0.75), *shares(0.5, 0.4, 0.45)[:1]], NOT_TESTED, "several trunks were not compared"),
    (8, [onset(), *accuracies(0.7, 0.75), *shares(0.65, 0.4, 0.45)[:1]], NOT_SEEN, "have 0.65 right, each 0.70"),
    (8, REGRESSION, DOES_NOT_APPLY, ""),
    (9, [onset(), *curve(2.0, 1.5, 0.5)], SEEN, "10.0% of T, loss 1.5 between 2 and 0.5"),
    (9, [onset(200, 100), *curve(2.0, 0.9, 0.5)], NOT_SEEN, "loss 0.9"),
    (
        9,
        [onset(100, 20), row("initial_loss", 4.5, step=0), *curve(2.0, 1.5, 0.5)],
        NOT_SEEN,
        "loss 1.5 between 4.5 and 0.5",
    ),
    (
        9,
        [onset(0, None), row("initial_loss", 4.5, step=0), *curve(2.0, 1.5, 0.5)],
        SEEN,
        "loss 4.5 between 4.5 and 0.5",
    ),
    (9, [onset(200, None), *curve(0.9, 0.4, 0.2)], NOT_TESTED, "loss 0.4"),
    (9, [onset(), *curve(2.0, 0.9, 0.5)], NOT_TESTED, "loss 0.9 between 2 and 0.5; 2 at k = 20, which fails"),
    (9, [onset(None), *curve(2.0, 0.9, 0.5)], NOT_TESTED, ""),
    (9, [onset(), onset(None, 1000, trunk=1), *curve(2.0, 1.5, 0.5)], NOT_TESTED, "trunk 1 has no onset"),
    (9, [onset(200, 100), onset(None, 1000, trunk=1), *curve(2.0, 0.9, 0.5)], NOT_SEEN, "trunk 1 has no onset"),
]


@pytest.mark.parametrize(("number", "lines", "verdict", "numbers"), CASES)
def test_a_rule_decides(number, lines, verdict, numbers):
    found = CLAIMS[number - 1].judge(frame(lines))
    assert found.verdict is verdict and numbers in found.numbers


def test_without_rows_nothing_is_tested():
    assert {claim.judge(frame([])).verdict for claim in CLAIMS} == {NOT_TESTED}


def test_a_table_has_a_line_for_each_claim_and_task():
    rows = frame([onset(), onset() | {"task": "other"}])
    table = claims_table(rows)
    assert len(table) == 2 * len(CLAIMS) == 18 and table["found"].tolist().count("seen") == 2
    assert claims_table(frame([])).empty
