"""``report beside=[…]``: a column for each study. Their rows are written by hand; no study is run."""

import pandas as pd
import pytest

from entries import entry
from in_process import run_here
from lmc_lab import report
from lmc_lab.configs import composed, config_dir
from lmc_lab.construct import plain
from lmc_lab.results.manifest import StudyRecord, keep_study
from lmc_lab.results.part import Part
from lmc_lab.results.row_file import SCHEMA, write_rows
from lmc_lab.results.wanted import Wanted
from lmc_lab.studies.request import asked

P_CONV = {"mnist1d": 0.25, "siren": 0.75}  # of the one mode of each study


@pytest.fixture
def measured(tmp_path):
    for study, p_conv in P_CONV.items():
        _measure(study, p_conv, tmp_path)
    return tmp_path


def _measure(study, p_conv, folder):
    """Writes the rows of a study with one mode, and that it asked for them."""
    config = composed("report", [f"study={study}", f"output_dir={folder}"], [config_dir()])
    task = plain(composed("train", list(config.study.overrides), [config_dir()]).task)
    mode, results = (Part(0, 0, (0, 1)),), folder / f"{study}-0" / "results"
    results.mkdir(parents=True)
    row = {"task": task["name"], "trunk": 0, "split_step": 0, "analysis": "convex_mode", "quantity": "p_conv"}
    ends = {"subset": "train", "value": p_conv, "low": 0.1, "high": 0.9, "num_samples": 100, "num_endpoints": 2}
    rows = pd.DataFrame([row | ends]).reindex(columns=list(SCHEMA)).astype(SCHEMA)
    write_rows(rows, entry(subject=mode, config={"task": task}), results / "convex_mode-0.parquet")
    command = f"python -m lmc_lab.study study={study}"
    wanted = (Wanted("convex_mode", 1, {}, mode),)
    keep_study(
        results,
        StudyRecord(
            name=study, asked=asked(config), command=command, versions={}, ran=1, fingerprint="0", wanted=wanted, obstacles={}
        ),
    )  # fmt: skip


def test_two_studies_are_two_columns_of_one_page(measured, monkeypatch, capsys):
    arguments = ["study=mnist1d", "beside=[siren]", "figures=[png]", f"output_dir={measured}"]
    run_here(monkeypatch, "report", arguments, report.job)
    printed = capsys.readouterr().out
    folder = measured / "reports" / "mnist1d+siren"
    assert (
        all(name in printed for name in (*P_CONV, "report.html", "figure2.png")) and (folder / "figure2.png").exists()
    )
    page = (folder / "report.html").read_text()
    assert all(f"python -m lmc_lab.study study={study}" in page for study in P_CONV)
    assert "0.25" in page and "0.75" in page
