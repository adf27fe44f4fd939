"""An analysis and a figure of one's own, outside the package, started as their own comments say."""

import json
import shutil
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from safetensors.torch import load_file
from torch.nn import functional as F

import lmc_lab
from conftest import REPOSITORY
from lmc_lab.data import cifar10
from lmc_lab.data.cifar10 import NORMALISE
from lmc_lab.models.lenet import LeNet
from shell import shell, succeed

EXAMPLES = REPOSITORY / "examples"
SMALL = """'overrides=["task.max_steps=60","task.data.num_train=400"]' study.splits=[0,20] study.branches=3"""


OWN = {
    "image_folder": "shapes",
    "hugging_face": "vit",
    "language_model": "language_model",
}  # folders, with their studies
EVALUATED = {"image_folder": "stacked", "hugging_face": "loop", "language_model": "loop"}
TINY = {
    "image_folder": (
        "task.max_steps=4",
        "task.batch_size=4",
        "task.data.num_train=12",
        "task.data.num_test=4",
        "task.data.side=32",
    ),
    "hugging_face": ("task.max_steps=8", "task.data.num_train=120", "task.data.num_test=40"),
    "language_model": ("task.max_steps=8", "task.data.num_train=60", "task.data.num_test=20"),
}
FEW = (
    "study.splits=[0,2] study.trunks=[0] study.branches=3 "
    "study.analyses.convex_mode.num_samples=3 study.analyses.distances.num_samples=3 "
    "study.analyses.hulls.num_samples=2 study.analyses.hulls.num_hulls=2 study.analyses.pairs.num_points=3 "
    "study.analyses.plane.num_samples=2 study.analyses.plane.num_grid=2 study.analyses.branch_hessian.num_examples=8 "
    "study.analyses.trunk_hessian.num_examples=8 study.analyses.trunk_midpoint_gap.num_pairs=2 "
    "study.analyses.branch_hessian.max_products=4 study.analyses.trunk_hessian.max_products=4"
)


def the_command_in(path):
    (line,) = [line for line in path.read_text().splitlines() if line.startswith("# cd examples; ")]
    return line.removeprefix("# cd examples; ")


@pytest.fixture
def places(tmp_path, shared_cache):
    return f"output_dir={tmp_path} cache_dir={shared_cache}"


@pytest.mark.parametrize("name", ["rays.py", "rays_figure.py"])
def test_what_one_adds_is_one_short_file(name):
    assert len((EXAMPLES / name).read_text().splitlines()) < 60


def test_an_analysis_and_a_figure_of_ones_own_are_in_a_study_and_its_report(tmp_path, places):
    """On a ray through the endpoints, 0 % is the hull's centre and 100 % the endpoints: two losses that are known."""
    command = the_command_in(EXAMPLES / "conf" / "study" / "rays.yaml")
    assert f"cd examples\n    {command}\n" in (REPOSITORY / "README.md").read_text()
    printed = succeed(f"{command} {SMALL} {places}", cwd=EXAMPLES)
    rows = pd.concat(pd.read_parquet(path) for path in tmp_path.glob("*/results/*.parquet"))
    known = rows.set_index(["quantity", "subset", "split_step"])["value"]
    rays = rows[rows["quantity"] == "loss_on_ray"].set_index(["index", "subset", "split_step"])["value"]
    for place, quantity in ((0, "centre_loss"), (100, "endpoint_loss")):
        for subset in ("train", "test"):
            for split in (0, 20):
                assert rays[place, subset, split] == pytest.approx(known[quantity, subset, split], rel=1e-9)
    assert len(rays) == 5 * 2 * 2
    report = tmp_path / "reports" / "rays"
    assert {path.name for path in report.glob("rays.*")} == {"rays.png", "rays.svg", "rays.pdf"}
    page = (report / "report.html").read_text()
    assert '<img src="data:image/png;base64,' in page and "Training loss on rays" in page and "left out" not in printed

    without = f"study=rays 'figure=[rays]' {SMALL} ~study.analyses.rays --config-dir conf {places}"
    succeed(f"python -m lmc_lab.study {without}", cwd=EXAMPLES)
    printed = succeed(f"python -m lmc_lab.report {without}", cwd=EXAMPLES)
    assert "The figure rays is left out, since none of loss_on_ray was measured." in printed


@pytest.mark.long
def test_a_kind_of_subject_of_ones_own_is_measured_by_a_study(tmp_path, places):
    command = the_command_in(EXAMPLES / "conf" / "study" / "neighbours.yaml")
    small = SMALL.replace("[0,20]", "[40,0,20]")
    printed = succeed(f"{command} {small} {places} 'figures=[]'", cwd=EXAMPLES)
    rows = pd.concat(pd.read_parquet(path) for path in tmp_path.glob("*/results/between_splits-*.parquet"))
    barriers = rows[rows["quantity"] == "barrier_between_splits_loss"]
    assert sorted(zip(barriers["index"], barriers["subset"], strict=True)) == [
        (20, "test"), (20, "train"), (40, "test"), (40, "train")
    ]  # fmt: skip
    assert set(barriers["num_endpoints"]) == {6} and all(barriers["value"] >= 0) and "left out" not in printed
    refused = shell(
        f"python -m lmc_lab.analyze 'analysis=[between_splits]' split_step=0 --config-dir conf {places}", cwd=EXAMPLES
    )
    assert refused.returncode == 1 and "expected two splits, found [0]; add" in refused.stderr


@pytest.mark.long
def test_three_lenets_of_a_plain_loop_give_the_same_numbers_by_command_and_by_library(tmp_path, real_data):
    train = "python three_lenets.py"
    assert f"    {train.replace('three', 'examples/three')} lenets\n" in (EXAMPLES / "three_lenets.py").read_text()
    succeed(f"{train} {tmp_path} --num-steps 40 --num-images 512", cwd=EXAMPLES, LMC_DATA_DIR=str(real_data))
    names = ("a.pt", "b.safetensors", "c.ckpt")
    small = "task.data.num_train=512 task.data.num_test=256 analysis.convex_mode.num_samples=12"
    small += " 'analysis=[convex_mode,pairs,spectrum,branch_hessian]' analysis.branch_hessian.num_examples=128"
    places = f"output_dir=out cache_dir={tmp_path} data_dir={real_data}"
    succeed(f"python -m lmc_lab.analyze task=lenet 'endpoints=[{','.join(names)}]' {small} {places}", cwd=tmp_path)
    rows = pd.concat(pd.read_parquet(path) for path in tmp_path.glob("out/lenet-*/results/*.parquet"))
    of = rows.set_index(["quantity", rows["subset"].fillna("")]).groupby(level=[0, 1])["value"].agg(list)

    load = {".pt": torch.load, ".safetensors": load_file, ".ckpt": lambda path: torch.load(path)["state_dict"]}
    order = json.loads(rows["settings"].iloc[0])["endpoints"]  # that of the rows' column `branch`
    states = [load[Path(name).suffix](tmp_path / name) for name in order]
    dataset = cifar10.load(data_dir=real_data, cache_dir=tmp_path, num_train=512, num_test=256)
    train, test = ((NORMALISE(part.inputs), part.targets) for part in (dataset.train, dataset.test))
    for subset, data in (("train", train), ("test", test)):
        objective = lmc_lab.Objective(LeNet(), F.cross_entropy, data, train_data=train)
        probe = lmc_lab.probe_hull(objective, states, num_samples=12)
        assert of["branch_loss", subset] == probe.endpoints.loss.tolist()
        assert of["hull_point_loss", subset] == [float(probe.conv.loss.mean())]
        assert of["p_conv", subset] == [probe.p_conv.value] and of["p_rand", subset] == [probe.p_rand.value]
        lines = [lmc_lab.barrier(objective, *pair).loss.barrier for pair in combinations(states, 2)]
        assert of["max_barrier_loss", subset] == [max(lines)]
    spectrum = lmc_lab.singular_values(LeNet(), states, centred=True)
    assert of["singular_value_centred", ""] == spectrum.values.tolist()
    objective = lmc_lab.Objective(LeNet(), F.cross_entropy, train)
    assert of["lambda_max", ""] == [lmc_lab.extreme_eigenvalues(objective, states[0], num_examples=128).lambda_max]


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", OWN)
def test_models_of_ones_own_go_from_a_yaml_to_a_report(tmp_path, name, places, request):
    """The commands in the example's README, in a copy of it, with small numbers; all analyses answer with finite numbers."""
    data = request.getfixturevalue("real_data") if name == "hugging_face" else "."
    folder = shutil.copytree(EXAMPLES / name, tmp_path / name)
    commands = [
        line.strip() for line in (folder / "README.md").read_text().splitlines() if line.startswith("    python ")
    ]
    for command in commands[:-1]:
        succeed(command, cwd=folder)
    overrides = ",".join(f'"{override}"' for override in (*TINY[name], "run.log_every=2"))
    succeed(f"{commands[-1]} 'overrides=[{overrides}]' {FEW} {places}", cwd=folder, timeout=580, LMC_DATA_DIR=str(data))
    study = yaml.safe_load((folder / "conf" / "study" / f"{OWN[name]}.yaml").read_text())
    rows = pd.concat(pd.read_parquet(path) for path in tmp_path.glob("*/results/*.parquet"))
    assert set(rows["analysis"]) == study["analyses"].keys() - {"inter_mode"}  # which takes two trunks
    is_onset = rows["quantity"].str.startswith("onset_")  # infinite where the last split fails
    assert np.isfinite(rows.loc[~is_onset, "value"]).all()
    settings = map(json.loads, rows.query("analysis == 'convex_mode'")["settings"])
    assert {each["chosen"]["evaluation"].partition(":")[0] for each in settings} == {EVALUATED[name]}
    assert (tmp_path / "reports" / OWN[name] / "report.html").exists()


@pytest.mark.parametrize("name", OWN)
def test_the_study_of_an_example_says_its_command(name):
    first = (EXAMPLES / name / "conf" / "study" / f"{OWN[name]}.yaml").read_text().splitlines()[0]
    commands = [
        line.strip() for line in (EXAMPLES / name / "README.md").read_text().splitlines() if line.startswith("    ")
    ]
    assert first.removeprefix("# ").split("; ") == [line for line in commands if not line.startswith("pip ")]


def test_a_figure_whose_node_is_misspelt_is_refused_before_anything_is_trained(tmp_path, places):
    wrong = f"study=rays 'figure=[rays]' +figure.rays.need=[loss] {places} --config-dir conf"
    result = shell(f"python -m lmc_lab.study {wrong}", cwd=EXAMPLES)
    assert result.returncode == 1 and "did you mean 'needs'" in result.stderr
    assert not list(tmp_path.glob("*/trunk-0"))
