import subprocess
import sys

import numpy as np
import pytest

from lmc_lab.data import cache
from lmc_lab.data.cache import decoded_once
from lmc_lab.errors import UserError
from lmc_lab.files import write_json

DECODE_AND_TELL = """
import sys, time
from pathlib import Path
import numpy as np
from lmc_lab.data.cache import decoded_once
folder = Path(sys.argv[1])
def decode():
    with (folder / "calls").open("a") as file:
        file.write("x")
    time.sleep(0.3)
    return {"numbers": np.arange(1000)}
assert decoded_once(folder / "data", decode).arrays["numbers"].sum() == 499_500
"""


def test_many_processes_decode_once(tmp_path):
    command = [sys.executable, "-c", DECODE_AND_TELL, str(tmp_path)]
    processes = [subprocess.Popen(command) for _ in range(4)]
    assert [process.wait() for process in processes] == [0] * 4
    assert (tmp_path / "calls").read_text() == "x"


def test_arrays_of_a_killed_decoder_are_decoded_again(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "numbers.npy").write_bytes(b"half")
    assert decoded_once(folder, lambda: {"numbers": np.ones(3)}).arrays["numbers"].tolist() == [1, 1, 1]


def test_the_digest_is_that_of_the_content(tmp_path):
    digests = [
        decoded_once(tmp_path / name, lambda value=value: {"a": np.array([value])}).digest
        for name, value in (("one", 1), ("same", 1), ("other", 2))
    ]
    assert digests[0] == digests[1] != digests[2]


ARRAYS = {
    "pictures": np.arange(240, dtype=np.uint8).reshape(5, 48),
    "labels": np.arange(5),
    "more": np.linspace(0, 1, 5, dtype=np.float32),
}


class Source:
    """Decodes `ARRAYS` into a folder and counts how often it was asked to."""

    def __init__(self, folder):
        self.folder, self.calls = folder, 0

    def decode(self):
        self.calls += 1
        return ARRAYS

    def open(self):
        return decoded_once(self.folder, self.decode)


@pytest.fixture
def source(tmp_path):
    source = Source(tmp_path / "data")
    source.open()
    return source


def assert_decoded_again(source, caplog, named):
    calls = source.calls
    caplog.clear()
    found = source.open()
    assert source.calls == calls + 1
    assert {name: array.tolist() for name, array in found.arrays.items()} == {
        name: array.tolist() for name, array in ARRAYS.items()
    }
    (line,) = caplog.messages
    assert named in line and line.endswith("the data are decoded again")
    source.open()
    assert source.calls == calls + 1 and {path.name for path in source.folder.parent.iterdir()} == {
        "data",
        ".data.lock",
    }


def test_every_flipped_bit_is_seen(source, caplog):
    generator = np.random.default_rng(0)
    names = [f"{name}.npy" for name in ARRAYS] + ["digest.json"]
    for index in range(450):
        path = source.folder / names[index % len(names)]
        content = bytearray(path.read_bytes())
        bit = int(generator.integers(8 * len(content)))
        content[bit // 8] ^= 1 << bit % 8
        path.write_bytes(content)
        assert_decoded_again(source, caplog, path.name)


@pytest.mark.parametrize("name", ["pictures.npy", "digest.json"])
@pytest.mark.parametrize("size", [0, 1, 100])
def test_a_truncated_file_is_seen(source, caplog, name, size):
    path = source.folder / name
    path.write_bytes(path.read_bytes()[:size])
    assert_decoded_again(source, caplog, name)


@pytest.mark.parametrize("name", ["pictures.npy", "digest.json"])
def test_a_lost_file_is_seen(source, caplog, name):
    (source.folder / name).unlink()
    assert_decoded_again(source, caplog, name)


def test_swapped_and_renamed_arrays_are_seen(source, caplog):
    labels, more = source.folder / "labels.npy", source.folder / "more.npy"
    labels.rename(source.folder / "keep"), more.rename(labels), (source.folder / "keep").rename(more)
    assert_decoded_again(source, caplog, "labels.npy")
    labels.rename(source.folder / "other.npy")
    assert_decoded_again(source, caplog, "labels.npy")


def test_the_folder_of_other_data_is_seen(source, caplog):
    decoded_once(source.folder.with_name("other"), lambda: {"pictures": np.zeros(3)})
    for path in source.folder.iterdir():
        path.unlink()
    source.folder.rmdir()
    source.folder.with_name("other").rename(source.folder)
    source.folder.with_name(".other.lock").unlink()
    assert_decoded_again(source, caplog, "expected")


@pytest.mark.parametrize(
    "content",
    [
        '{"names": ["labels"], "digest": "of the first format"}',
        "[]",
        "null",
        '{"checksum": "0"}',
        "not JSON",
    ],
)
def test_a_digest_file_of_something_else_is_seen(source, caplog, content):
    (source.folder / "digest.json").write_text(content)
    assert_decoded_again(source, caplog, "digest.json")


def test_names_in_the_digest_file_lead_nowhere(source, caplog, tmp_path):
    np.save(tmp_path / "outside.npy", np.ones(3))
    (tmp_path / "outside.npy").rename(tmp_path.parent / "outside.npy")
    content = {"folder": "data", "digest": "0", "checksums": {"../../outside.npy": "0"}}
    write_json(source.folder / "digest.json", content)
    assert_decoded_again(source, caplog, "data")


def test_whoever_has_damaged_data_mapped_keeps_them(source, caplog):
    path = source.folder / "pictures.npy"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    mapped = np.load(path, mmap_mode="r")
    assert_decoded_again(source, caplog, "pictures.npy")
    assert mapped[-1, -1] == ARRAYS["pictures"][-1, -1] ^ 1


def test_the_digest_is_pinned(source):
    """It is in every checkpoint: another one would make strangers of old and new runs."""
    assert source.open().digest[:16] == "2b2acf20a3201ad5"


def test_a_decoder_that_fails_leaves_nothing(tmp_path):
    def fail():
        raise ValueError("no data")

    for _ in range(2):
        with pytest.raises(ValueError, match="no data"):
            decoded_once(tmp_path / "data", fail)
    assert not (tmp_path / "data").exists()


def test_who_may_only_read_takes_no_lock(tmp_path, monkeypatch):
    def decode():
        return {"numbers": np.arange(9)}

    def refused(path):
        raise UserError("expected to write")

    decoded_once(tmp_path / "data", decode)
    monkeypatch.setattr(cache, "locked", refused)
    assert decoded_once(tmp_path / "data", decode).arrays["numbers"].sum() == 36
    with pytest.raises(UserError, match="expected to write"):
        decoded_once(tmp_path / "other", decode)


def test_what_a_decoder_that_failed_has_written_is_removed(tmp_path):
    """Of mended files the folder has another name, so that nobody would come back to this one."""

    def decode():
        raise ValueError

    with pytest.raises(ValueError):
        decoded_once(tmp_path / "data", decode)
    assert not [path for path in tmp_path.iterdir() if path.is_dir()]
