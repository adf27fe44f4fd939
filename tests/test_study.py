"""A study as a whole: from one command to its report. What kills do to it is in test_soak.py."""

import re

import pandas as pd

from shell import succeed

OVERRIDES = """'overrides=["task.max_steps=300","task.data.num_train=400","run.resume_seconds=0.05"]'"""
STUDY = f"python -m lmc_lab.study {OVERRIDES} study.splits=[0,50,200] study.trunks=[0] study.branches=3"


def test_a_study_is_one_command_from_trunks_to_a_report(tmp_path, shared_cache):
    printed = succeed(f"{STUDY} output_dir={tmp_path} cache_dir={shared_cache}")
    assert sum(len(pd.read_parquet(path)) for path in tmp_path.glob("*/results/*.parquet")) > 100
    assert printed.count("$ python -m lmc_lab.") == 5 and "p_conv" in printed
    report = tmp_path / "reports" / "mnist1d"
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
