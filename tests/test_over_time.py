"""Hulls of branches on their way: at step t of training, for branches that parted at step k."""

from dataclasses import replace

import pandas as pd
import pytest
import torch
from hydra import compose, initialize_config_dir

from conftest import REPOSITORY
from lmc_lab.analyses.convex_mode import ConvexMode
from lmc_lab.analyses.distances import Distances
from lmc_lab.analyses.store import ensure_rows
from lmc_lab.errors import UserError
from lmc_lab.figures import hull_map
from lmc_lab.landscape.geometry import centre, distances_to
from lmc_lab.results.folder import read_result
from lmc_lab.results.row_file import SCHEMA
from lmc_lab.runs.endpoints import Mode
from lmc_lab.runs.split import BranchLength
from lmc_lab.runs.subject import Request
from lmc_lab.runs.variation import Variation
from lmc_lab.studies.commands import commands
from lmc_lab.studies.plan import StudyPlan
from shell import shell, succeed
from tiny import tiny_experiment, train_branch

TINY = "task.max_steps=30 task.data.num_train=400"


def trained(folder, *, save_steps=(), **changes):
    torch.set_num_threads(1)  # as the tests have it, which begin after their fixtures: the last bit depends on it
    experiment = tiny_experiment(folder, **changes)
    experiment = replace(experiment, settings=replace(experiment.settings, save_steps=save_steps))
    for seed in range(3):
        train_branch(experiment, 13, seed)
    return experiment


@pytest.fixture(scope="module")
def experiment(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("over_time"), save_steps=(20, 30))


def mode_at(experiment, step):
    return Mode.load(experiment, Request(split_steps=(13,), at_step=step))


def test_a_run_to_t_contains_every_shorter_one(experiment, tmp_path):
    on_the_way, short = mode_at(experiment, 30), mode_at(trained(tmp_path, max_steps=30), None)
    assert torch.equal(on_the_way.endpoints, short.endpoints)
    assert on_the_way.buffers.keys() == short.buffers.keys() and len(short.buffers) > 1
    assert all(torch.equal(on_the_way.buffers[name], values) for name, values in short.buffers.items())
    assert torch.equal(on_the_way.training.path_lengths, short.training.path_lengths)
    assert (on_the_way.training.last_step, short.training.last_step) == (30, 30)


def test_its_rows_say_the_step_and_have_a_file_of_their_own(experiment):
    rows = {}
    for step in (20, 30, None):
        result = read_result(ensure_rows(experiment, mode_at(experiment, step), Distances(num_samples=5)))
        assert result.entry.subject[0].step == step and str(step or "k = 13") in str(result.entry.subject[0])
        assert (result.rows["step"].isna() if step is None else result.rows["step"].eq(step)).all()
        rows[step] = result.rows.set_index("quantity")["value"]
    endpoints = mode_at(experiment, 20).endpoints
    radius = distances_to(endpoints, centre(endpoints)).mean()
    assert rows[20]["hull_radius"] == pytest.approx(float(radius), rel=1e-12)
    assert rows[20]["path_length"] < rows[30]["path_length"] < rows[None]["path_length"]


@pytest.mark.parametrize(
    ("step", "message"),
    [(13, "between split_step=13 and their end at 40"), (40, "found 40"), (27, "run.save_steps=.27.")],
)
def test_a_step_that_is_not_on_the_way_or_was_not_saved_is_refused(experiment, step, message):
    with pytest.raises(UserError, match=message):
        mode_at(experiment, step)


def test_more_samples_are_drawn_until_p_conv_is_told_from_the_threshold(experiment):
    mode = mode_at(experiment, None)

    def measured(**settings):
        answers = ConvexMode(num_samples=6, **settings).measure(mode, experiment.task)
        return {each.subset: each for each in answers if getattr(each, "quantity", "") == "p_conv"}

    def num_samples(**settings):
        return {each.num_samples for each in measured(**settings).values()}

    train = measured()["train"]
    inside = (train.low + train.high) / 2
    assert num_samples() == {6} == num_samples(resolve=inside, max_samples=6)
    assert num_samples(resolve=inside, max_samples=20) == {20}
    assert num_samples(resolve=train.low / 2 if train.low > 0 else (1 + train.high) / 2, max_samples=600) == {6}


def test_analyses_and_a_study_measure_hulls_on_the_way_and_the_report_draws_them(tmp_path, shared_cache):
    places = f"output_dir={tmp_path} cache_dir={shared_cache}"
    study = (
        f'study {places} \'overrides=["task.max_steps=30","task.data.num_train=400"]\' study.trunks=[0] '
        "study.splits=[0,10] study.branches=2 'study.steps=[5,20]' '~study.analyses' "
        "'+study.analyses={convex_mode:{num_samples:8},distances:{num_samples:8},spectrum:{},onset:{}}'"
    )
    printed = succeed(f"python -m lmc_lab.{study}")
    assert (tmp_path / "reports" / "mnist1d" / "over_time.svg").exists() and "Missing" not in printed
    results = [read_result(path) for path in tmp_path.glob("*/results/*.parquet")]
    places_of = {
        name: sorted(
            (r.entry.subject[0].split_step, r.entry.subject[0].step or 30) for r in results if r.entry.analysis == name
        )
        for name in ("convex_mode", "distances", "spectrum")
    }
    assert places_of["convex_mode"] == places_of["distances"] == [(0, 5), (0, 20), (0, 30), (10, 20), (10, 30)]
    assert places_of["spectrum"] == [(0, 30), (10, 30)]
    onsets = pd.concat(result.rows for result in results if result.entry.analysis == "onset")
    assert set(onsets.query("quantity == 'onset_p_conv_splits'")["value"]) == {2}  # of the hulls at the end alone

    count = len(results)
    command = (
        f"python -m lmc_lab.analyze {TINY} {places} 'analysis=[distances,spectrum]' analysis.distances.num_samples=8"
    )
    assert len(succeed(f"{command} split_step=10 'steps=[5,20]'").splitlines()) == 3  # no hull at 5, no spectrum at 20
    assert len(list(tmp_path.glob("*/results/*.parquet"))) == count
    refused = {
        "split_step=10 steps=[30]": "expected a step t with 0 <= t < T = 30 steps, found 30",
        "split_step=10 steps=[25]": "save_steps=[25]",
        "split_step=10 steps=[late]": "expected a step like 2000, 400it or 2ep, found 'late'",
        "'endpoints=[a.pt,b.pt]' steps=[5]": "expected steps of branches, found weights from elsewhere",
    }
    for overrides, message in refused.items():
        result = shell(f"{command} {overrides}")
        assert result.returncode == 1 and message in result.stderr and "Traceback" not in result.stderr


def test_branches_with_t_steps_of_their_own_are_seen_beyond_t(tmp_path):
    """T = 40, k = 13: they end at step 53."""
    experiment = trained(tmp_path, save_steps=(45,), variation=Variation(length=BranchLength.AFTER_SPLIT))
    assert mode_at(experiment, 45).training.last_step == 45
    with pytest.raises(UserError, match="between split_step=13 and their end at 53, found 53"):
        mode_at(experiment, 53)


def test_a_study_of_such_branches_saves_and_measures_each_step_where_it_is_on_the_way():
    own = "overrides=['branch_length=after_split']"
    with initialize_config_dir(str(REPOSITORY / "conf"), version_base="1.3"):
        overrides = [own, "study.splits=[0,10]", "study.steps=[5,1505]", "study.trunks=[0]"]
        plan = StudyPlan.of(compose("study", overrides))
        (saving,) = (word for word in commands(plan)["branches"] if word.startswith("run.save_steps="))
        assert {"5", "1505"} <= {*saving.partition("=")[2].strip("[]").split(",")}
        hulls = [part for (part,) in plan.subjects_of(ConvexMode(num_samples=8)) if part.step is not None]
        assert [(part.split_step, part.step) for part in hulls] == [(0, 5), (10, 1505)]
        with pytest.raises(UserError, match="0 <= t < the end of a branch = 3000 steps, found 3000"):
            StudyPlan.of(compose("study", [own, "study.steps=[3000]"])).check_splits()


@pytest.mark.parametrize("radii", [(0.0, 0.5), (0.0, 0.0)])
def test_a_hull_without_extent_has_no_cell_in_a_map_of_lengths(radii):
    lines = [
        {"task": "t", "trunk": 0, "split_step": 0, "step": step, "quantity": "hull_radius", "value": radius}
        for step, radius in zip((10, 20), radii, strict=True)
    ]
    rows = pd.DataFrame(lines).reindex(columns=list(SCHEMA)).astype(SCHEMA)
    axis = hull_map(rows, "hull_radius")
    assert [text.get_text() for text in axis.texts if text.get_text() == "0.5"] == ["0.5"] * radii.count(0.5)
