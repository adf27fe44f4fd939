import numpy as np
import pytest
import torch

from lmc_lab.data import tokens
from lmc_lab.errors import UserError

TEXT = "To be, or not to be: ça c'est la question. " * 5


def load(path, name="text.txt", **keywords):
    return tokens.load(data_dir=path, cache_dir=path / "cache", path=name, **({"length": 8} | keywords))


def write(path, name="text.txt", text=TEXT):
    (path / name).write_text(text, encoding="utf-8")


def test_each_token_is_predicted_once(tmp_path):
    write(tmp_path)
    content = list(TEXT.encode())
    inputs, targets = load(tmp_path).train.batch(slice(None))
    num = (len(content) - 1) // 8
    assert inputs.shape == targets.shape == (num, 8) and inputs.dtype == targets.dtype == torch.int64
    assert inputs.flatten().tolist() == content[: num * 8]
    assert targets.flatten().tolist() == content[1 : num * 8 + 1]


def test_characters_are_numbered_by_code_point(tmp_path):
    write(tmp_path)
    write(tmp_path, "other.txt", "a z ç ü" * 3)
    dataset = load(tmp_path, vocabulary="characters", test_path="other.txt")
    known = sorted({*TEXT, *"a z ç ü"})
    assert "".join(known[i] for i in dataset.train.inputs.flatten().tolist()) == TEXT[: dataset.train.inputs.numel()]
    assert "".join(known[i] for i in dataset.test.inputs.flatten().tolist()) == ("a z ç ü" * 3)[:16]


def test_what_was_read_is_told_once(tmp_path, capsys):
    write(tmp_path)
    write(tmp_path, "other.txt", "abc" * 9)
    load(tmp_path, test_path="other.txt")
    num, largest = len(TEXT.encode()), max(TEXT.encode())
    assert capsys.readouterr().out == f"data: {num} training and 27 test tokens, the largest {largest}\n"
    load(tmp_path, test_path="other.txt")
    assert capsys.readouterr().out == ""


def test_the_end_becomes_the_test_set(tmp_path):
    write(tmp_path)
    content = list(TEXT.encode())
    dataset = load(tmp_path, test_share=0.25)
    cut = len(content) - round(len(content) / 4)
    assert dataset.test.inputs.flatten().tolist()[:20] == content[cut : cut + 20]
    assert len(dataset.train) == (cut - 1) // 8
    assert len(load(tmp_path, test_share=0.25, num_train=3, num_test=2).train) == 3


@pytest.mark.parametrize("name", ["ids.npy", "ids.npz"])
def test_a_file_of_ids(tmp_path, name):
    ids = np.arange(100, dtype=np.uint16) * 500
    (np.save if name.endswith("y") else np.savez)(tmp_path / name, ids)
    assert load(tmp_path, name).train.inputs.flatten().tolist() == ids[:96].tolist()


def test_the_digest_is_that_of_the_tokens(tmp_path):
    write(tmp_path)
    digest = load(tmp_path).digest
    assert load(tmp_path, length=5).digest == digest
    np.save(tmp_path / "same.npy", np.frombuffer(TEXT.encode(), np.uint8))
    assert load(tmp_path, "same.npy").digest == digest
    write(tmp_path, text=TEXT + "!")
    assert load(tmp_path).digest != digest


@pytest.mark.parametrize(
    ("name", "content", "keywords", "expected"),
    [
        ("text.txt", None, {}, r"expected data at .*text\.txt, found none"),
        ("text.txt", b"short", {}, "expected 9 tokens or more in train, found 5"),
        (
            "text.txt",
            b"\xff" * 99,
            {"vocabulary": "characters"},
            r"expected UTF-8 in .*text\.txt, found a byte .* at 0",
        ),
        ("text.txt", b"long" * 99, {"test_path": "text.txt", "test_share": 0.1}, "expected task.data.test_share=null"),
        ("text.txt", b"long" * 99, {"num_train": 99}, "expected task.data.num_train between 1 and 49, found 99"),
        ("ids.bin", bytes(99), {}, r"expected a text or a \.npy file of token ids, found .*ids\.bin, .*numpy\.save"),
        ("ids.npy", b"none", {}, r"expected an array of token ids in .*ids\.npy, found a file"),
    ],
)
def test_what_is_wrong_is_said_with_its_name(tmp_path, name, content, keywords, expected):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=expected):
        load(tmp_path, name, **keywords)


def test_ids_are_whole_numbers(tmp_path):
    np.save(tmp_path / "ids.npy", np.ones((3, 4)))
    with pytest.raises(UserError, match=r"expected token ids.*ids\.npy, found float64 \(3, 4\)"):
        load(tmp_path, "ids.npy")


@pytest.mark.parametrize(
    ("arrays", "found"), [({"train": np.arange(99), "val": np.arange(9)}, r"2 \(train, val\)"), ({}, "none")]
)
def test_an_archive_has_one_array(tmp_path, arrays, found):
    np.savez(tmp_path / "ids.npz", **arrays)
    with pytest.raises(
        UserError, match=rf"expected one array of token ids in .*ids\.npz, found {found}; save it alone"
    ):
        load(tmp_path, "ids.npz")


def test_a_test_text_is_one_too(tmp_path):
    write(tmp_path)
    (tmp_path / "test.bin").write_bytes(bytes(99))
    with pytest.raises(UserError, match=r"found .*test\.bin"):
        load(tmp_path, test_path="test.bin")
