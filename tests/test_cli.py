import pytest

from lmc_lab.cli import overrides_first


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
