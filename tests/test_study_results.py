"""Which results are a study's own, and what is said of those that it lacks."""

from dataclasses import replace

import pandas as pd
import pytest
from hydra import compose, initialize_config_dir

from conftest import REPOSITORY
from entries import entry
from lmc_lab.analyses.distances import Distances
from lmc_lab.analyses.hulls import Hulls
from lmc_lab.analyses.store import identity_settings
from lmc_lab.errors import UserError
from lmc_lab.failures import Failures
from lmc_lab.reporting.missing import missing_table
from lmc_lab.results.part import Part
from lmc_lab.results.row_file import SCHEMA, read_rows, write_rows
from lmc_lab.results.study_results import collect
from lmc_lab.runs.status import write_status
from lmc_lab.studies.commands import bracket_commands, branch_folders, commands, plan_at_bracket
from lmc_lab.studies.plan import StudyPlan
from lmc_lab.studies.record import record_of
from lmc_lab.study import _can_run


@pytest.fixture
def plan(tmp_path):
    study = ["study.trunks=[0,1]", "study.splits=[0,20]", "study.steps=[]", "study.branches=3"]
    with initialize_config_dir(str(REPOSITORY / "conf"), version_base="1.3"):
        config = compose("study", [*study, f"output_dir={tmp_path}"])
        config.study.analyses = {"distances": {"num_samples": 7}, "trunk_curve": {}, "inter_mode": {}}
        plan = StudyPlan.of(config)
        assert plan.measured  # it composes now
    return plan


def measured(plan, name, *parts, created=1, **changes):
    """Writes a result of one row, as if an analysis of the plan had measured these parts."""
    analysis = next(analysis for analysis in plan.measured if analysis.name == name)
    settings = identity_settings(analysis, variant="") | changes
    content = {"settings": settings, "fingerprint": plan.experiment.task.fingerprint, "version": analysis.version}
    rows = pd.DataFrame([{"quantity": "hull_radius", "value": created}]).reindex(columns=list(SCHEMA)).astype(SCHEMA)
    number = len(list(plan.experiment.paths.results.glob("*"))) if plan.experiment.paths.results.exists() else 0
    path = plan.experiment.paths.result(name, str(number))
    write_rows(rows, entry(**(content | {"analysis": name, "subject": parts, "created": created})), path)
    return path


def collected(plan):
    return collect(record_of(plan), plan.experiment.paths.results)


def found(plan, name):
    return [result.entry for result in collected(plan).found if result.entry.analysis == name]


def test_others_branches_never_enter(plan):
    measured(plan, "distances", Part(0, 0, (0, 1, 2, 3, 4)), created=9)
    measured(plan, "distances", Part(0, 0, (0, 1, 2)))
    measured(plan, "distances", Part(0, 40, (0, 1, 2)))  # another split
    measured(plan, "distances", Part(7, 0, (0, 1, 2)))  # another trunk
    measured(plan, "distances", Part(0, 20, (0, 1, 2)), num_samples=8)  # another setting
    measured(plan, "distances", Part(1, 0, (0, 1), ((7, 30),)))  # without a diverged branch of others
    assert [each.subject for each in found(plan, "distances")] == [(Part(0, 0, (0, 1, 2)),)]


def test_the_most_complete_is_taken_and_the_newest_among_equals(plan):
    measured(plan, "distances", Part(0, 0, (0, 1)), created=9)
    measured(plan, "distances", Part(0, 0, (0, 1, 2)), created=3)
    measured(plan, "distances", Part(0, 0, (0, 1, 2)), created=4)
    (taken,) = found(plan, "distances")
    assert taken.subject[0].branches == (0, 1, 2) and taken.created == 4


def test_of_weights_from_elsewhere_the_newest_of_each_set_is_taken_and_none_is_the_studys(plan):
    first = Part(None, branches=(0, 1), files=(("a.pt", "1f"), ("b.pt", "2e")))
    renamed = Part(None, branches=(0, 1), files=(("c.pt", "1f"), ("d.pt", "2e")))
    other = Part(None, branches=(0, 1), files=(("a.pt", "1f"), ("e.pt", "3d")))
    for created, part in enumerate((first, renamed, other)):
        measured(plan, "distances", part, created=created)
    assert [result.entry.subject for result in collected(plan).elsewhere] == [(renamed,), (other,)]
    measured(plan, "distances", first, created=3, num_samples=8)  # another setting is another result
    assert [result.entry.subject for result in collected(plan).elsewhere] == [(renamed,), (other,), (first,)]
    assert not found(plan, "distances")


def test_several_trunks_are_the_same_in_any_order(plan):
    measured(plan, "inter_mode", Part(1, 20, (0, 1, 2)), Part(0, 20, (0, 1, 2)))
    measured(plan, "inter_mode", Part(0, 0, (0, 1, 2)))  # one trunk is not both
    assert len(found(plan, "inter_mode")) == 1


def test_what_is_missing_is_said_with_the_reason(plan):
    whole, variant = (0, 1, 2), plan.experiment.variant
    measured(plan, "trunk_curve", Part(0))
    measured(plan, "trunk_curve", Part(1))
    measured(plan, "distances", Part(0, 0, whole))
    measured(plan, "distances", Part(1, 0, (0, 1), ((2, 31),)))
    measured(plan, "distances", Part(1, 20, (0, 2)))
    for trunk in (0, 1):
        for step in plan.steps:
            for seed in whole:
                folder = plan.experiment.paths.split(trunk, step, variant).branch(seed)
                state = {(1, 0, 2): "diverged", (0, 20, 1): "diverged", (0, 20, 2): "running"}.get((trunk, step, seed))
                write_status(folder, status=state or "finished", step=31)
    there = collected(plan)
    table = missing_table(record_of(plan), there)
    assert table[["missing", "of", "why"]].values.tolist() == [
        ["distances", "trunk 0, k = 20", "seed 1 diverged at step 31; not finished: seed 2"],
        ["inter_mode", "trunk 0, k = 0; trunk 1, k = 0", "trunk 1, k = 0: seed 2 diverged at step 31"],
        [
            "inter_mode",
            "trunk 0, k = 20; trunk 1, k = 20",
            "trunk 0, k = 20: seed 1 diverged at step 31; trunk 0, k = 20: not finished: seed 2",
        ],
        ["distances", "trunk 1, k = 20", "not of all branches"],
    ]
    assert there.left_out == ["trunk 1, k = 0: seed 2 (at step 31)"]


def test_a_damaged_file_is_named_and_left_out(plan):
    path = measured(plan, "distances", Part(0, 0, (0, 1, 2)))
    path.write_bytes(path.read_bytes()[:-1])
    there = collected(plan)
    assert not there.found and str(path) in str(there.damaged[0])
    assert path.exists()  # who only reads moves nothing


def test_a_study_names_its_branches_to_its_analyses(plan):
    with initialize_config_dir(str(REPOSITORY / "conf"), version_base="1.3"):
        planned = commands(plan)
    assert "seeds=[0,1,2]" in planned["modes"] and "seeds=[0,1,2]" in planned["across-trunks"]
    assert not [item for item in planned["trunk-states"] if item.startswith("seeds")]
    assert not [item for item in planned["branches"] if item.startswith("allow_diverged")]


def test_a_study_names_the_states_of_its_trunks(plan):
    analyses = {"trunk_hessian": {}, "trunk_midpoint_gap": {"steps": [7]}, "trunk_curve": {}}
    own = replace(plan, analyses=analyses, shared=(*plan.shared, "run.save_steps=[5]"))
    with initialize_config_dir(str(REPOSITORY / "conf"), version_base="1.3"):
        planned = commands(own)
        settings = {wanted.analysis: wanted.settings for wanted in record_of(own).wanted}
    last = own.experiment.task.max_steps
    assert f"analysis.trunk_hessian.steps=[0,7,20,{last}]" in planned["trunk-states"]
    assert f"run.save_steps=[0,7,20,{last}]" in planned["trunks"]
    assert settings["trunk_hessian"]["steps"] == [0, 7, 20, last] and settings["trunk_midpoint_gap"]["steps"] == [7]
    assert "steps" not in settings["trunk_curve"] and not [
        item for item in planned["trunk-states"] if item.startswith("analysis.trunk_curve.")
    ]


def test_steps_that_the_trunks_save_anyway_are_among_a_studys_states(plan):
    own = replace(plan, analyses={"trunk_hessian": {}}, shared=(*plan.shared, "run.save_steps=[5]"))
    with initialize_config_dir(str(REPOSITORY / "conf"), version_base="1.3"):
        assert [each.steps for each in own.measured] == [[0, 5, 20, own.experiment.task.max_steps]]


def test_the_branches_at_the_bracket_are_made_as_their_analysis_wants_them(plan, monkeypatch):
    own = replace(plan, analyses={"onset": {}, "convex_mode": {}, "hulls": {}}, bracket=(20,))
    monkeypatch.setattr(Hulls, "branch", {"overrides": {"batch_size": 7}})
    with initialize_config_dir(str(REPOSITORY / "conf"), version_base="1.3"):
        training, measuring = bracket_commands(own).items()
        (folder, *_), plain = branch_folders(plan_at_bracket(own), training[0]), branch_folders(own)[0]
    assert training[0] == "branches-of-hulls-of-bracket" and measuring[0] == "bracket"
    assert "branch.overrides={batch_size:7}" in training[1] and "seed=range(6)" in training[1]
    assert folder.path.parent.name.startswith("split-20-varied_") and plain.path.parent.name == "split-0"


def test_a_study_that_asks_for_other_branches_alone_trains_no_plain_ones(plan, monkeypatch):
    monkeypatch.setattr(Distances, "branch", {"overrides": {"batch_size": 7}})
    with initialize_config_dir(str(REPOSITORY / "conf"), version_base="1.3"):
        planned = commands(replace(plan, analyses={"distances": {}, "trunk_curve": {}}))
    assert [stage for stage in planned if stage.startswith("branches")] == ["branches-of-distances"]


def test_a_study_says_which_results_its_onset_is_of(plan):
    own = replace(plan, analyses={"onset": {}, "convex_mode": {"num_samples": 7}, "distances": {"num_samples": 7}})
    with initialize_config_dir(str(REPOSITORY / "conf"), version_base="1.3"):
        planned = commands(own)
        wanted = [each for each in record_of(own).wanted if each.analysis == "onset"]
    assert list(planned).index("splits") > list(planned).index("modes")
    assert "analysis.onset.results={convex_mode:{num_samples:7}}" in planned["splits"]
    assert "split_step=[0,20]" in planned["splits"] and "trunk_seed=0,1" in planned["splits"]
    assert [each.settings for each in wanted] == [{"results": {"convex_mode": {"num_samples": 7}}}] * 2
    assert [each.subject for each in wanted] == [
        tuple(Part(trunk, step, (0, 1, 2)) for step in (0, 20)) for trunk in (0, 1)
    ]


def test_a_result_of_another_task_is_not_a_studys(plan):
    measured(plan, "trunk_curve", Part(0), Part(1))
    path = measured(plan, "trunk_curve", Part(0))
    rows, own = read_rows(path)
    write_rows(rows, replace(own, fingerprint="other"), path)
    assert not found(plan, "trunk_curve")


def test_a_study_passes_on_that_branches_may_diverge():
    with initialize_config_dir(str(REPOSITORY / "conf"), version_base="1.3"):
        planned = commands(StudyPlan.of(compose("study", ["allow_diverged=true"])))
    assert all("allow_diverged=true" in planned[stage] for stage in ("branches", "modes", "across-trunks"))


def test_a_study_passes_on_all_keys_of_its_logger():
    given = ["logger=wandb", "++logger.project=mine", "study.trunks=[0]"]
    with initialize_config_dir(str(REPOSITORY / "conf"), version_base="1.3"):
        planned = commands(StudyPlan.of(compose("study", given), given=given))
    assert {"logger=wandb", "++logger.project=mine"} <= set(planned["branches"]) and "study.trunks=[0]" not in planned[
        "branches"
    ]


def test_one_split_in_two_spellings_is_refused():
    with initialize_config_dir(str(REPOSITORY / "conf"), version_base="1.3"):
        plan = StudyPlan.of(compose("study", ["study.splits=[250,250it]"]))
        with pytest.raises(UserError, match=r"expected different steps in study.splits, found \[250, 250\]"):
            plan.check_splits()


def failed(stage):
    failures = Failures("stage")
    with failures.collected(stage):
        raise UserError("expected")
    return failures


def test_later_stages_do_what_they_can_and_without_trunks_nothing(plan):
    assert _can_run("modes", plan, failed("branches"))
    assert not _can_run("branches", plan, failed("trunks"))
    assert not _can_run("report", plan, failed("trunks"))  # there is nothing to show
    measured(plan, "trunk_curve", Part(0))
    assert _can_run("report", plan, failed("trunks"))
