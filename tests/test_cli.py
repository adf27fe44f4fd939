import pytest

from lmc_lab.cli import _check_flags, overrides_first
from lmc_lab.errors import UserError


@pytest.mark.parametrize(
    ("typed", "ordered"),
    [
        ("task=lenet split_step=2000 -m seed=range(20)", "task=lenet split_step=2000 seed=range(20) -m"),
        ("--cfg job --resolve task=lenet", "task=lenet --cfg job --resolve"),
        ("-m a=1 --config-dir mine b=2", "a=1 b=2 -m --config-dir mine"),
        ("-cd mine task=own -c job", "task=own -cd mine -c job"),
        ("--info config task=lenet", "task=lenet --info config"),
        ("--info task=lenet", "task=lenet --info"),
        ("-m", "-m"),
        ("", ""),
    ],
)
def test_overrides_may_stand_on_both_sides_of_flags(typed, ordered):
    assert overrides_first(typed.split()) == ordered.split()


def test_a_flag_that_is_none_is_refused():
    _check_flags(["a=--b", "--config-dir", "x", "--multirun", "-m", "--cfg=job", "-sc", "install=bash"])
    with pytest.raises(UserError, match="expected a flag of Hydra, found '--confg-dir'; did you mean '--config-dir'"):
        _check_flags(["--confg-dir", "."])
