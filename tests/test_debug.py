"""``debug=…``: short runs that show whether a task works."""

import pandas as pd

from lmc_lab.runs import checkpoint
from shell import shell, succeed


def places(folder, cache):
    return f"output_dir={folder} cache_dir={cache}"


def test_fast_is_a_whole_run_of_few_steps(tmp_path, shared_cache):
    succeed(f"python -m lmc_lab.train debug=fast split_step=10 'seed=[0,1]' {places(tmp_path, shared_cache)}")
    ends = list(tmp_path.glob("*/trunk-0/split-10/branch-*/endpoint.safetensors"))
    assert len(ends) == 2
    curve = pd.read_csv(ends[0].parent / "metrics.csv")
    assert len(curve) == 10  # from 10 to 20


def test_overfit_learns_one_batch_by_heart(tmp_path, shared_cache):
    succeed(
        f"python -m lmc_lab.train debug=overfit 'split_step=[0]' task.max_steps=400 {places(tmp_path, shared_cache)}"
    )
    (path,) = tmp_path.glob("*/trunk-0/metrics.csv")
    assert pd.read_csv(path).iloc[-1, 1] < 0.05


def test_profile_tells_where_time_went(tmp_path, shared_cache):
    command = f"python -m lmc_lab.train debug=profile 'split_step=[0]' {places(tmp_path, shared_cache)}"
    result = shell(command)
    assert result.returncode == 0 and "Profiler Report" in result.stdout + result.stderr


def test_a_task_whose_data_cannot_be_cut_says_so(tmp_path, shared_cache):
    result = shell(
        f"python -m lmc_lab.train task=siren debug=overfit 'split_step=[0]' {places(tmp_path, shared_cache)}"
    )
    assert result.returncode == 1 and "found 'num_train'" in result.stderr


def test_no_debugging_changes_no_address(tmp_path, shared_cache):
    plain, named = (
        succeed(
            f"python -m lmc_lab.train {debug} split_step=3 task.max_steps=5 seed=0 {places(tmp_path, shared_cache)}"
        )
        for debug in ("", "debug=none")
    )
    assert plain == named
    (path,) = tmp_path.glob("*/trunk-0/split-3/branch-0/endpoint.safetensors")
    assert checkpoint.load(path).digest
