"""The script that measures on a GPU, as far as a CPU can run it."""

import os
import subprocess
import sys

import pytest
import yaml
from benchmarks.common import REPOSITORY
from benchmarks.gpu_studies import tenths


@pytest.mark.long
def test_it_runs_on_a_cpu_and_writes_the_page(tmp_path, real_data, shared_cache):
    """Every row but those of a tenth of a study; what differs together from alone, or from itself, is seen here, too."""
    page = tmp_path / "gpu.md"
    environment = {**os.environ, "LMC_DATA_DIR": str(real_data), "LMC_CACHE_DIR": str(shared_cache)}
    found = subprocess.run(
        [sys.executable, "-m", "benchmarks.gpu", "--device", "cpu", "--quick", "--output", page],
        cwd=REPOSITORY,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert found.returncode == 0, found.stderr
    text = page.read_text()
    assert text.startswith("# On a GPU") and "Not yet measured" not in text
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.partition("## Measured")[2].splitlines()]
    rows = {row[0]: row[1] for row in cells if len(row) == 3}
    assert len(rows) > 15
    missing = {what for what, value in rows.items() if value.startswith("not measured")}
    assert missing == {what for what in rows if what.startswith("study=")}, text

    def of(part):
        (value,) = (value for what, value in rows.items() if part in what)
        return float(value)

    assert of("together less alone") <= 1e-12 and of("numbers that changed") == 0 and of("p_conv") == 0


def test_every_step_of_a_study_is_divided_by_ten():
    study = yaml.safe_load((REPOSITORY / "conf" / "study" / "lenet.yaml").read_text())
    found = set(tenths(study))
    assert {"study.search.splits=[0,40,200,800]", "study.steps=[100,300,780,2340]"} < found
    assert "study.analyses.branch_hessian.steps=[1560]" in found and len(found) == 5
