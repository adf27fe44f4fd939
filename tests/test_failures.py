import pickle

import pytest

from lmc_lab.errors import UserError
from lmc_lab.failures import Failures, PartsFailed
from lmc_lab.runs.status import Diverged


def run(errors):
    failures = Failures("analysis")
    done = []
    for name, error in errors.items():
        with failures.collected(name):
            if error:
                raise error
            done.append(name)
    return failures, done


def test_a_part_that_fails_costs_only_itself(capsys):
    failures, done = run({"pairs": UserError("expected A"), "spectrum": None, "distances": UserError("expected A")})
    assert done == ["spectrum"] and "pairs" in failures and "spectrum" not in failures
    with pytest.raises(
        PartsFailed, match="every analysis to succeed, found that pairs, distances failed: expected A$"
    ) as told:
        failures.tell()
    assert told.value.reasons == {"pairs": "expected A", "distances": "expected A"}
    assert capsys.readouterr().err == ""


def test_what_all_parts_failed_of_is_the_whole_sentence():
    failures, _ = run({"pairs": UserError("expected A"), "distances": UserError("expected A")})
    with pytest.raises(UserError, match="^expected A$"):
        failures.tell()


def test_a_bug_has_its_traceback_and_does_not_stop_the_others(capsys):
    failures, done = run({"pairs": RuntimeError("two\nlines"), "spectrum": None})
    assert done == ["spectrum"] and "test_failures.py" in capsys.readouterr().err
    with pytest.raises(UserError, match="pairs failed: RuntimeError") as told:
        failures.tell()
    assert "\n" not in str(told.value)


def test_whoever_asks_for_tracebacks_gets_that_of_each_part(capsys, monkeypatch):
    monkeypatch.setenv("LMC_DEBUG", "1")
    failures, _ = run({"pairs": UserError("expected A"), "spectrum": UserError("expected B"), "distances": None})
    told = capsys.readouterr().err
    assert told.count("Traceback") == 2 and "test_failures.py" in told and "UserError: expected B" in told
    with pytest.raises(UserError, match="expected A"):
        failures.tell()


def test_an_interrupt_is_no_failure_of_a_part():
    with pytest.raises(KeyboardInterrupt):
        run({"pairs": KeyboardInterrupt()})


def test_nothing_is_said_when_nothing_failed():
    run({"pairs": None})[0].tell()


def test_errors_come_through_pickle():
    """As a launcher that runs jobs elsewhere brings them back."""
    for error in (
        PartsFailed("one of two", {"seed=1": "why"}),
        Diverged("tiny/trunk-0", 7, None),
        UserError("expected"),
    ):
        again = pickle.loads(pickle.dumps(error))
        assert type(again) is type(error) and str(again) == str(error) and vars(again) == vars(error)
