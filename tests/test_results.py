"""The recorded results: the page says what the rows say, and a mode's rows follow from its endpoints."""

import re
import shutil
import subprocess
import sys
from math import log

import pytest
from safetensors.torch import load_file
from torch.nn.functional import cross_entropy

import lmc_lab
from conftest import REPOSITORY
from lmc_lab.data.mnist1d import load
from lmc_lab.landscape.onset_search import bracket_of, first_splits, next_split, num_reversals
from lmc_lab.models.conv1d import ConvNet1d
from lmc_lab.results.bundle import read_bundle
from lmc_lab.results.folder import all_rows
from lmc_lab.results.select import select

DOCS = REPOSITORY / "docs"
SPLIT = 250


PAGE = (DOCS / "results.md").read_text()
FIGURE = re.compile(r"figures/([\w-]+\.png)")


def _of_the_demo(figure):
    return figure[0] if figure[1].startswith("mnist1d-") else ""


def test_the_page_is_what_the_rows_say(tmp_path):
    """All of its tables with the figures that they name, and those of one study: those of all take a minute."""
    shutil.copytree(DOCS / "results", tmp_path / "results")
    sample = "".join(line if line.startswith("|") else FIGURE.sub(_of_the_demo, line) for line in PAGE.splitlines(True))
    (tmp_path / "results.md").write_text(sample)
    subprocess.run([sys.executable, str(DOCS / "make_results.py"), str(tmp_path)], check=True)
    assert (tmp_path / "results.md").read_text() == sample
    drawn = {path.name for path in (tmp_path / "figures").iterdir()} - {"detectors-onset.png"}
    assert drawn == set(FIGURE.findall(sample)) and len(drawn) > 5


def test_all_figures_of_the_page_are_drawn():
    assert set(FIGURE.findall(PAGE)) <= {path.name for path in (DOCS / "figures").iterdir()}


@pytest.mark.parametrize("trunk", [0, 1])
def test_a_search_of_the_recorded_grid_ends_at_a_crossing_of_it(trunk):
    """Each split that the search asks for has the outcome of the nearest one of the grid, so that both see the same hulls."""
    _, collected = read_bundle(DOCS / "results" / "mnist1d_grid.parquet")
    rows = all_rows(collected.with_rows)
    p_conv = select(rows, "p_conv", "train")
    of_trunk = p_conv[p_conv["trunk"] == trunk].set_index("split_step")["value"].sort_index()
    holds = {int(step): value >= 0.9 for step, value in of_trunk.items()}

    def nearest(step):
        return min(holds, key=lambda other: abs(log((step + 0.5) / (other + 0.5))))

    outcomes = {step: holds[nearest(step)] for step in first_splits(1500, ratio=1.25)}
    while (step := next_split(outcomes, 1500, ratio=1.25)) is not None:
        outcomes[step] = holds[nearest(step)]
    found = bracket_of(outcomes)
    between = [split for split in holds if nearest(found.failed) <= split <= nearest(found.held)]
    assert len(outcomes) <= 10 and len(between) <= 3  # steps of the grid are a sixth apart
    assert not holds[between[0]] and holds[between[-1]]
    if num_reversals(holds) == 0:
        grid = bracket_of(holds)
        assert found.failed < grid.held and grid.failed < found.held


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
