"""What a config says of classes and functions is compared with what they take."""

import sys

import pytest
import torch
from omegaconf import OmegaConf

from lmc_lab.construct import check_arguments, check_node, factory
from lmc_lab.errors import UserError, is_users_own
from lmc_lab.landscape.statistics import wilson_interval
from lmc_lab.runs.experiment import RunSettings
from lmc_lab.sentences import sentence

PACKAGE = """
class Wide:
    def __init__(self, width: int, depth=2, *, kernels: "list[int]" = (3,)):
        self.width, self.kernels = width, kernels

class Unresolved:
    def __init__(self, names: "Unknown", kernels: "list[int]"):
        pass

class Fails:
    def __init__(self, width=3):
        raise TypeError("unexpected keyword argument 'width'")

class PassesOn(Wide):
    def __init__(self, **arguments):
        super().__init__(**arguments)

def load(*, data_dir, cache_dir, num_train: int | None = None):
    return num_train

value = 3
"""


@pytest.fixture(autouse=True)
def own_package(tmp_path, monkeypatch):
    (tmp_path / "own_package.py").write_text(PACKAGE)
    (tmp_path / "broken_package.py").write_text("import a_module_that_is_nowhere")
    monkeypatch.syspath_prepend(tmp_path)
    yield
    sys.modules.pop("own_package", None)


def refusal(node, **call):
    with pytest.raises(UserError) as error:
        check_node(node, "task.model", **call)
    assert (
        str(error.value).startswith("expected ") and "task.model" in str(error.value) and "\n" not in str(error.value)
    )
    return str(error.value)


@pytest.mark.parametrize(
    ("target", "answer"),
    [
        ("own_package.Wiide", "did you mean 'own_package.Wide'?"),
        ("own_packag.Wide", "did you mean 'own_package.Wide'?"),
        ("torch.optim.SGDD", "did you mean 'torch.optim.SGD'?"),
        ("lmc_lab.models.lennet.LeNet", "did you mean 'lmc_lab.models.lenet.LeNet'?"),
        ("zzz_nowhere.Wide", "set PYTHONPATH"),
        ("own_package.zzz", "and no 'own_package.zzz'; change it"),
        ("own_package.Wide.zzz", "and no 'own_package.Wide.zzz'"),
        ("own_package.value", "which is neither"),
        ("Wide", "a dotted name"),
        ("own_package.", "a dotted name"),
        (None, "found null"),
        (3, "found 3"),
    ],
)
def test_a_target_that_does_not_exist_is_answered_with_the_nearest(target, answer):
    assert answer in refusal({"_target_": target, "width": 3})


@pytest.mark.parametrize(
    ("node", "answer"),
    [
        ("lenet", "expected task.model to be a node with a _target_, found 'lenet'"),
        ({"_target_": "own_package.Wide", "widht": 3}, "found 'widht'; did you mean 'width'?"),
        ({"_target_": "own_package.Wide"}, "add +task.model.width=…"),
        ({"_target_": "own_package.Wide", "width": "wide"}, "task.model.width to be a whole number, found 'wide'"),
        ({"_target_": "own_package.Wide", "width": 3, "kernels": [3, "x"]}, "task.model.kernels to be a list"),
        ({"_target_": "own_package.Wide", "_args_": [1, 2, 3]}, "to be called with 3 arguments"),
        ({"_target_": "own_package.Wide", "_args_": [1], "width": 2}, "found 'width'"),
        ({"_target_": "own_package.PassesOn", "inner": {"_target_": "own_package.Wide"}}, "+task.model.inner.width=…"),
        ({"_target_": "own_package.PassesOn", "inner": [{"_target_": "own_package.No"}]}, "task.model.inner.0._target_"),
    ],
)  # fmt: skip
def test_arguments_that_a_target_does_not_take_are_refused(node, answer):
    assert answer in refusal(node)


def test_a_function_that_does_not_take_what_it_will_be_called_with_is_refused():
    node = {"_target_": "own_package.load", "_partial_": True}
    check_node(node, "task.data", named=("data_dir", "cache_dir"))
    assert "add +task.model.data_dir=…" in refusal(node, named=("cache_dir",))
    assert "to be called with" in refusal({"_target_": "own_package.Wide"}, named=("width", "data_dir"))
    assert "to be called with 5 arguments" in refusal({"_target_": "own_package.Wide"}, num_positional=5)


@pytest.mark.parametrize(
    "node",
    [
        {"_target_": "own_package.Unresolved", "names": 5, "kernels": "x"},
        {"_target_": "own_package.PassesOn", "whatever": 3},
        {"_target_": "torch.optim.Adam", "_partial_": True, "lr": 1, "betas": [0.9, 0.99]},
        {"_target_": "torch.nn.Linear", "in_features": 2, "out_features": 3, "device": "cpu", "dtype": None},
        {"_target_": "own_package.PassesOn", "inner": {"_target_": "own_package.Wide", "_partial_": True}},
    ],
)
def test_what_may_be_right_is_left_to_the_target(node):
    check_node(node, "task.model")


def test_a_module_that_cannot_be_imported_keeps_its_own_error():
    with pytest.raises(ModuleNotFoundError, match="a_module_that_is_nowhere"):
        check_node({"_target_": "broken_package.Model"}, "task.model")


def made(node, *arguments, **call):
    return factory(OmegaConf.create({"task": {"model": node}}), "task.model", **call)(*arguments)


def test_lists_are_lists_for_whom_they_are_made():
    assert type(made({"_target_": "own_package.Wide", "width": 3, "kernels": [1, 2]}).kernels) is list


@pytest.mark.parametrize(
    ("node", "arguments", "answer"),
    [
        ({"_target_": "torch.optim.SGD", "_partial_": True, "lr": -1.0}, ([torch.zeros(1, requires_grad=True)],),
         "expected task.model to be what torch.optim.SGD takes, found that it answers: Invalid learning rate: -1.0"),
        ({"_target_": "torch.nn.GroupNorm", "num_groups": 0, "num_channels": 4}, (), "torch.nn.GroupNorm takes"),
        ({"_target_": "torch.zeros", "_args_": ["x"]}, (), "torch.zeros takes"),
        ({"_target_": "torch.nn.Sequential", "_args_": [{"_target_": "torch.nn.Linear", "in_features": -1,
          "out_features": 2}]}, (), "negative dimension"),
    ],
)  # fmt: skip
def test_a_library_that_refuses_an_argument_is_one_sentence(node, arguments, answer):
    with pytest.raises(UserError) as error:
        made(node, *arguments, num_positional=len(arguments))
    assert answer in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("nested", [False, True])
def test_an_error_of_the_users_constructor_stays_what_it_is(nested):
    node = {"_target_": "own_package.Fails"}
    with pytest.raises(TypeError, match="unexpected keyword argument 'width'") as error:
        made({"_target_": "torch.nn.Sequential", "_args_": [node]} if nested else node)
    assert error.traceback[-1].path.name == "own_package.py"


def test_keys_of_a_mapping_are_those_of_its_class():
    check_arguments(RunSettings, {"log_every": 1, "evaluate_every": None, "save_steps": [0, 3]}, "run")
    for given, answer in [
        ({"log_evry": 3}, "did you mean 'log_every'?"),
        ({"log_every": 0}, "expected run.log_every to be a whole number >= 1, found 0"),
        ({"resume_seconds": -1}, "expected run.resume_seconds to be a number >= 0, found -1"),
        ({"save_steps": [-1]}, "a list in which each is a whole number >= 0, found [-1]"),
    ]:
        with pytest.raises(UserError) as error:
            check_arguments(RunSettings, given, "run")
        assert answer in str(error.value)


def caught(raise_it, *arguments):
    """Returns the error with the traceback that it has beneath this test."""
    with pytest.raises(Exception) as error:
        raise_it(*arguments)
    return error.value.with_traceback(error.tb.tb_next)


def raise_expected():
    raise ValueError("expected 2D or 3D input (got 4D input)")


def test_an_error_belongs_to_whom_it_is_raised_by_whatever_it_says():
    ours = caught(wilson_interval, 5, 3)
    assert not is_users_own(ours)
    theirs = caught(raise_expected)
    assert is_users_own(theirs)
    through_ours = caught(lambda: wilson_interval(5, 3))  # a program of the user's that calls a function of ours
    assert is_users_own(through_ours)
    behind = RuntimeError("a library's")
    behind.__cause__ = theirs
    assert is_users_own(behind)


def raising(error, module):
    """Returns a function of another module that raises `error`."""
    names = {"__name__": module, "error": error}
    exec("def fail(*arguments, **keywords):\n    raise error", names)
    return names["fail"]


NO_MEMORY = torch.OutOfMemoryError("CUDA out of memory")
BUGS = [KeyError("checksums"), AttributeError("x"), ValueError("y"), TypeError("z"), RuntimeError("u"), NO_MEMORY]


@pytest.mark.parametrize("bug", BUGS, ids=repr)
@pytest.mark.parametrize("nested", [False, True])
def test_a_bug_in_what_a_target_of_this_package_does_stays_what_it_is(monkeypatch, bug, nested):
    monkeypatch.setattr("lmc_lab.data.mnist1d.decoded_once", raising(bug, "lmc_lab.data.cache"))
    node = {"_target_": "lmc_lab.data.mnist1d.load", "cache_dir": "."}
    with pytest.raises(type(bug)) as error:
        made({"_target_": "torch.nn.Sequential", "_args_": [node]} if nested else node)
    assert error.value is bug and error.traceback[-1].name == "fail" and sentence(bug) is None


@pytest.mark.parametrize("bug", [NO_MEMORY, NotImplementedError("x"), KeyError("y")], ids=repr)
def test_what_a_library_says_of_something_else_than_its_arguments_stays_what_it_is(monkeypatch, bug):
    monkeypatch.setattr("torch.nn.Linear.reset_parameters", raising(bug, "torch.nn.modules.linear"))
    with pytest.raises(type(bug)):
        made({"_target_": "torch.nn.Linear", "in_features": 2, "out_features": 3})


def test_a_library_that_refuses_what_code_of_this_package_gives_it_is_a_bug():
    with pytest.raises(RuntimeError, match="negative dimension") as error:
        made({"_target_": "lmc_lab.models.siren._linear", "in_features": -1, "out_features": 2, "bound": 1.0})
    assert sentence(error.value) is None


def test_a_contract_between_functions_of_this_package_is_no_sentence():
    assert sentence(caught(wilson_interval, 5, 3)) is None
