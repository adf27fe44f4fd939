"""Values on a command line: what Hydra reads back is what was written."""

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from lmc_lab.studies.request import folder_overrides
from lmc_lab.values import override_text

TEXTS = [
    "",
    " led",
    "007",
    "1e-3",
    "a b",
    "a#b",
    "a'b\"c",
    "a,b",
    "a:b",
    "a=b",
    "a\nb",
    "a\\",
    "[1,2]",
    "choice(1,2)",
    "it's\\'",
    "null",
    "plain",
    "torch.nn.ReLU",
    "true",
    "x}",
    "{a:1}",
    "\u00e9",
]


def read(text):
    """What Hydra reads as the value of a key."""
    (override,) = OverridesParser.create().parse_overrides([f"key={text}"])
    assert not override.is_sweep_override()
    return override.value()


@pytest.mark.parametrize("value", [*TEXTS, 3, 0.5, None, True])
def test_a_value_is_read_back_as_it_was(value):
    found = read(override_text(value))
    assert found == value and type(found) is type(value)
    assert read(override_text([value, {"k": value}])) == [value, {"k": value}]


@pytest.mark.parametrize("folder", ["/data/jürgen", "~/a&b", "/data/#1;2", "/my runs/a,b='c'", "/a\\b"])
def test_folders_are_passed_on_whatever_is_in_their_names(folder):
    config = OmegaConf.create({"data_dir": folder, "cache_dir": folder, "output_dir": folder, "locks": True})
    found = OverridesParser.create().parse_overrides(folder_overrides(config))
    assert [override.value() for override in found] == [folder] * 3


def test_texts_are_read_back_as_a_list():
    assert read(override_text(TEXTS)) == TEXTS
