"""The wheel holds all that a command needs: the configs, too, which lie elsewhere in a checkout."""

import json
import sys
import zipfile
from pathlib import Path

import pytest

from shell import succeed

REPOSITORY = Path(__file__).parents[1]
SMALL = ["task.max_steps=30", "task.data.num_train=200", "task.data.num_test=50"]


@pytest.mark.long
def test_a_study_runs_from_a_wheel(tmp_path, shared_cache):
    build = f"{sys.executable} -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir {tmp_path} {REPOSITORY}"
    succeed(build, is_warm=False)
    (wheel,) = tmp_path.glob("*.whl")
    package = tmp_path / "installed"
    zipfile.ZipFile(wheel).extractall(package)
    study = (
        f"study.splits=[0] study.steps=[] study.trunks=[0] study.branches=2 'overrides={json.dumps(SMALL)}' figures=[]"
    )
    few = "'study.analyses={convex_mode:{num_samples:5},onset:{}}'"
    where = f"output_dir={tmp_path / 'out'} cache_dir={shared_cache}"
    script = "import lmc_lab; print(lmc_lab.__file__)"
    printed = succeed(f'cd {tmp_path} && python -c "{script}"', is_warm=False, PYTHONPATH=str(package))
    assert printed.startswith(str(package))  # and not this checkout
    printed = succeed(
        f"cd {tmp_path} && python -m lmc_lab.study {study} {few} {where}", is_warm=False, PYTHONPATH=str(package)
    )
    assert printed.strip().endswith("report.html")
    assert f"{package}" in succeed(
        f'cd {tmp_path} && python -c "from lmc_lab.configs import config_dir; print(config_dir())"',
        is_warm=False,
        PYTHONPATH=str(package),
    )
