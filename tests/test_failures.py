import importlib
import pickle

import pytest
import torch

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


def broken_model():
    return torch.nn.Linear(2, 3)(torch.zeros(1, 5))


def test_a_mistake_in_code_of_the_users_is_shown_without_the_frames_of_libraries(capsys, monkeypatch):
    def told():
        failures = Failures("analysis")
        with failures.collected("pairs"):
            broken_model()
        return capsys.readouterr().err

    short = told()
    assert short.startswith("Traceback") and "in broken_model" in short and "torch/nn" not in short
    assert short.rstrip().splitlines()[-1].startswith("RuntimeError: mat1 and mat2 shapes cannot be multiplied")
    monkeypatch.setenv("LMC_DEBUG", "1")
    assert "torch/nn" in told()


def test_a_file_that_is_no_python_is_shown_where(tmp_path, monkeypatch, capsys):
    (tmp_path / "no_python_here.py").write_text("class Net(:\n    pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    failures = Failures("analysis")
    with failures.collected("pairs"):
        importlib.import_module("no_python_here")
    told = capsys.readouterr().err
    assert 'no_python_here.py", line 1' in told and "frozen importlib" not in told


def test_what_the_user_says_of_a_cause_is_shown_with_it(capsys):
    def build():
        try:
            return {}["width"]
        except KeyError as error:
            raise ValueError("my model needs a width") from error

    failures = Failures("analysis")
    with failures.collected("pairs"):
        build()
    told = capsys.readouterr().err
    assert (
        told.index("KeyError: 'width'")
        < told.index("which was the cause of")
        < told.index("ValueError: my model needs")
    )
