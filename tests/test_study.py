"""A study as a whole: from one command to its report. What kills do to it is in test_soak.py."""

import json
import re
import shlex
import shutil

import pandas as pd
import pytest

from shell import shell, succeed

SMALL = ["task.max_steps=300", "task.data.num_train=400", "task.data.num_test=100", "run.resume_seconds=0.05"]
OVERRIDES = f"'overrides={json.dumps(SMALL)}'"
STUDY = (
    f"python -m lmc_lab.study {OVERRIDES} study.splits=[0,50,200] study.steps=[100] study.trunks=[0] study.branches=3"
)


def test_a_study_is_one_command_from_trunks_to_a_report(tmp_path, shared_cache):
    printed = succeed(f"{STUDY} output_dir={tmp_path} cache_dir={shared_cache}")
    assert sum(len(pd.read_parquet(path)) for path in tmp_path.glob("*/results/*.parquet")) > 100
    assert printed.count("$ python -m lmc_lab.") == 6 and "p_conv" in printed
    report = tmp_path / "reports" / "mnist1d"
    figures = {"figure2", "over_time", "figure3", "figure4", "figure5", "figure6", "shared_correct", "pairs"}
    expected = {f"{name}.{kind}" for name in figures for kind in ("png", "svg", "pdf")} | {
        "report.html",
        "figures.json",
        "captions.txt",
    }
    assert {path.name for path in report.iterdir()} == expected
    assert_drawn_elsewhere(tmp_path, figures)
    linked = set(re.findall(r'href="(\w+\.[a-z]+)"', (report / "report.html").read_text()))
    assert {f"{name}.pdf" for name in figures} < linked <= {path.name for path in report.iterdir()}


def assert_drawn_elsewhere(output_dir, figures):
    """Draws a copy of the results alone, without torch: by the same settings, and not by others."""
    (results,) = output_dir.glob("*/results")
    copy = output_dir / "copied" / "mine"
    shutil.copytree(results, copy)
    script = "import sys; from lmc_lab import report; report.main(); print('torch' in sys.modules)"
    printed = succeed(
        f"python -c {shlex.quote(script)} {STUDY.partition(' ')[2].partition('study ')[2]} output_dir={copy}"
    )
    assert printed.endswith("False\n") and {path.stem for path in copy.glob("reports/*/*.svg")} == figures
    other = shell(f"python -m lmc_lab.report {OVERRIDES} output_dir={copy}")
    assert (
        other.returncode == 1
        and "found it, but with other study.trunks and study.splits and study.branches and study.steps" in other.stderr
    )


@pytest.mark.long
def test_a_report_shows_the_studys_own_settings_only(tmp_path, shared_cache):
    places = f"output_dir={tmp_path} cache_dir={shared_cache}"
    small = """'overrides=["task.max_steps=30","task.data.num_train=400"]' study.trunks=[0] study.branches=2"""
    without = " ".join(
        f"'~study.analyses.{name}'" for name in ("trunk_hessian", "trunk_midpoint_gap", "branch_hessian")
    )
    study = f"study.splits=[0,10] study.steps=[] {small} {without}"
    printed = succeed(f"python -m lmc_lab.study {study} {places}")
    other = "task.max_steps=30 task.data.num_train=400 split_step=10 analysis.convex_mode.num_samples=7"
    succeed(f"python -m lmc_lab.analyze {other} {places}")
    again = succeed(f"python -m lmc_lab.report {study} {places} logger=wandb", WANDB_MODE="offline")
    assert printed.endswith(again) and again.count("mnist1d      0") == 3  # two modes and an onset
    assert len(list(tmp_path.glob("wandb/offline-run-*/run-*.wandb"))) == 2  # of the trunk and of the study
