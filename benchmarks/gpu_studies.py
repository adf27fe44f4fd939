"""Studies on a GPU, each by the one command that a user gives."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

from benchmarks.common import REPOSITORY, duration
from benchmarks.gpu_training import Found
from benchmarks.suite import build

# Of a study that takes seconds: what is long, or of more trunks than it has.
_LEFT_OUT = (
    "branch_curves",
    "branch_hessian",
    "inter_mode",
    "pairs",
    "plane",
    "predictions",
    "trunk_hessian",
    "trunk_midpoint_gap",
)


def small(device: str, seconds: float) -> Found:
    """Returns the time of a small study; its branches are trained together on a CPU, too."""
    given = ["study.splits=[0,20]", "study.trunks=[0]", "study.branches=3", "study.steps=[]"]
    given += [f"~study.analyses.{name}" for name in _LEFT_OUT]
    task = ["task.max_steps=60", "task.data.num_train=400", "run.together=8"]
    return _timed("mnist1d", device, task, [*given, 'sweep=["hydra.launcher.n_jobs=1"]'], seconds)


def tenth(name: str, device: str, seconds: float) -> Found:
    """Returns the time of a shipped study in which every step is a tenth of what it is."""
    study = yaml.safe_load((REPOSITORY / "conf" / "study" / f"{name}.yaml").read_text())
    max_steps = build(*study["overrides"]).task.max_steps // 10
    found = _timed(name, device, [f"task.max_steps={max_steps}"], list(tenths(study)), seconds)
    return Found(f"{found.text} at a tenth of T, {max_steps:,} steps", found.seconds)


def tenths(node: Mapping[str, Any], key: str = "study") -> Iterator[str]:
    """Yields overrides that divide all steps of a study by ten."""
    for name, value in node.items():
        if isinstance(value, Mapping):
            yield from tenths(value, f"{key}.{name}")
        elif name in ("splits", "steps") and isinstance(value, list):
            yield f"{key}.{name}=[{','.join(str(step // 10) for step in value)}]"


def _timed(name: str, device: str, training: list[str], given: list[str], seconds: float) -> Found:
    """Returns the time of a study, report included.

    Raises:
        RuntimeError: it failed.
        subprocess.TimeoutExpired: it took longer than `seconds`.
    """
    trained = [*training, f"trainer={'gpu' if device == 'cuda' else 'cpu'}"]
    overrides = [f"overrides={json.dumps(trained)}", *given]
    path = os.pathsep.join(filter(None, [str(REPOSITORY / "src"), os.environ.get("PYTHONPATH")]))
    with TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "lmc_lab.study", f"study={name}", f"output_dir={folder}", *overrides]
        start = time.perf_counter()
        ended = subprocess.run(
            command, capture_output=True, text=True, timeout=seconds, env={**os.environ, "PYTHONPATH": path}
        )
        taken = time.perf_counter() - start
        if ended.returncode != 0 or not (Path(folder) / "reports" / name / "report.html").exists():
            raise RuntimeError(f"the study failed: {(ended.stderr or ended.stdout)[-300:]}")
    return Found(duration(taken), taken)
