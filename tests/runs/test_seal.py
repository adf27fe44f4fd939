"""What is whole without torch is whole with it, and nothing else is."""

import pytest
import torch

from lmc_lab.files import FORMAT, OtherFormat
from lmc_lab.runs import checkpoint, seal

TYPES = [torch.empty(0).new_empty(0, dtype=getattr(torch, name)).dtype for name in seal._TYPES.values()]


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "tiny-0" / "trunk-0" / "step-5.safetensors"
    path.parent.mkdir(parents=True)
    return path


@pytest.mark.parametrize("kind", TYPES, ids=str)
@pytest.mark.parametrize("shape", [(), (0,), (3, 2)], ids=str)
def test_tensors_of_every_type_and_shape_are_seen_as_torch_sees_them(path, kind, shape):
    content = torch.ones(shape).to(kind)
    checkpoint.save({"step": 5, "model": {"weight": content, "other": torch.arange(4.0)}}, path)
    assert seal.is_whole(path) and checkpoint.load(path).state["model"]["weight"].shape == shape


def test_every_flipped_bit_is_seen(path):
    checkpoint.save({"step": 5, "model": {"weight": torch.arange(3.0)}, "lr": 0.5}, path)
    content = path.read_bytes()
    for position in range(len(content)):
        path.write_bytes(content[:position] + bytes([content[position] ^ 4]) + content[position + 1 :])
        try:
            found = seal.is_whole(path)
        except OtherFormat:
            continue
        try:
            checkpoint.load(path)
        except Exception:
            assert not found, position
        else:
            assert found, position


@pytest.mark.parametrize("content", [b"", b"damaged", b"\xff" * 100])
def test_what_is_no_checkpoint_is_not_whole(path, content):
    assert not seal.is_whole(path)
    path.write_bytes(content)
    assert not seal.is_whole(path)


def test_a_file_of_another_place_is_not_whole(path):
    checkpoint.save({"step": 5}, path)
    other = path.with_name("step-6.safetensors")
    path.rename(other)
    assert not seal.is_whole(other)


def test_a_file_of_another_version_is_no_damaged_one(path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "FORMAT", FORMAT + 1)
        checkpoint.save({"step": 5}, path)
    with pytest.raises(OtherFormat):
        seal.is_whole(path)
