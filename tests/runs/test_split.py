from dataclasses import replace

import pytest

from lmc_lab.errors import UserError
from lmc_lab.runs.paths import SplitFolder
from lmc_lab.runs.split import Split, parse_step


@pytest.mark.parametrize(
    ("text", "step"), [(0, 0), (2000, 2000), ("2000", 2000), ("400it", 400), ("2ep", 780), ("0ep", 0)]
)
def test_a_split_step_is_steps_once_read(text, step):
    assert parse_step(text, steps_per_epoch=390, max_steps=4680) == step


@pytest.mark.parametrize("text", [4680, "12ep", "99999"])
def test_a_split_at_or_beyond_the_end_is_refused(text):
    with pytest.raises(UserError, match=r"0 <= k < T = 4680"):
        parse_step(text, steps_per_epoch=390, max_steps=4680)


@pytest.mark.parametrize("text", ["2.5ep", "-3", "two", "3 ep", ""])
def test_anything_else_is_refused(text):
    with pytest.raises(UserError, match="expected a split step like 2000, 400it or 2ep"):
        parse_step(text, steps_per_epoch=390, max_steps=4680)


def test_the_manifest_is_written_once(tmp_path):
    folder = SplitFolder(tmp_path / "split-3")
    split = Split(0, 3, "to_total", True)
    assert not split.is_published(folder)
    split.publish(folder)
    modified = folder.manifest.stat().st_mtime_ns
    split.publish(folder)
    assert split.is_published(folder) and folder.manifest.stat().st_mtime_ns == modified


@pytest.mark.parametrize("content", ["", "{", '{"trunk_seed": 0}'])
def test_a_damaged_manifest_or_that_of_another_split_is_written_anew(tmp_path, content):
    folder = SplitFolder(tmp_path / "split-3")
    split = Split(0, 3, "to_total", True)
    if content == '{"trunk_seed": 0}':
        replace(split, step=4).publish(folder)
    else:
        folder.path.mkdir()
        folder.manifest.write_text(content)
    assert not split.is_published(folder)
    split.publish(folder)
    assert split.is_published(folder) and folder.manifest.with_name("split.json.corrupt").exists()
