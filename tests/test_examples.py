"""An analysis and a figure of one's own, outside the package, started as their own comments say."""

import pandas as pd
import pytest

from conftest import REPOSITORY
from shell import shell, succeed

EXAMPLES = REPOSITORY / "examples"
SMALL = """'overrides=["task.max_steps=60","task.data.num_train=400"]' study.splits=[0,20] study.branches=3"""


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
    assert {path.name for path in report.glob("rays.*")} == {"rays.png", "rays.svg"}
    page = (report / "index.html").read_text()
    assert 'src="rays.png"' in page and "Training loss on rays" in page and "left out" not in printed

    without = f"study=rays 'figure=[rays]' {SMALL} ~study.analyses.rays --config-dir conf {places}"
    printed = succeed(f"python -m lmc_lab.report {without}", cwd=EXAMPLES)
    assert "The figure rays is left out, since none of loss_on_ray was measured." in printed


def test_a_figure_whose_node_is_misspelt_is_refused_before_anything_is_trained(tmp_path, places):
    wrong = f"study=rays 'figure=[rays]' +figure.rays.need=[loss] {places} --config-dir conf"
    result = shell(f"python -m lmc_lab.study {wrong}", cwd=EXAMPLES)
    assert result.returncode == 1 and "did you mean 'needs'" in result.stderr
    assert not list(tmp_path.glob("*/trunk-0"))
