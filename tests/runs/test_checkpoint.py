import pytest
import torch

from lmc_lab.errors import UserError
from lmc_lab.runs import checkpoint

STATE = {
    "weights": torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last),
    "optimizer": [{"state": {0: {"momentum": torch.ones(3)}, 7: {}}, "betas": (0.9, 0.99)}],
    "none": None,
    "numbers": [1, 2.5, True, float("inf")],
    "bfloat16": torch.ones(2, dtype=torch.bfloat16),
    "scalar": torch.tensor(3),
}


def test_a_tree_comes_back_as_it_was(tmp_path):
    checkpoint.save(STATE, tmp_path / "state.safetensors")
    found = checkpoint.load(tmp_path / "state.safetensors").state
    assert torch.equal(found["weights"], STATE["weights"])
    assert found["optimizer"][0]["state"].keys() == {0, 7}
    assert found["optimizer"][0]["betas"] == (0.9, 0.99)
    assert found["numbers"] == STATE["numbers"] and found["none"] is None
    assert found["bfloat16"].dtype == torch.bfloat16 and found["scalar"] == 3


def test_the_digest_names_the_content(tmp_path):
    digests = [
        checkpoint.save({"a": torch.tensor([value])}, tmp_path / name) for name, value in (("x", 1), ("y", 1), ("z", 2))
    ]
    assert digests[0] == digests[1] != digests[2]
    assert checkpoint.load(tmp_path / "x").digest == digests[0]


def test_tensors_that_share_memory_are_saved_apart(tmp_path):
    shared = torch.zeros(4)
    checkpoint.save({"a": shared, "b": shared}, tmp_path / "state")
    found = checkpoint.load(tmp_path / "state").state
    found["a"] += 1
    assert found["b"].sum() == 0


@pytest.mark.parametrize("damage", ["cut", "flipped", "foreign"])
def test_a_damaged_file_is_one_sentence(tmp_path, damage):
    path = tmp_path / "step-5.safetensors"
    checkpoint.save(STATE, path)
    content = bytearray(path.read_bytes())
    if damage == "cut":
        content = content[:-40]
    elif damage == "flipped":
        content[-3] ^= 1
    else:
        content = bytearray(b"not a checkpoint")
    path.write_bytes(content)
    with pytest.raises(UserError, match="sets this one aside and makes it anew") as error:
        checkpoint.load(path)
    assert str(path) in str(error.value) and "\n" not in str(error.value)


def test_what_cannot_be_stored_without_a_pickle_is_refused(tmp_path):
    with pytest.raises(UserError, match="expected tensors, numbers, strings.* in hooks/f"):
        checkpoint.save({"hooks": {"f": print}}, tmp_path / "state")


def test_no_space_leaves_no_half_file(tmp_path, monkeypatch):
    def full(*arguments, **keywords):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(OSError, match="No space"):
        checkpoint.save(STATE, tmp_path / "state")
    assert list(tmp_path.iterdir()) == []
