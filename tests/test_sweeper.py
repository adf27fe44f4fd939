import re
from unittest.mock import Mock

import pytest
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import ConfigCompositionException
from hydra.types import HydraContext, RunMode

from hydra_plugins.lmc_pool.sweeper import merged
from lmc_lab.configs import config_dir
from lmc_lab.errors import UserError
from shell import shell


def jobs(overrides, num_workers):
    return [" ".join(job) for job in merged(OverridesParser.create().parse_overrides(overrides.split()), num_workers)]


@pytest.mark.parametrize(
    ("swept", "num_workers", "expected"),
    [
        ("task=lenet seed=range(5)", 2, ["task=lenet seed=[0,2,4]", "task=lenet seed=[1,3]"]),
        ("task=lenet seed=range(5)", 1, ["task=lenet seed=[0,1,2,3,4]"]),
        ("seed=range(3)", 8, ["seed=0", "seed=1", "seed=2"]),
        ("seed=range(3)", None, ["seed=0", "seed=1", "seed=2"]),
        ("seed=0,1 k=1,2", 2, ["seed=[0,1] k=1", "seed=[0,1] k=2"]),
        ("k=1,2,3 seed=0,1", 2, [f"k={k} seed={seed}" for k in (1, 2, 3) for seed in (0, 1)]),
        ("k=1,2,3,4,5,6 seed=0,1,2", 4, [f"k={k} seed={s}" for k in range(1, 7) for s in ("[0,2]", "1")]),
        ("seed=trunk,4,4", 1, ["seed=[trunk,4]"]),
        ("seed=0,-1,1,null", 1, ["seed=[0,1]", "seed=-1", "seed=null"]),
        ("seed=[0,1],[2,3]", 1, ["seed=[0,1]", "seed=[2,3]"]),
        ("seed=[0,1]", 2, ["seed=[0,1]"]),
        ("seed=3 k=1,2", 2, ["seed=3 k=1", "seed=3 k=2"]),
        ("seeds=[0,1] k=1,2", 2, ["seeds=[0,1] k=1", "seeds=[0,1] k=2"]),
        ("lr=0.10 +x=range(2)", 2, ["lr=0.10 +x=0", "lr=0.10 +x=1"]),
        ("a=1 a=2", 2, ["a=2"]),
        ("", 2, [""]),
    ],
)  # fmt: skip
def test_points_that_differ_only_in_the_seed_are_as_few_jobs_as_keep_all_workers_busy(swept, num_workers, expected):
    assert jobs(swept, num_workers) == expected


@pytest.mark.parametrize(
    ("swept", "num_workers", "expected"),
    [
        ("trunk_seed=0,1 split_step=0,2ep seed=range(2)", 1, ["trunk_seed=[0,1] split_step=[0,2ep] seed=[0,1]"]),
        ("trunk_seed=0,1 split_step=[0,9]", 1, ["trunk_seed=[0,1] split_step=[0,9]"]),
        ("trunk_seed=0,1 seed=0,1 lr=1,2", 1, [f"trunk_seed=[0,1] seed=[0,1] lr={rate}" for rate in (1, 2)]),
        ("trunk_seed=0,1 split_step=9 seed=0,1", 2, [f"trunk_seed={t} split_step=9 seed=[0,1]" for t in (0, 1)]),
        ("trunk_seed=0,1 split_step=[0,9]", 2, ["trunk_seed=0 split_step=[0,9]", "trunk_seed=1 split_step=[0,9]"]),
    ],
)
def test_for_one_worker_all_splits_and_trunks_are_one_job(swept, num_workers, expected):
    overrides = OverridesParser.create().parse_overrides(swept.split())
    keys = ("seed", "split_step", "trunk_seed")
    assert [" ".join(job) for job in merged(overrides, num_workers, keys)] == expected


@pytest.mark.parametrize(("num_others", "num_jobs"), [(1, 16), (10, 20), (60, 60)])
def test_a_cluster_gets_as_few_jobs_as_give_each_worker_one(num_others, num_jobs):
    overrides = OverridesParser.create().parse_overrides([f"k=range({num_others})", "seed=range(20)"])
    found = merged(overrides, 16, is_few=True)
    assert len(found) == num_jobs
    seeds = sorted(
        int(seed) for k, own in found if k == "k=0" for seed in own.removeprefix("seed=").strip("[]").split(",")
    )
    assert seeds == list(range(20))


@pytest.mark.parametrize("num_others", [1, 2, 3, 7, 10])
@pytest.mark.parametrize("num_workers", [1, 2, 3, 4, 16])
def test_no_seed_is_lost_and_every_worker_gets_as_many_jobs(num_others, num_workers):
    points = [tuple(job.split()) for job in jobs(f"k=range({num_others}) seed=range(48)", num_workers)]
    assert len(points) % num_workers == 0
    lists = {k: [seed for point, seed in points if point == k] for k, _ in points}
    for found in lists.values():
        text = ",".join(item.removeprefix("seed=").strip("[]") for item in found)
        assert sorted(map(int, text.split(","))) == list(range(48))


@pytest.mark.parametrize(
    ("swept", "num_workers", "num_jobs"),
    [
        ("k=1,2,3,4 seed=range(5)", 2, 8),
        ("k=1,2 seed=range(20)", 2, 8),
        ("seed=range(20)", 2, 8),
        ("seed=range(5)", 2, 5),  # one each
        ("k=range(10) seed=range(6)", 2, 10),  # which have enough
        ("k=range(3) seed=range(48)", 2, 12),
        ("k=range(3) seed=range(48)", 16, 96),
        ("k=1,2 seed=range(20)", 1, 2),
    ],
)
def test_a_worker_that_is_done_early_finds_a_job_that_nobody_has_begun(swept, num_workers, num_jobs):
    overrides = OverridesParser.create().parse_overrides(swept.split())
    found = [" ".join(job) for job in merged(overrides, num_workers, per_worker=4)]
    assert len(found) == num_jobs
    points = [
        (job.partition("seed=")[0], seed) for job in found for seed in re.findall(r"\d+", job.partition("seed=")[2])
    ]
    assert sorted(points) == sorted((job.partition("seed=")[0], job.partition("seed=")[2]) for job in jobs(swept, None))


def test_what_is_left_of_a_sweep_is_shared_by_all_workers():
    """The first ten are done already, when a sweep of ten seeds is given again with twenty."""
    left = [
        [int(seed) >= 10 for seed in job.removeprefix("seed=").strip("[]").split(",")]
        for job in jobs("seed=range(20)", 2)
    ]
    assert [sum(each) for each in left] == [5, 5]


def test_values_must_be_named():
    with pytest.raises(UserError, match="expected values to sweep over, found 'seed=interval"):
        jobs("seed=interval(0,3)", 2)


@pytest.mark.parametrize("override", ["seed=range(0)", "seed=range(5,2)", "split_step=range(0)"])
def test_a_sweep_over_nothing_is_refused(override):
    with pytest.raises(UserError, match=r"expected values to sweep over, found none in '.*\)'; name one or more"):
        jobs(f"{override} seed=0,1" if "split" in override else override, 2)


@pytest.fixture
def sweep(tmp_path):
    """Returns the jobs that a sweep launches, composed by Hydra with the launcher that the overrides name."""

    def run(*overrides, num_workers=None):
        # Only now: Hydra's search for plugins imports it anew.
        from hydra_plugins.lmc_pool.sweeper import MergingSweeper

        with initialize_config_dir(str(config_dir()), version_base="1.3", job_name="train"):
            loader = GlobalHydra.instance().config_loader()
            given = [f"hydra.sweep.dir={tmp_path}", *overrides]
            master = loader.load_configuration("train", given, run_mode=RunMode.MULTIRUN)
            sweeper = MergingSweeper(num_workers=num_workers, params={"trunk_seed": "0,1"})
            context = HydraContext(config_loader=loader, callbacks=None)
            sweeper.setup(hydra_context=context, task_function=lambda config: None, config=master)
            launched = []
            sweeper.launcher.launch = lambda jobs, initial_job_idx: launched.extend(map(" ".join, jobs)) or []
            sweeper.sweep(list(master.hydra.overrides.task))
            return launched

    return run


@pytest.mark.parametrize(
    ("launcher", "num_workers", "num_jobs"),
    [
        (["hydra/launcher=basic"], None, 2),
        (["hydra/launcher=basic"], 4, 4),
        (["hydra.launcher.n_jobs=4"], None, 12),  # a point each, of which a pool takes up to four a worker
        (["hydra.launcher.n_jobs=4"], 2, 8),
    ],
)
def test_a_launcher_gets_as_many_jobs_as_it_runs_at_a_time_or_some_for_each(
    sweep, tmp_path, launcher, num_workers, num_jobs
):
    launched = sweep(*launcher, "split_step=3", "seed=range(6)", num_workers=num_workers)
    assert len(launched) == num_jobs and (tmp_path / "multirun.yaml").exists()
    assert {job.partition(" ")[0] for job in launched} == {"trunk_seed=0", "trunk_seed=1"}


@pytest.mark.parametrize(
    ("given", "num_jobs"),
    [
        ([], 3),
        (["trainer=gpu"], 3),
        (["hydra.launcher.n_jobs=4"], 4),
        (["trainer=cpu"], 20),
        (["trainer.devices=[1]"], 20),
    ],
)
def test_a_sweep_that_trains_has_a_job_for_each_gpu_or_some_for_each_core(sweep, monkeypatch, given, num_jobs):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,2")
    monkeypatch.setattr("os.sched_getaffinity", lambda process: set(range(5)))
    assert len(sweep(*given, "trunk_seed=7", "split_step=3", "seed=range(60)")) == num_jobs


@pytest.mark.parametrize(("given", "num_workers"), [([], 3), (["trainer=cpu"], 3), (["evaluation.device=cpu"], 5)])
def test_a_sweep_that_measures_has_a_job_for_each_gpu(monkeypatch, given, num_workers):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,2")
    monkeypatch.setattr("os.sched_getaffinity", lambda process: set(range(5)))
    with initialize_config_dir(str(config_dir()), version_base="1.3", job_name="analyze"):
        from hydra_plugins.lmc_pool.launcher import PoolLauncher

        launcher = PoolLauncher()
        loader = GlobalHydra.instance().config_loader()
        config = loader.load_configuration("analyze", given, run_mode=RunMode.MULTIRUN)
        launcher.setup(hydra_context=None, task_function=None, config=config)
    assert launcher.num_workers == num_workers


@pytest.mark.parametrize("task", ["nowhere,lenet", "lenet,nowhere"])
def test_a_sweep_with_a_task_that_does_not_exist_does_not_begin(sweep, task):
    with pytest.raises(ConfigCompositionException):
        sweep("hydra/launcher=basic", f"task={task}", "seed=0,1")


def test_each_job_of_a_pool_is_composed_once(tmp_path, monkeypatch):
    """For the question whether all can be, for the quick answer, and for the worker that runs it."""
    from hydra_plugins.lmc_pool import launcher, sweeper

    ran, asked = [], []

    def task(config):
        ran.append((config.seed, "hydra" in config, HydraConfig.get().job.num))

    task.answer = lambda config: asked.append((config.seed, "hydra" in config)) or False

    def run(jobs, places, **workers):
        for place in places:  # the first was asked before
            yield place, {} if place > places[0] and jobs[place].is_answered() else jobs[place]()

    monkeypatch.setattr(launcher, "run_in_processes", run)
    with initialize_config_dir(str(config_dir()), version_base="1.3", job_name="train"):
        loader = GlobalHydra.instance().config_loader()
        given = [f"hydra.sweep.dir={tmp_path}", "split_step=3", "seed=range(24)", "hydra.launcher.n_jobs=3"]
        master = loader.load_configuration("train", given, run_mode=RunMode.MULTIRUN)
        compose, composed = loader.load_sweep_config, []
        monkeypatch.setattr(loader, "load_sweep_config", lambda *each: composed.append(each) or compose(*each))
        merging = sweeper.MergingSweeper()
        context = HydraContext(config_loader=loader, callbacks=Mock())
        merging.setup(hydra_context=context, task_function=task, config=master)
        merging.sweep(list(master.hydra.overrides.task))
    assert len(composed) == 12 and asked == [([seed, seed + 12], False) for seed in range(12)]
    assert ran == [([seed, seed + 12], False, seed) for seed in range(12)]


@pytest.mark.parametrize("launcher", ["pool", "basic"])
def test_no_job_begins_where_one_cannot(tmp_path, launcher):
    command = f"python -m lmc_lab.train hydra/launcher={launcher} output_dir={tmp_path} split_step=0 seed=0"
    result = shell(f"{command} -m task=mnist1d,lenett")
    assert result.returncode == 1 and "did you mean 'lenet'?" in result.stderr
    assert not list(tmp_path.glob("mnist1d-*"))
