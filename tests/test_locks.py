"""Locks, and what becomes of a sweep where a file system has none."""

import fcntl
import multiprocessing
import os
import time

import pytest

from lmc_lab import locks
from lmc_lab.errors import UserError
from shell import shell, succeed

SMALL = "task.max_steps=30 task.data.num_train=400 task.data.num_test=100"


@pytest.fixture
def no_locks(monkeypatch):
    monkeypatch.setattr(fcntl, "flock", lambda file, how: None)


def test_a_folder_with_locks_passes(tmp_path):
    locks.check_locks(tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_folder_in_which_two_processes_get_the_same_lock_is_refused(tmp_path, no_locks):
    with pytest.raises(
        UserError, match="found that two processes had the same one; use another output_dir, or locks=false"
    ):
        locks.check_locks(tmp_path)


def test_a_folder_that_has_no_locks_at_all_is_refused(tmp_path, monkeypatch):
    def refuse(file, how):
        raise OSError(37, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(UserError, match=r"found none \(No locks available\)"):
        locks.check_locks(tmp_path)


def _check_in_another_process(folder):
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(locks.check_lock_is_held, (folder,))


def test_a_job_sees_the_lock_that_its_sweep_holds(tmp_path):
    with locks.HeldLock(tmp_path):
        _check_in_another_process(tmp_path)


def test_a_job_that_gets_the_lock_of_a_sweep_which_is_there_says_so(tmp_path):
    (tmp_path / ".sweep.lock").touch()  # held by nobody that this machine sees
    with pytest.raises(UserError, match="found locks that other machines do not see"):
        locks.check_lock_is_held(tmp_path)


def test_a_job_goes_on_whose_sweep_is_gone(tmp_path):
    (tmp_path / ".sweep.lock").touch()
    long_ago = time.time() - 3600
    os.utime(tmp_path / ".sweep.lock", (long_ago, long_ago))
    locks.check_lock_is_held(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [".sweep.lock"]


def test_without_locks_none_is_taken_and_no_branch_trains_the_trunk(tmp_path, shared_cache):
    command = (
        f"python -m lmc_lab.train {SMALL} split_step=10 locks=false output_dir={tmp_path} cache_dir={shared_cache}"
    )
    failed = shell(f"{command} seed=0")
    assert failed.returncode == 1 and "expected trunk 0 to have come to step 10, found that it has not" in failed.stderr
    succeed(command)
    succeed(f"{command} -m seed=0,1")
    assert len(list(tmp_path.rglob("endpoint.safetensors"))) == 2 and not list(tmp_path.rglob("*.lock"))
