import pytest

from lmc_lab.errors import UserError
from lmc_lab.runs.layout import SplitFolder
from lmc_lab.runs.split import Split, parse_split_step


@pytest.mark.parametrize(
    ("text", "step"), [(0, 0), (2000, 2000), ("2000", 2000), ("400it", 400), ("2ep", 780), ("0ep", 0)]
)
def test_a_split_step_is_steps_once_read(text, step):
    assert parse_split_step(text, steps_per_epoch=390, max_steps=4680) == step


@pytest.mark.parametrize("text", [4680, "12ep", "99999"])
def test_a_split_at_or_beyond_the_end_is_refused(text):
    with pytest.raises(UserError, match=r"0 <= k < T = 4680"):
        parse_split_step(text, steps_per_epoch=390, max_steps=4680)


@pytest.mark.parametrize("text", ["2.5ep", "-3", "two", "3 ep", ""])
def test_anything_else_is_refused(text):
    with pytest.raises(UserError, match="expected a split step like 2000, 400it or 2ep"):
        parse_split_step(text, steps_per_epoch=390, max_steps=4680)


def test_the_manifest_is_written_once(tmp_path):
    folder = SplitFolder(tmp_path / "split-3")
    assert Split.read(folder) is None
    split = Split(0, 3, "step-3.safetensors", "to_total", True)
    split.publish(folder)
    modified = folder.manifest.stat().st_mtime_ns
    split.publish(folder)
    assert Split.read(folder) == split and folder.manifest.stat().st_mtime_ns == modified
