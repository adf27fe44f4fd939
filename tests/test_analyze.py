"""What one analysis, one branch or one file that fails costs, through the shell."""

import json
from pathlib import Path

import pandas as pd
import pytest
import torch
from hydra import compose, initialize_config_dir
from safetensors.torch import save_file

from conftest import REPOSITORY
from lmc_lab.data.mnist1d import load
from lmc_lab.models.conv1d import ConvNet1d
from lmc_lab.runs import checkpoint
from lmc_lab.runs.status import write_status
from lmc_lab.studies.commands import branch_folders
from lmc_lab.studies.plan import StudyPlan
from shell import shell, succeed

TINY = "task.max_steps=30 task.data.num_train=400"


@pytest.fixture
def places(tmp_path, shared_cache):
    return f"output_dir={tmp_path} cache_dir={shared_cache}"


def test_an_analysis_that_fails_costs_its_own_rows(tmp_path, places):
    succeed(f"python -m lmc_lab.train {TINY} {places} split_step=10 -m 'seed=range(2)'")
    analyses = "'analysis=[trunk_hessian,distances,trunk_midpoint_gap,spectrum]'"
    settings = "analysis.trunk_hessian.steps=[7] analysis.trunk_midpoint_gap.steps=[7]"
    result = shell(f"python -m lmc_lab.analyze {TINY} {places} split_step=10 {analyses} {settings}")
    (line,) = result.stderr.splitlines()
    assert result.returncode == 1 and "Traceback" not in result.stdout
    assert line.startswith("lmc_lab: expected every analysis to succeed, found that trunk_hessian, trunk_midpoint_gap")
    assert "expected the state at step 7" in line
    assert {path.name.partition("-")[0] for path in tmp_path.glob("*/results/*.parquet")} == {"distances", "spectrum"}


def test_where_points_are_evaluated_is_said_and_names_no_other_result(tmp_path, places):
    succeed(f"python -m lmc_lab.train {TINY} {places} split_step=10 -m 'seed=range(2)'")
    command = f"python -m lmc_lab.analyze {TINY} {places} split_step=10 'analysis=[convex_mode]' trainer=cpu"
    no_gpu = {"CUDA_VISIBLE_DEVICES": ""}
    (line,) = shell(f"{command} evaluation.device=cuda", **no_gpu).stderr.splitlines()
    assert "expected a GPU for evaluation.device=cuda, found none that torch can use; set it to auto or cpu" in line
    (line,) = shell(f"{command} evaluation.device=gpu").stderr.splitlines()
    assert "expected evaluation.device to be one of auto, cpu, cuda, found 'gpu'" in line
    path = succeed(f"{command} evaluation.device=cpu").splitlines()[-1]
    settings = json.loads(pd.read_parquet(path)["settings"][0])
    assert settings["chosen"] == {"evaluation": "stacked", "device": "cpu", "examples": "400 train, 1000 test"}
    assert "device" not in settings["evaluation"]
    assert succeed(f"{command} evaluation.memory=0.5", **no_gpu).splitlines()[-1] == path


def test_how_sure_a_mode_is_and_what_a_page_shows_of_it_is_in_its_results(tmp_path, places, shared_cache):
    succeed(f"python -m lmc_lab.train {TINY} {places} split_step=10 -m 'seed=range(4)'")
    settings = "'analysis=[hulls,plane,predictions,pairs]' analysis.hulls.num_samples=9 analysis.plane.num_grid=4"
    command = f"python -m lmc_lab.analyze {TINY} {places} split_step=10 {settings}"
    paths = [Path(line) for line in succeed(command).splitlines() if line.endswith(".parquet")]
    rows = pd.concat(pd.read_parquet(path) for path in paths)
    counted = rows.groupby("quantity").size()
    assert (counted["p_conv_hull"], counted["p_conv_hulls"], counted["plane_grid_loss"]) == (12, 2, 16)
    assert (counted["plane_endpoint_x"], counted["plane_split_y"], counted["plane_hull_point_loss"]) == (4, 1, 100)
    barriers = rows[rows["quantity"].str.match("(barrier|instability)_")]
    assert len(barriers) == 8 and (barriers["low"] >= 0).all() and (barriers["low"] <= barriers["value"]).all()

    (records,) = tmp_path.glob("*/results/predictions-*.safetensors")
    state = checkpoint.load(records).state
    signals = load(cache_dir=shared_cache).test.inputs
    assert torch.equal(state["test_examples"], signals[state["test_examples_index"]])
    assert len(state["test_examples"]) == len(state["test_examples_target"]) == len(state["test_examples_num_right"])


OWN_TASK = """
defaults: [mnist1d]
name: mine
max_steps: 30
"""


def test_whoever_has_too_few_branches_is_told_the_command_that_trains_them(tmp_path, places):
    (tmp_path / "a=b" / "task").mkdir(parents=True)
    (tmp_path / "a=b" / "task" / "mine.yaml").write_text(OWN_TASK)
    own = f"--config-dir {tmp_path / 'a=b'} task=mine ++task.data.num_test=50 task.data.num_train=400 {places}"
    analysis = "'analysis=[distances,trunk_curve]' analysis.distances.num_samples=5"
    command = f"python -m lmc_lab.analyze {own} trunk_seed=3 {analysis} split_step=10"
    (line,) = shell(command).stderr.splitlines()
    assert "expected at least 2 finished branches" in line and "expected saved states of a trunk" in line
    train = f"python -m lmc_lab.train {own} trunk_seed=3"
    assert (
        line.endswith(f"train it first: {train}") and f"train some: {train} split_step=10 -m 'seed=range(5)';" in line
    )
    succeed(line.partition("train some: ")[2].partition("; ")[0])
    (line,) = shell(f"{command.replace('trunk_curve', 'spectrum')} 'seeds=[1,7]'").stderr.splitlines()
    assert "unfinished ones with seed=7" in line and line.endswith(f"train them: {train} split_step=10 -m seed=7")


ANALYSES = (
    "spectrum",
    "pairs",
    "predictions",
    "branch_curves",
    "branch_hessian",
    "trunk_hessian",
    "trunk_midpoint_gap",
)
STUDY = [
    "study.trunks=[0]", "study.splits=[0,10]", "study.steps=[]", "study.branches=3",
    *(f"~study.analyses.{name}" for name in ANALYSES),
    'overrides=["task.max_steps=30","task.data.num_train=400"]',
]  # fmt: skip


def test_a_diverged_branch_costs_its_mode_only_and_the_report_says_so(tmp_path, places):
    command = f"python -m lmc_lab.study {' '.join(map(repr, STUDY))} {places}"
    with initialize_config_dir(str(REPOSITORY / "conf"), version_base="1.3"):
        plan = StudyPlan.of(compose("study", [*STUDY, *places.split()]))
        (diverged,) = [folder for folder in branch_folders(plan) if str(folder.path).endswith("split-10/branch-1")]
        circumstances = plan.experiment.circumstances()
    write_status(diverged, status="diverged", step=12, last_finite_loss=2.5, circumstances=circumstances)

    result = shell(command)
    assert result.returncode == 1
    told = result.stderr.splitlines()[-1]
    assert told.startswith("lmc_lab: expected every stage of the study to succeed, found that branches failed")
    page = (tmp_path / "reports" / "mnist1d" / "report.html").read_text()
    for text in (result.stdout, page):
        assert "convex_mode, distances" in text and "seed 1 diverged at step 12" in text
        assert "This makes it: python -m lmc_lab.study" in text
    assert "mnist1d      0  0  3" in result.stdout  # the other mode is there

    printed = succeed(f"{command} allow_diverged=true")
    assert "seed 1 (diverged at step 12)" in printed and "This makes it" not in printed
    assert "mnist1d      0  10  2" in printed


@pytest.fixture
def weights(tmp_path):
    """Nets that lmc_lab did not train, or that nobody has, in a folder of their own."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    for seed in range(3):
        torch.manual_seed(seed)
        state = ConvNet1d().state_dict()
        if seed == 1:
            save_file(state, folder / "net=1.safetensors")
        else:
            torch.save(state, folder / f"net={seed}.pt")
    return folder


SMALL = "task.data.num_train=400 analysis.convex_mode.num_samples=5 analysis.distances.num_samples=5"


def test_weights_from_elsewhere_are_a_mode_and_what_they_do_not_have_is_left_out(tmp_path, places, weights):
    analyses = "convex_mode,distances,spectrum,pairs,predictions,branch_curves,inter_mode,trunk_curve,plane"
    settings = f"{SMALL} analysis.plane.num_samples=5 analysis.plane.num_grid=3 'analysis=[{analyses}]' {places}"
    lines = succeed(f"python -m lmc_lab.analyze {settings} 'endpoints=*'", cwd=weights).splitlines()
    told = [line for line in lines if "left out" in line]
    assert told == [
        "distances: left out are distances to W_k and W_0, and lengths of paths, which weights from elsewhere do not have",
        "branch_curves: left out are loss curves, which weights from elsewhere do not have",
        "inter_mode: left out, since weights from elsewhere are one mode without a trunk",
        "trunk_curve: left out, since weights from elsewhere are one mode without a trunk",
        "plane: left out are the place and the loss of W_k, which weights from elsewhere do not have",
    ]
    results = {line for line in lines if line.endswith(".parquet")}
    assert results == set(map(str, tmp_path.glob("mnist1d-*/results/*.parquet"))) and len(results) == 7

    listed = "endpoints=['net=2.pt','net=1.safetensors','net=0.pt']"
    again = succeed(f'python -m lmc_lab.analyze {settings} "{listed}"', cwd=weights).splitlines()
    assert {line for line in again if line.endswith(".parquet")} == results
    assert [line for line in again if "left out" in line] == told

    (folder,) = tmp_path.glob("mnist1d-*/results")
    printed = succeed(f"python -m lmc_lab.report results={folder} {places}")
    page = (tmp_path / "reports" / "mnist1d-elsewhere" / "report.html").read_text()
    rows = pd.concat(pd.read_parquet(path) for path in results)
    (value,) = rows.query("quantity == 'p_conv' and subset == 'train'")["value"]
    for text in (printed, page):
        assert "weights from" in text and "net=1.safetensors" in text and f"{value:.2f} [" in text
    drawn = json.loads(page.partition('id="data">')[2].partition("</script>")[0])
    assert drawn.keys() == {"hull", "figure3"} and len(drawn["figure3"]) == 2
    (hull,) = drawn["hull"]
    assert hull["title"].startswith("the plane holds") and len(hull["traces"][3]["x"]) == 3  # endpoints


def test_weights_of_another_model_are_told_by_the_first_names_of_both(places, weights):
    torch.save({"conv.weight": torch.ones(2)}, weights / "other.pt")
    command = f"python -m lmc_lab.analyze {SMALL} {places} 'endpoints=*.pt'"
    (line,) = shell(command, cwd=weights).stderr.splitlines()
    assert (
        line.startswith("lmc_lab: expected other.pt to be weights of ConvNet1d, with ") and "found conv.weight;" in line
    )
