import pytest
from hydra.errors import HydraException

from lmc_lab import configs
from lmc_lab.help_page import help_page


def page(*overrides, name="train", further=()):
    return help_page(name, overrides, [*further, configs.config_dir()])


@pytest.mark.parametrize("name", ["train", "analyze", "study", "report", "tune"])
def test_every_key_of_the_primary_config_is_listed_with_its_comment(name):
    text = page(name=name)
    for line in (configs.config_dir() / f"{name}.yaml").read_text().splitlines():
        key, _, comment = line.partition(" # ")
        if comment and not line.startswith(("#", " ")):
            assert f"\n{key.partition(':')[0]}:" in text and comment in text
    assert f"python -m lmc_lab.{name}" in text and "task: lenet, lenet_m, mnist1d, resnet20, siren" in text


def test_keys_and_comments_are_those_of_the_chosen_configs():
    assert "random crop" in page("task=lenet") and "random crop" not in page("task=siren")
    assert "  max_steps: 77\n" in page("task.max_steps=77")


def test_a_config_of_ones_own_is_listed(tmp_path):
    (tmp_path / "task").mkdir()
    (tmp_path / "task" / "mine.yaml").write_text("defaults: [lenet, _self_]\nname: mine\nwidth: 3 # of my layers\n")
    text = page("task=mine", further=[tmp_path])
    assert "task: lenet, lenet_m, mine, " in text and "width: 3  # of my layers" in text


def test_overrides_that_do_not_compose_are_refused():
    with pytest.raises(HydraException, match="lent"):
        page("task=lent")


def test_a_folder_may_have_any_name(tmp_path):
    further = tmp_path / "jürgen = (mine)"
    (further / "task").mkdir(parents=True)
    (further / "task" / "mine.yaml").write_text("defaults: [lenet, _self_]\nname: mine\n")
    assert "  name: mine\n" in page("task=mine", further=[further])
