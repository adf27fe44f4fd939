"""A study that looks for the onset itself."""

import json

import pandas as pd

from lmc_lab.landscape.onset_search import bracket_of, num_reversals
from lmc_lab.results.folder import read_result
from shell import shell, succeed

SMALL = """'overrides=["task.max_steps=80","task.data.num_train=400"]' study.trunks=[0] study.branches=2"""
ANALYSES = (
    "'~study.analyses' '+study.analyses={convex_mode:{num_samples:8},onset:{},hulls:{num_hulls:3,num_samples:5}}'"
)
SEARCH = f"{SMALL} {ANALYSES} study=mnist1d_onset study.search.max_splits=6"


def test_a_study_searches_its_splits_and_reports_them(tmp_path, shared_cache):
    places = f"output_dir={tmp_path} cache_dir={shared_cache}"
    printed = succeed(f"python -m lmc_lab.study {SEARCH} {places}")
    results = [read_result(path) for path in tmp_path.glob("*/results/*.parquet")]
    measured = {each.entry.subject[0].split_step: each for each in results if each.entry.analysis == "convex_mode"}
    assert {0, 3, 10, 40} <= measured.keys() or {0, 2, 10, 40} <= measured.keys()
    p_conv = {
        step: float(each.rows.query("quantity == 'p_conv' and subset == 'train'")["value"].iloc[0])
        for step, each in measured.items()
    }
    outcomes = {step: value >= 0.9 for step, value in p_conv.items()}
    found = bracket_of(outcomes)
    assert f"trunk 0, of {len(measured)} splits: p_conv {found}" in printed
    assert ("not monotone" in printed) == (num_reversals(outcomes) > 0)
    assert {each.entry.settings["resolve"] for each in measured.values()} == {0.9}
    onsets = pd.concat(each.rows for each in results if each.entry.analysis == "onset")
    assert set(onsets.query("quantity == 'onset_p_conv_splits'")["value"]) == {len(measured)}
    at_bracket = {each.entry.subject[0].split_step: each.rows for each in results if each.entry.analysis == "hulls"}
    assert at_bracket.keys() == {found.failed, found.held} - {None}
    for rows in at_bracket.values():
        assert set(rows["num_endpoints"]) == {4} and rows.query("quantity == 'p_conv_hulls'")["low"].notna().all()
        assert set(rows.query("quantity == 'endpoints_per_hull'")["value"]) == {2}
    (manifest,) = tmp_path.glob("*/results/manifest.json")
    (study,) = json.loads(manifest.read_text())["studies"]
    assert len([each for each in study["wanted"] if each["analysis"] == "convex_mode"]) == len(measured)
    assert "Missing" not in succeed(
        f"python -m lmc_lab.report {SEARCH} {places}"
    )  # it knows the splits by the manifest


def test_what_cannot_be_searched_is_said_before_anything_is_trained(tmp_path):
    refused = {
        "study.search.ratio=1": "expected study.search.ratio to be a number >= 1.01, found 1",
        "+study.search.widths=2": "expected study.search to have ratio, max_splits, splits, found widths",
        "'+study.search.splits=[80]'": "expected a split step k with 0 <= k < T = 80 steps, found 80",
        "~study.analyses.convex_mode": "expected convex_mode among study.analyses, by which splits are searched",
        "study.splits=look": "expected study.splits to be 'search' or a list",
    }
    for overrides, message in refused.items():
        result = shell(f"python -m lmc_lab.study study=mnist1d_onset {SMALL} {overrides} output_dir={tmp_path}")
        assert result.returncode == 1 and message in result.stderr, result.stderr
    assert not list(tmp_path.glob("mnist1d*"))
