import json
import os
import subprocess
import sys
from contextlib import suppress

import pytest

from lmc_lab.files import (
    FORMAT,
    DamagedFile,
    OtherFormat,
    peek_json,
    read_json,
    read_json_or_set_aside,
    remove_leftovers,
    replacing,
    set_aside,
    write_json,
)

CONTENT = {"state": "finished", "step": 60, "losses": [0.1, None], "nested": {"a": True}}


@pytest.fixture
def path(tmp_path):
    write_json(tmp_path / "status.json", CONTENT)
    return tmp_path / "status.json"


def test_json_comes_back_as_it_was(path):
    assert read_json(path) == CONTENT and read_json(path.with_name("none.json")) == {}


def test_every_flipped_bit_is_seen_or_changes_nothing(path):
    whole = path.read_bytes()
    for position in range(len(whole) * 8):
        changed = bytearray(whole)
        changed[position // 8] ^= 1 << position % 8
        path.write_bytes(changed)
        with suppress(DamagedFile, OtherFormat):
            assert read_json(path) == CONTENT  # a blank that became another blank


def test_a_file_of_another_place_is_refused(tmp_path):
    write_json(tmp_path / "status.json", CONTENT, address="lenet-0/trunk-0/status.json")
    assert read_json(tmp_path / "status.json", address="lenet-0/trunk-0/status.json") == CONTENT
    with pytest.raises(DamagedFile, match="to be lenet-0/trunk-1/status.json, found that it is lenet-0/trunk-0"):
        read_json(tmp_path / "status.json", address="lenet-0/trunk-1/status.json")
    write_json(tmp_path / "status.json", CONTENT)
    with pytest.raises(DamagedFile, match="found that it is None"):
        read_json(tmp_path / "status.json", address="lenet-0/trunk-0/status.json")


def test_every_cut_is_seen(path):
    whole = path.read_bytes()
    for length in range(len(whole) - 1):  # the last character ends the line
        path.write_bytes(whole[:length])
        with pytest.raises(DamagedFile):
            read_json(path)


@pytest.mark.parametrize("content", [{"state": "finished"}, {}])
def test_a_file_of_the_first_format_is_called_that(path, content):
    path.write_text(json.dumps(content))
    with pytest.raises(OtherFormat, match=f"expected files of format {FORMAT}, found format 1 in .*set output_dir"):
        read_json(path)
    assert peek_json(path) == {} and path.exists()


def test_a_damaged_file_is_set_aside_under_a_name_of_its_own(path, caplog):
    for name in ("status.json.corrupt", "status.json.corrupt-2"):
        path.write_text("{")
        assert peek_json(path) == {} and path.exists()
        assert read_json_or_set_aside(path) == {} and not path.exists()
        assert path.with_name(name).read_text() == "{"
        assert str(path) in caplog.text and name in caplog.text
    set_aside(path, "gone")  # somebody else was faster


def test_a_file_has_the_permissions_of_the_umask(tmp_path):
    from safetensors.torch import save_file

    before = os.umask(0o027)
    try:
        with replacing(tmp_path / "x.safetensors") as temporary:
            save_file({}, temporary)  # which by itself keeps others out
        write_json(tmp_path / "x.json", CONTENT)
    finally:
        os.umask(before)
    assert {oct(path.stat().st_mode & 0o777) for path in tmp_path.iterdir()} == {"0o640"}


def test_temporary_files_of_dead_processes_are_removed(tmp_path):
    """One of a process that lives stays, and so does whatever else there is."""
    script = "import sys, os; from pathlib import Path; from lmc_lab.files import replacing\n"
    script += "with replacing(Path(sys.argv[1]) / 'dead.json'): os._exit(9)"
    assert subprocess.run([sys.executable, "-c", script, tmp_path]).returncode == 9
    (left,) = tmp_path.iterdir()
    (tmp_path / "kept.json").touch()
    with replacing(tmp_path / "alive.json") as alive:
        remove_leftovers(tmp_path)
        assert alive.exists() and not left.exists() and (tmp_path / "kept.json").exists()
