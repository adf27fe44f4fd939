import copy
from types import SimpleNamespace

import pytest
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import ConfigCompositionException
from hydra.types import RunMode

from hydra_plugins.lmc_pool.sweep_config import sweep_config
from lmc_lab.configs import config_dir

FIRST = ["task=lenet", "+extra=a", "task.optimizer.lr=0.1", "seed=0", "split_step=10"]


@pytest.fixture
def loader():
    with initialize_config_dir(str(config_dir()), version_base="1.3", job_name="train"):
        yield GlobalHydra.instance().config_loader()


@pytest.fixture
def master(loader):
    overrides = ["hydra.sweep.dir=/somewhere", *FIRST, "hydra.job.config.override_dirname.exclude_keys=[split_step]"]
    return loader.load_configuration("train", overrides, run_mode=RunMode.MULTIRUN)


@pytest.mark.parametrize(
    "overrides, is_copied",
    [
        (FIRST, True),
        ([*FIRST[:3], "seed=3", "split_step=0"], True),
        ([*FIRST[:3], "seed=trunk", "split_step=2ep"], False),
        (["task=siren", *FIRST[1:]], False),
        ([*FIRST[:2], "task.optimizer.lr=1e-3", *FIRST[3:]], False),
        ([*FIRST[:3], "split_step=10", "seed=0"], False),
        (FIRST[:4], False),
    ],
)
def test_the_config_of_a_job_is_the_one_that_hydra_composes(loader, master, overrides, is_copied, monkeypatch):
    sibling = loader.load_sweep_config(master, FIRST)
    composed = loader.load_sweep_config(master, overrides)
    if is_copied:
        monkeypatch.setattr(loader, "load_sweep_config", None)
    before = copy.deepcopy(sibling)
    config = sweep_config(loader, master, overrides, sibling=sibling)
    assert config == composed and type(config.seed) is type(composed.seed)
    assert sibling == before


@pytest.fixture
def sweeper(loader, master):
    from hydra_plugins.lmc_pool.sweeper import EarlySweeper  # only now: Hydra's search for plugins imports them anew

    sweeper = EarlySweeper(max_batch_size=None)
    sweeper.config, sweeper.hydra_context = master, SimpleNamespace(config_loader=loader)
    return sweeper


def test_a_sweep_composes_in_advance_what_may_be_wrong(loader, sweeper, monkeypatch):
    composed = []
    monkeypatch.setattr(
        loader, "load_sweep_config", lambda master_config, sweep_overrides: composed.append(sweep_overrides)
    )
    other_rate = [*FIRST[:2], "task.optimizer.lr=1e-3", *FIRST[3:]]
    sweeper.validate_batch_is_legal([FIRST, [*FIRST[:3], "seed=1", "split_step=20"], other_rate])
    sweeper.validate_batch_is_legal([])
    assert composed == [FIRST, other_rate]


@pytest.mark.parametrize("place", [0, 1])
def test_a_sweep_with_a_task_that_does_not_exist_does_not_begin(sweeper, place):
    batch = [FIRST, FIRST]
    batch[place] = ["task=nowhere", *FIRST[1:]]
    with pytest.raises(ConfigCompositionException):
        sweeper.validate_batch_is_legal(batch)
