"""State dicts in whatever file they were saved, without running a line of it."""

import pickle

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from lmc_lab.errors import UserError
from lmc_lab.runs.weight_file import read_state_dict

STATE = {"0.weight": torch.arange(6.0).reshape(2, 3), "0.bias": torch.ones(2, dtype=torch.float64)}
LIGHTNING = {
    "epoch": 3,
    "state_dict": STATE,
    "optimizer_states": [{"state": {0: {"step": torch.tensor(3.0)}}, "param_groups": [{"lr": 0.1, "params": [0]}]}],
    "hyper_parameters": {"model": "resnet", "lr": 0.1},
}
FILES = {
    "a.pt": lambda path: torch.save(STATE, path),
    "a.pth": lambda path: torch.save(STATE, path, _use_new_zipfile_serialization=False),
    "a.bin": lambda path: torch.save({name: nn.Parameter(tensor) for name, tensor in STATE.items()}, path),
    "a.safetensors": lambda path: save_file(STATE, path),
    "a.ckpt": lambda path: torch.save(LIGHTNING, path),
    "model.pt": lambda path: torch.save({"model": STATE, "step": 7}, path),
    "tutorial.tar": lambda path: torch.save({"epoch": 5, "model_state_dict": STATE, "loss": 0.3}, path),
    "deeper.pt": lambda path: torch.save({"model": {"state_dict": STATE}}, path),
}


@pytest.mark.parametrize("name", FILES)
def test_the_state_dict_is_found(tmp_path, name):
    FILES[name](tmp_path / name)
    found = read_state_dict(tmp_path / name)
    assert found.keys() == STATE.keys() and all(torch.equal(found[key], STATE[key]) for key in STATE)


class Trap:
    def __reduce__(self):
        return exec, ("raise SystemExit('code of a stranger')",)


@pytest.mark.parametrize("is_zip", [True, False])
@pytest.mark.parametrize(
    ("content", "named"), [(nn.Linear(2, 2), "Linear"), ({"state_dict": STATE, "x": Trap()}, "exec")]
)
def test_a_pickle_with_code_is_refused_and_not_run(tmp_path, content, named, is_zip):
    torch.save(content, tmp_path / "a.pt", _use_new_zipfile_serialization=is_zip)
    with pytest.raises(UserError, match=rf"plain data in .*a.pt, found a pickle that calls \S*{named}; load it where"):
        read_state_dict(tmp_path / "a.pt")


@pytest.mark.parametrize("content", [{"weight": [1.0, 2.0]}, {"x": Trap()}])
def test_a_pickle_of_others_is_refused_and_not_run(tmp_path, content):
    (tmp_path / "a.pt").write_bytes(pickle.dumps(content))
    with pytest.raises(
        UserError, match=r"what torch.save writes in .*a.pt, found another pickle, of which no code is run"
    ):
        read_state_dict(tmp_path / "a.pt")


@pytest.mark.parametrize("name", FILES)
def test_a_damaged_file_is_named(tmp_path, name):
    path = tmp_path / name
    FILES[name](path)
    whole = path.read_bytes()
    for damaged in (whole[: len(whole) // 2], b"", b"garbage" * 9, whole[:1] + b"\xff" * 40 + whole[41:]):
        path.write_bytes(damaged)
        with pytest.raises(
            UserError, match=f"expected a whole file of weights at {path}, found a damaged one"
        ) as found:
            read_state_dict(path)
        assert "\n" not in str(found.value)


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_was_cut_is_said_wherever_that_was(tmp_path, name):
    path = tmp_path / name
    FILES[name](path)
    whole = path.read_bytes()
    for length in range(1, len(whole), len(whole) // 24):
        path.write_bytes(whole[:length])
        with pytest.raises(
            UserError, match=f"(a whole file of weights at|nothing but tensors and plain data in) {path}"
        ):
            read_state_dict(path)  # in the middle of a function's name the pickle seems to call another one


@pytest.mark.parametrize(("content", "kind"), [(torch.ones(3), "Tensor"), ([STATE, STATE], "list"), (3, "int")])
def test_what_is_no_state_dict_is_said(tmp_path, content, kind):
    torch.save(content, tmp_path / "a.pt")
    with pytest.raises(UserError, match=f"expected a state dict in .*a.pt, found {kind}; save what model.state_dict"):
        read_state_dict(tmp_path / "a.pt")
