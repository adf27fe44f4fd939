"""Sweeps on clusters: real ones, of this machine. What they make is compared with the bits that the pool makes."""

import os
import signal
import subprocess

import pytest
from hydra import compose, initialize_config_dir

import slurm_cluster
from lmc_lab.configs import config_dir
from lmc_lab.files import read_json
from lmc_lab.runs import checkpoint
from lmc_lab.studies.commands import commands
from lmc_lab.studies.plan import StudyPlan, launcher_of
from shell import shell, start, succeed, wait_for

TASK = "task.max_steps=400 task.data.num_train=400 task.data.num_test=100 run.resume_seconds=0.05"
SWEEP = f"python -m lmc_lab.train {TASK} split_step=20 -m 'seed=range(4)' hydra.launcher.n_jobs=2"
LAUNCHERS = {
    "local": "hydra/launcher=slurm hydra.launcher.cluster=local hydra.launcher.poll_seconds=0.1",
    "slurm": "hydra/launcher=slurm hydra.launcher.poll_seconds=0.3",
    "ray": "hydra/launcher=ray",
}
needs_slurm = pytest.mark.skipif(not slurm_cluster.is_installed(), reason="needs root, slurm-wlm and munge")


def digests(folder):
    """Returns the digest of each endpoint below a folder, by its place there."""
    return {
        str(path.relative_to(folder)): checkpoint.load(path).digest for path in folder.rglob("endpoint.safetensors")
    }


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with slurm_cluster.slurm_cluster(tmp_path_factory.mktemp("slurm")) as variables:
        yield variables


def seen(cluster):
    """Returns what makes commands see the cluster."""
    return {"SLURM_CONF": cluster["SLURM_CONF"]}


@pytest.fixture(scope="module")
def expected(tmp_path_factory, shared_cache):
    """Returns the digests that the pool makes."""
    folder = tmp_path_factory.mktemp("pool")
    succeed(f"{SWEEP} output_dir={folder} cache_dir={shared_cache}")
    return digests(folder)


def sweep(folder, cache, launcher, **variables):
    return succeed(f"{SWEEP} {LAUNCHERS[launcher]} output_dir={folder} cache_dir={cache}", is_warm=False, **variables)


@pytest.mark.long
def test_processes_of_submitit_make_the_same_bits(tmp_path, shared_cache, expected):
    pytest.importorskip("submitit")
    printed = sweep(tmp_path, shared_cache, "local")
    assert digests(tmp_path) == expected and len(expected) == 4
    assert printed.count(": done") == 2


@needs_slurm
def test_slurm_makes_the_same_bits(tmp_path, shared_cache, expected, cluster):
    printed = sweep(tmp_path, shared_cache, "slurm", **seen(cluster))
    assert digests(tmp_path) == expected and printed.count(": done") == 2
    again = sweep(tmp_path, shared_cache, "slurm", **seen(cluster))  # finished branches are no jobs
    assert again.count(": done") == 2 and len(list(tmp_path.glob("sweeps/*/jobs"))) == 1


@pytest.mark.long
@needs_slurm
@pytest.mark.timeout(700)
def test_a_warned_job_goes_back_to_the_queue_and_a_killed_one_costs_itself(tmp_path, shared_cache, cluster):
    """The node is drained and resumed meanwhile, as by who looks after it."""
    long = SWEEP.replace("max_steps=400", "max_steps=2500")
    pool, slurm = tmp_path / "pool", tmp_path / "slurm"
    succeed(f"{long} output_dir={pool} cache_dir={shared_cache}")
    command = f"{long} {LAUNCHERS['slurm']} output_dir={slurm} cache_dir={shared_cache}"

    def on_the_way(seed):
        return [path for path in slurm.rglob(f"branch-{seed}/metrics.csv") if len(path.read_text()) > 200]

    with start(command, **seen(cluster)) as process:
        wait_for(lambda: on_the_way(0) and on_the_way(1))
        first, second = sorted(_jobs(cluster))
        _ask(cluster, f"scontrol update nodename={_node(cluster)} state=drain reason=test")
        _ask(cluster, f"scancel --signal=USR2 {first}")
        _ask(cluster, f"scancel --signal=KILL {second}")
        wait_for(lambda: first in _jobs(cluster, "PENDING"))
        assert not list(slurm.rglob("branch-0/endpoint.safetensors"))  # training did not wait for its end
        (state,) = slurm.rglob("branch-0/resume*.safetensors")
        assert 20 < checkpoint.load(state).state["global_step"] < 2500
        _ask(cluster, f"scontrol update nodename={_node(cluster)} state=resume")
        _ask(cluster, f"scontrol update jobid={first} starttime=now")  # Slurm would wait two minutes
        printed, errors = process.communicate(timeout=400)
    assert process.returncode == 1, printed + errors
    assert "seed=[0,2]: done" in printed and f"its job {second} ended before it was done" in printed
    assert "up to 2 of 4 branches failed" in errors and "seed=[1,3]" in errors
    told = "".join(path.read_text() for path in slurm.glob(f"sweeps/*/jobs/{first}/*.[eo]*"))
    assert "Caught signal SIGUSR2" in told and "Requeued job" in told
    succeed(command, **seen(cluster))
    assert digests(slurm) == digests(pool) and len(digests(pool)) == 4


def _ask(cluster, command):
    told = subprocess.run(command, shell=True, env=dict(cluster), capture_output=True, text=True)
    assert told.returncode == 0, told.stderr
    return told.stdout


def _jobs(cluster, states="all"):
    """Returns the jobs of the newest array, by the states they are in."""
    lines = [
        line.split() for line in _ask(cluster, f"squeue -h --array --states={states} --format='%i %T'").splitlines()
    ]
    newest = max((int(name.partition("_")[0]) for name, _ in lines), default=0)
    return {name for name, _ in lines if name.startswith(f"{newest}_")}


def _node(cluster):
    return _ask(cluster, "sinfo -h -o %n").strip()


@pytest.mark.long
@pytest.mark.timeout(700)
def test_ray_makes_the_same_bits_and_starts_a_job_again_whose_worker_died(tmp_path, shared_cache, expected):
    pytest.importorskip("ray")
    command = f"{SWEEP} {LAUNCHERS['ray']} output_dir={tmp_path} cache_dir={shared_cache}"
    with start(command) as process:
        wait_for(lambda: [path for path in tmp_path.rglob("branch-1/metrics.csv") if len(path.read_text()) > 100])
        (status,) = tmp_path.rglob("branch-1/status.json")
        os.kill(read_json(status)["pid"], signal.SIGKILL)
        printed, errors = process.communicate(timeout=400)
    assert process.returncode == 0, printed + errors
    assert digests(tmp_path) == expected and printed.count(": done") == 2


@needs_slurm
def test_what_slurm_refuses_is_one_sentence(tmp_path, shared_cache, cluster):
    command = (
        f"{SWEEP} {LAUNCHERS['slurm']} hydra.launcher.partition=typo output_dir={tmp_path} cache_dir={shared_cache}"
    )
    failed = shell(command, **seen(cluster))
    assert failed.returncode == 1 and "expected Slurm to take the jobs, found that it does not" in failed.stderr
    assert "Traceback" not in failed.stderr and "partition" in failed.stderr


def test_without_submitit_one_is_told_what_to_install(tmp_path, shared_cache):
    hidden = tmp_path / "hidden"
    (hidden / "submitit").mkdir(parents=True)
    (hidden / "submitit" / "__init__.py").write_text("raise ImportError")
    failed = shell(
        f"{SWEEP} {LAUNCHERS['local']} output_dir={tmp_path} cache_dir={shared_cache}",
        PYTHONPATH=f"{hidden}{os.pathsep}{os.environ.get('PYTHONPATH', '')}",
    )
    assert failed.returncode == 1 and "pip install 'lmc_lab[slurm]'" in failed.stderr
    assert len(failed.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("hydra.launcher.cluster=pbs", "expected hydra.launcher.cluster to be one of slurm, local, found 'pbs'"),
        ("hydra.launcher.n_jobs=0", "expected hydra.launcher.n_jobs to be a whole number >= 1, found 0"),
        ("hydra.launcher.timeout=5", "timeout"),
        ("hydra.launcher.poll_seconds=0", "expected hydra.launcher.poll_seconds to be above 0 and at most 30, found 0"),
    ],
)
def test_a_wrong_key_is_one_sentence(tmp_path, shared_cache, given, told):
    command = SWEEP.replace("hydra.launcher.n_jobs=2", "hydra/launcher=slurm")
    failed = shell(f"{command} {given} output_dir={tmp_path} cache_dir={shared_cache}")
    assert failed.returncode == 1 and told in failed.stderr and "Traceback" not in failed.stderr
    assert len(failed.stderr.strip().splitlines()) == 1


def test_a_study_hands_its_launcher_on():
    own = ["hydra/launcher=slurm", "hydra.launcher.n_jobs=2", "+hydra.sweeper.num_workers=2"]
    others = ["hydra.verbose=true", "hydra.run.dir=x", "hydra/job_logging=stdout"]
    assert launcher_of([*own, *others]) == own
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        plan = StudyPlan.of(compose("study"), launcher=own)
        *sweeps, report = commands(plan).values()
    assert len(sweeps) > 3 and all(set(own) < set(command) for command in sweeps)
    assert not set(own) & set(report)
