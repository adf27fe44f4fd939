"""What the benchmarks compute from times; no time is judged here."""

import csv

import pytest
from benchmarks import page
from benchmarks.common import REPOSITORY, Row, alternate, bounded, duration, faster, machine, slower


def test_sides_run_in_turn_and_every_other_round_backwards():
    calls = []
    found = alternate(lambda: calls.append("a") or 1.0, lambda: calls.append("b") or 2.0, repeats=3)
    assert calls == ["a", "b", "b", "a", "a", "b"] and found == [[1.0] * 3, [2.0] * 3]


def test_a_ratio_is_the_median_over_rounds():
    ours, theirs = [1.0, 2.0, 4.0], [8.0, 4.0, 12.0]  # 8, 2 and 3 times as long
    assert (
        faster("it", ours, theirs, at_least=3).ratio == "3.00x faster" and faster("it", ours, theirs, at_least=3).is_met
    )
    assert not faster("it", ours, theirs, at_least=3.01).is_met
    assert slower("it", ours, theirs, at_most=0.33).is_met is False and slower("it", ours, theirs).is_met is None


@pytest.mark.parametrize(
    ("seconds", "text"), [(1, "1 s"), (0.9996, "1 s"), (0.4, "400 ms"), (2e-5, "20 us"), (-0.002, "-2 ms")]
)
def test_a_duration_has_three_digits(seconds, text):
    assert duration(seconds) == text


def test_what_stands_beside_a_bounded_time_is_not_judged():
    row = bounded("it", [0.4, 0.4], at_most=0.5, beside=[0.1, 0.1])
    assert (row.is_met, row.theirs, row.ratio) == (True, "100 ms", "4.00x its time")
    assert not bounded("it", [0.6], at_most=0.5, beside=[1.0]).is_met


def test_what_is_written_by_hand_stays_below_a_new_table(tmp_path):
    path = tmp_path / "performance.md"
    row = Row(what="it", ours="1 s", theirs="2 s", is_met=True)
    page.save(path, page.render([row], machine={"CPU": "some"}, command="python -m benchmarks"))
    path.write_text(path.read_text() + "By hand.\n")
    page.save(path, page.render([row, row], machine={"CPU": "other"}, command="python -m benchmarks"))
    text = path.read_text()
    assert text.endswith("By hand.\n") and text.count("| it |") == 2 and "some" not in text


def test_a_history_only_grows(tmp_path):
    path = tmp_path / "measurements.csv"
    row = Row(what="it, of 1,000", ours="1 s", theirs="2 s", ratio="2x faster", goal=">= 1x", note="a | b")
    for date in ("2026-01-01", "2026-01-02"):
        before = path.read_text() if path.exists() else ""
        page.append(path, [row], machine={"date": date, "CPU": "some", "code": "0"})
        assert path.read_text().startswith(before)
    first, second = csv.DictReader(path.read_text().splitlines())
    assert first | {"date": "2026-01-02"} == second and second["what"] == row.what and second["remarks"] == row.note


def test_the_history_in_docs_has_every_row_of_the_table():
    """Whoever writes a new table adds to the history."""
    lines = list(csv.reader((REPOSITORY / "docs" / "measurements.csv").read_text().splitlines()))
    assert tuple(lines[0]) == page.HISTORY and {len(line) for line in lines} == {len(page.HISTORY)}
    known = {tuple(line[3:5]) for line in lines}
    measured = (REPOSITORY / "docs" / "performance.md").read_text().partition("<!--")[0]
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in measured.splitlines() if "|" in line]
    rows = {(what, ours) for what, ours, *_ in cells if what not in ("what", "---")}
    assert len(rows) > 15 and rows <= known


def test_the_code_that_was_measured_is_named():
    assert machine()["code"].startswith("lmc_lab ")


@pytest.mark.parametrize(("num_examples", "num_steps"), [(10_000, 79), (512, 5)])
def test_a_trial_of_the_script_has_whole_epochs(num_examples, num_steps):
    from benchmarks.baseline import trial_cell

    assert trial_cell(num_examples).num_steps == num_steps
