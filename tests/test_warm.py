"""The `python` of `shell.shell`, which has imported already, does what Python does; what it cannot do is Python's."""

import shlex
import subprocess

import pandas as pd
import pytest

from lmc_lab.runs import checkpoint
from shell import environment, is_alive, shell, succeed, wait_for, warm_python

OWN = """
import atexit, logging, os, random, signal, sys, threading, time


def told(*, data_dir, cache_dir):
    atexit.register(print, "at the end", flush=True)
    threading.Thread(target=lambda: (time.sleep(0.5), print("a thread", flush=True))).start()
    print(sys.argv, sys.path[:3], repr(sys.stdin.read()), os.getcwd(), oct(os.umask(0o77)), os.environ.get("HTTPS_PROXY"))
    print(sys.modules["__main__"].__spec__.name, sys.flags, sys.warnoptions, len(logging.root.handlers), os.getppid() > 1)
    print(sorted(os.listdir("/proc/self/fd"))[:-1], threading.active_count(), signal.getsignal(signal.SIGINT).__qualname__)
    sys.exit(3)


def wrong(*, data_dir, cache_dir):
    raise ZeroDivisionError("of one's own")


def killed(*, data_dir, cache_dir):
    os.kill(os.getpid(), signal.SIGKILL)


def slow(*, data_dir, cache_dir):
    print(os.getpid(), flush=True)
    time.sleep(100)


def whose():
    sys.exit(print(sys.executable))
"""
TINY = "task.max_steps=40 task.data.num_train=400 split_step=20"
SWEEP = f"python -m lmc_lab.train {TINY} -m 'seed=range(3)' hydra.launcher.n_jobs=1"
OF_ONES_OWN = "python -m lmc_lab.train '~task.data' '+task.data={_target_: own.%s}'"


@pytest.fixture
def own(tmp_path):
    for name in ("warm", "real"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "own.py").write_text(OWN)
    return tmp_path


def both(command, own, **extra):
    """Returns what a command does with imports that are there already, and without: exit code and what is printed."""
    for name in ("warm", "real"):
        found = shell(command, cwd=own / name, is_warm=name == "warm", **extra)
        yield found.returncode, *(text.replace(str(own / name), "here") for text in (found.stdout, found.stderr))


def products(folder):
    """Returns the content of what was made in a folder, without times."""
    found = {str(path.relative_to(folder)): None for path in folder.rglob("*") if "sweeps" not in path.parts}
    for name in found:
        if name.endswith(".safetensors"):
            found[name] = checkpoint.load(folder / name).digest
        if name.endswith(".parquet"):
            found[name] = pd.read_parquet(folder / name).to_csv()
    return found


def test_training_and_measuring_make_the_same_bits_and_say_the_same(own, shared_cache):
    for command in (
        SWEEP,
        SWEEP,  # once more, when all is there
        f"python -m lmc_lab.train {TINY} branches=2",
        f"python -m lmc_lab.analyze {TINY} 'analysis=[convex_mode,distances,spectrum,trunk_curve]'",
        "python -m lmc_lab.doctor",
        "python -m lmc_lab.report",
    ):
        cache = "" if "doctor" in command else f"cache_dir={shared_cache}"
        warm, real = both(f"{command} {cache}", own)
        assert warm == real
    warm, real = (products(own / name) for name in ("warm", "real"))
    assert warm == real and len([name for name in warm if name.endswith("endpoint.safetensors")]) == 3


@pytest.mark.parametrize(
    "command",
    [
        f"umask 007; echo typed | {OF_ONES_OWN % 'told'} trunk_seed=7 | cat; echo ${{PIPESTATUS[@]}}",
        f"{OF_ONES_OWN % 'wrong'} 2> errors; echo $?; head -n 1 errors; tail -n 1 errors",
        f"{{ {OF_ONES_OWN % 'killed'} & wait $!; }} 2> errors; echo $?",
        "python -m lmc_lab.train split_step=soon 3> further",
        "python -m lmc_lab.train --cfg job",
    ],
)
def test_a_process_has_what_a_shell_gives_it_and_ends_as_it_would(own, command):
    warm, real = both(command, own, HTTPS_PROXY="http://127.0.0.1:9")
    assert warm == real


@pytest.mark.parametrize(
    ("before", "is_warm"),
    [
        ("", True),
        ("HTTPS_PROXY=here", True),
        ("OMP_NUM_THREADS=1", False),
        ("PYTHONPATH=.", False),
        ("LMC_PARENT_PID=1", False),
        ("nice -n 1", False),
        ("setsid --wait", False),
        ("timeout 60", False),
        ("ulimit -n 500;", False),
        ("trap '' TERM;", False),
        ("touch omegaconf.py;", False),
    ],
)
def test_what_the_server_cannot_give_has_a_python_of_its_own(own, before, is_warm):
    python = shell(
        f"{before} python -m lmc_lab.report '+figure.own={{_target_: own.whose}}'", cwd=own / "warm"
    ).stdout.strip()
    assert python.startswith(str(warm_python())) == is_warm


def test_what_is_no_entry_point_has_a_python_of_its_own():
    for command in ("-c 'import sys; print(sys.executable)'", "-c 'import lmc_lab, sys; print(sys.executable)' -m x"):
        assert str(warm_python()) not in succeed(f"python {command}")


def test_a_command_ends_with_whoever_started_it(own):
    with subprocess.Popen(
        shlex.split(OF_ONES_OWN % "slow"), executable=warm_python() / "python", stdout=subprocess.PIPE, text=True,
        cwd=own / "warm", env=environment(warm_python()),
    ) as process:  # fmt: skip
        pid = int(process.stdout.readline())
        assert pid != process.pid and is_alive(pid)
        process.kill()
        wait_for(lambda: not is_alive(pid), seconds=20)
