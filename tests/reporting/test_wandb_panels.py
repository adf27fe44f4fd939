"""The panels that the example lays out, as far as they can be seen without Weights & Biases."""

import importlib.util
import json

import pytest

from conftest import REPOSITORY
from lmc_lab.figures import read_rows
from lmc_lab.reporting.sinks import _log_rows
from shell import succeed


class Remembering:
    """Stands for a run of Weights & Biases."""

    def __init__(self):
        self.logged, self.summary = [], {}

    def log(self, values):
        self.logged.append(values)


SCRIPT = """
import json
from wandb_panels import FIGURES, workspace

sections = workspace("me", "lmc_lab").sections
print(json.dumps([[section.name, [panel.y for panel in section.panels]] for section in sections], default=str))
"""


@pytest.mark.skipif(importlib.util.find_spec("wandb_workspaces") is None, reason="needs wandb-workspaces")
def test_each_panel_shows_a_quantity_that_is_logged():
    printed = succeed(f"python - <<'END'\n{SCRIPT}\nEND", cwd=REPOSITORY / "examples")
    sections = json.loads(printed.splitlines()[-1])
    assert [title[:8] for title, _ in sections] == ["Figure 2", "Figure 5", "Figure 4"]
    shown = {y if isinstance(y, str) else y["name"] for _, panels in sections for (y,) in panels}
    run = Remembering()
    rows = read_rows(REPOSITORY / "docs" / "results" / "mnist1d.parquet")
    for trunk in (0, 1):
        _log_rows(run, rows[(rows["trunk"] == trunk).fillna(False)])
    assert shown <= {key for values in run.logged for key in values} and len(shown) > 8
