"""The panels that the example lays out, as far as they can be seen without Weights & Biases."""

import importlib.util
import json

import pytest

from conftest import REPOSITORY
from lmc_lab.reporting.interactive import figure2, figure4, figure5
from shell import succeed

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
    shown = [str(y) for _, panels in sections for (y,) in panels]
    assert any("mode/p_conv/train" in y for y in shown) and any("trunk/lambda_max" in y for y in shown)
    drawn = {name for figure in (figure2, figure4, figure5) for name in figure.FIGURE.quantities}
    assert all(any(name in y for name in drawn) for y in shown)
