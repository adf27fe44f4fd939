"""The recorded results: the page says what the rows say, and a mode's rows follow from its endpoints."""

import re
import shutil
import subprocess
import sys

import pytest
from safetensors.torch import load_file
from torch.nn.functional import cross_entropy

import lmc_lab
from conftest import REPOSITORY
from lmc_lab.data.mnist1d import load
from lmc_lab.models.conv1d import ConvNet1d
from lmc_lab.results.bundle import read_bundle

DOCS = REPOSITORY / "docs"
SPLIT = 250


PAGE = (DOCS / "results.md").read_text()
FIGURE = re.compile(r"figures/([\w-]+\.png)")


def test_the_page_is_what_the_rows_say(tmp_path):
    """All of its tables, and the figures of one study: those of all take a minute."""
    shutil.copytree(DOCS / "results", tmp_path / "results")
    sample = FIGURE.sub(lambda match: match[0] if match[1].startswith("mnist1d-") else "", PAGE)
    (tmp_path / "results.md").write_text(sample)
    subprocess.run([sys.executable, str(DOCS / "make_results.py"), str(tmp_path)], check=True)
    assert (tmp_path / "results.md").read_text() == sample
    drawn = {path.name for path in (tmp_path / "figures").iterdir()} - {"detectors-onset.png"}
    assert drawn == set(FIGURE.findall(sample)) and len(drawn) > 5


def test_all_figures_of_the_page_are_drawn():
    assert set(FIGURE.findall(PAGE)) <= {path.name for path in (DOCS / "figures").iterdir()}


def test_a_modes_rows_follow_from_its_endpoints(tmp_path):
    """Recomputed by the library, in the order of the seeds; another processor may round otherwise."""
    _, collected = read_bundle(DOCS / "results" / "mnist1d.parquet")
    (result,) = [
        each
        for each in collected.found
        if each.entry.analysis == "convex_mode"
        and (each.entry.subject[0].trunk, each.entry.subject[0].split_step) == (0, SPLIT)
        and each.entry.subject[0].step is None
    ]
    rows = result.rows[result.rows["subset"] == "train"].set_index("quantity")
    files = [
        DOCS / "results" / "endpoints" / f"mnist1d-trunk-0-split-{SPLIT}-branch-{seed}.safetensors" for seed in range(6)
    ]
    states = [load_file(path) for path in files]
    train = load(data_dir=tmp_path, cache_dir=tmp_path, num_train=4000, num_test=1000).train
    model = ConvNet1d()
    inputs = train.prepare(train.inputs)
    objective = lmc_lab.Objective(model, cross_entropy, (inputs, train.targets))
    probe = lmc_lab.probe_hull(objective, states, num_samples=100, seed=0)
    assert probe.p_conv.value == pytest.approx(rows.loc["p_conv", "value"], abs=0.02)
    assert probe.p_rand.value == pytest.approx(rows.loc["p_rand", "value"], abs=0.02)
    for kind, found in {"endpoint": probe.endpoints, "hull_point": probe.conv, "centre": probe.centre}.items():
        assert float(found.loss.mean()) == pytest.approx(rows.loc[f"{kind}_loss", "value"], rel=1e-5)
    assert sum(path.stat().st_size for path in files) < 2e6
