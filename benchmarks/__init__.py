"""Benchmarks. They run from the source folder, too, where the package is not installed."""

import sys
from importlib.util import find_spec
from pathlib import Path

if find_spec("lmc_lab") is None:
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))
