import json
from dataclasses import replace

import pytest

from lmc_lab.files import FORMAT, read_json
from lmc_lab.results.manifest import StudyRecord, index, keep_study, studies_in
from lmc_lab.results.part import Part
from lmc_lab.results.wanted import Wanted

RECORD = StudyRecord(
    name="small",
    asked={"study": {"splits": [0]}, "overrides": []},
    command="python -m lmc_lab.study study=small",
    versions={"torch": "2"},
    ran=1,
    fingerprint="0a",
    wanted=(Wanted("distances", 1, {"num_samples": 7}, (Part(0, 20, (0, 1), ((2, 31),)),)),),
    obstacles={"trunk 0, k = 20": ("seed 1 diverged",)},
)


def test_a_record_comes_back(tmp_path):
    keep_study(tmp_path, RECORD)
    assert studies_in(tmp_path) == [RECORD]


def test_a_study_has_one_record_and_one_that_asked_for_something_else_keeps_its_own(tmp_path):
    other = replace(RECORD, asked={"study": {"splits": [5]}, "overrides": []}, command="another")
    newer = replace(RECORD, versions={"torch": "3"})
    for record in (RECORD, other, newer):
        keep_study(tmp_path, record)
    assert studies_in(tmp_path) == [other, newer]


def test_what_the_same_command_asked_for_before_its_yaml_was_changed_is_forgotten(tmp_path):
    keep_study(tmp_path, RECORD)
    changed = replace(RECORD, asked={"study": {"splits": [5]}, "overrides": []})
    keep_study(tmp_path, changed)
    assert studies_in(tmp_path) == [changed]


def test_the_same_record_again_writes_nothing(tmp_path):
    keep_study(tmp_path, RECORD)
    before = (tmp_path / "manifest.json").stat().st_mtime_ns
    keep_study(tmp_path, RECORD)
    index(tmp_path)
    assert (tmp_path / "manifest.json").stat().st_mtime_ns == before


def test_studies_stay_when_results_are_listed(tmp_path):
    keep_study(tmp_path, RECORD)
    index(tmp_path)
    assert studies_in(tmp_path) == [RECORD] and read_json(tmp_path / "manifest.json")["results"] == {}


@pytest.mark.parametrize(
    "content", [b"", b"{", json.dumps({"studies": [{}], "checksum": "0", "format": FORMAT}).encode()]
)
def test_a_damaged_manifest_has_no_studies_until_one_is_run_again(tmp_path, content):
    (tmp_path / "manifest.json").write_bytes(content)
    assert studies_in(tmp_path) == []
    keep_study(tmp_path, RECORD)
    assert studies_in(tmp_path) == [RECORD] and (tmp_path / "manifest.json.corrupt").exists()
