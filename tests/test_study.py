"""A study as a whole: from one command to its report, and killed half-way."""

import re

import pandas as pd
import pytest

from shell import kill, start, succeed, wait_for

OVERRIDES = """'overrides=["task.max_steps=300","task.data.num_train=400","run.resume_seconds=0.05"]'"""
STUDY = f"python -m lmc_lab.study {OVERRIDES} study.splits=[0,50,200] study.trunks=[0] study.branches=3"


def rows_of(folder):
    """Returns all measurement rows, in an order of their own."""
    rows = pd.concat(pd.read_parquet(path) for path in folder.glob("*/results/*.parquet"))
    return rows.sort_values(["analysis", "split_step", "quantity", "subset", "branch"]).reset_index(drop=True)


@pytest.mark.timeout(600)  # four studies, on a machine that may be busy
def test_a_killed_study_goes_on_to_the_same_rows_bit_for_bit(tmp_path, shared_cache):
    cache = f"cache_dir={shared_cache}"
    printed = succeed(f"{STUDY} output_dir={tmp_path}/whole {cache}")
    for at_least in (1, 4):  # in the first branches, and again among the last
        with start(f"{STUDY} output_dir={tmp_path}/killed {cache}") as study:
            wait_for(
                lambda count=at_least: (
                    len(list(tmp_path.glob("killed/*/trunk-0/split-*/branch-*/status.json"))) >= count
                )
            )
            wait_for(lambda: list(tmp_path.glob("killed/*/trunk-0/split-*/branch-*/resume.safetensors")))
            kill(study.pid)
    assert not list(tmp_path.glob("killed/*/results/*.parquet"))
    succeed(f"{STUDY} output_dir={tmp_path}/killed {cache}")
    whole, killed = rows_of(tmp_path / "whole"), rows_of(tmp_path / "killed")
    assert len(whole) > 100
    pd.testing.assert_frame_equal(whole, killed, check_exact=True)

    assert printed.count("$ python -m lmc_lab.") == 5 and "p_conv" in printed
    report = tmp_path / "whole" / "reports" / "mnist1d"
    figures = {"figure2", "figure3", "figure4", "figure5", "figure6", "shared_correct", "pairs"}
    expected = {f"{name}.{kind}" for name in figures for kind in ("png", "svg")} | {"index.html"}
    assert {path.name for path in report.iterdir()} == expected
    assert set(re.findall(r'src="([^"]+)"', (report / "index.html").read_text())) <= {p.name for p in report.iterdir()}


def test_a_report_shows_the_studys_own_settings_only(tmp_path, shared_cache):
    places = f"output_dir={tmp_path} cache_dir={shared_cache}"
    small = """'overrides=["task.max_steps=30","task.data.num_train=400"]' study.trunks=[0] study.branches=2"""
    without = " ".join(
        f"'~study.analyses.{name}'" for name in ("trunk_hessian", "trunk_midpoint_gap", "branch_hessian")
    )
    study = f"study.splits=[0,10] {small} {without}"
    printed = succeed(f"python -m lmc_lab.study {study} {places}")
    other = "task.max_steps=30 task.data.num_train=400 split_step=10 analysis.convex_mode.num_samples=7"
    succeed(f"python -m lmc_lab.analyze {other} {places}")
    again = succeed(f"python -m lmc_lab.report {study} {places} logger=wandb", WANDB_MODE="offline")
    assert printed.endswith(again) and again.count("mnist1d      0") == 3  # two modes and an onset
    assert len(list(tmp_path.glob("wandb/offline-run-*/run-*.wandb"))) == 2  # of the trunk and of the study
