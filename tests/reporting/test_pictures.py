"""Figures are drawn where something changed, and nowhere else."""

import subprocess
import sys
from textwrap import dedent

import pandas as pd
import pytest
from matplotlib.figure import Figure

from lmc_lab.reporting.pictures import draw_all
from lmc_lab.reporting.printed import draw_figures
from lmc_lab.reporting.report_figure import ReportFigure
from lmc_lab.results.row_file import SCHEMA


def rows_with(value):
    lines = [{"task": "lenet", "trunk": 0, "quantity": name, "value": value} for name in ("height", "width")]
    return pd.DataFrame(lines).reindex(columns=list(SCHEMA)).astype(SCHEMA)


@pytest.fixture
def drawn():
    """Returns the names of the figures that were drawn."""
    return []


@pytest.fixture
def figures(drawn):
    def figure(name):
        def draw(rows):
            drawn.append(name)
            made = Figure(figsize=(1, 1))
            made.subplots().plot(rows["value"])
            return made

        return ReportFigure(draw=draw, needs=(name,), caption="")

    return {name: figure(name) for name in ("height", "width")}


@pytest.fixture
def draw(figures, tmp_path):
    """Returns what draws the figures of some rows, and knows what it drew before; it returns the content of all files."""
    marks = {}

    def run(rows):
        marks.update(draw_all(figures, {}, lambda figure: rows, tmp_path, known=dict(marks)))
        return {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    return run


def test_what_did_not_change_is_not_drawn_again(draw, drawn):
    first = draw(rows_with(1.0))
    assert first.keys() == {"height.png", "height.svg", "width.png", "width.svg"}
    assert draw(rows_with(1.0)) == first and drawn == ["height", "width"]


def test_new_rows_of_a_figure_are_drawn(draw, drawn):
    rows = rows_with(1.0)
    draw(rows)
    rows.loc[rows["quantity"].eq("width"), "value"] = 2.0
    draw(rows)
    assert drawn == ["height", "width", "width"]


@pytest.mark.parametrize("name", ["width.png", "width.svg"])
@pytest.mark.parametrize("damage", [lambda path: path.unlink(), lambda path: path.write_bytes(b"no picture")])
def test_a_lost_or_damaged_file_is_drawn_again(draw, drawn, tmp_path, name, damage):
    before = draw(rows_with(1.0))
    damage(tmp_path / name)
    assert draw(rows_with(1.0)) == before and drawn == ["height", "width", "width"]


def test_other_code_draws_anew(draw, drawn, monkeypatch):
    draw(rows_with(1.0))
    monkeypatch.setattr("lmc_lab.reporting.pictures._code", lambda: b"of tomorrow")
    draw(rows_with(1.0))
    assert drawn == ["height", "width"] * 2


def test_the_users_own_figures_are_always_drawn_since_they_may_depend_on_anything(figures, drawn, tmp_path):
    for _ in range(2):
        assert not draw_all({}, {"mine": figures["width"]}, lambda figure: rows_with(1.0), tmp_path)
    assert drawn == ["width", "width"] and {path.name for path in tmp_path.iterdir()} == {"mine.png", "mine.svg"}


def test_a_file_of_marks_knows_what_was_drawn(figures, drawn, tmp_path, monkeypatch):
    monkeypatch.setattr("lmc_lab.reporting.printed.FIGURES", figures)
    first = draw_figures(rows_with(1.0), tmp_path)
    assert {path.suffix for path in first} == {".png", ".svg", ".pdf"}
    before = [path.read_bytes() for path in first]
    assert draw_figures(rows_with(1.0), tmp_path) == first and drawn == ["height", "width"]
    (tmp_path / "figures.json").write_bytes(b"\xff no marks")
    draw_figures(rows_with(1.0), tmp_path)
    assert drawn == ["height", "width"] * 2 and [path.read_bytes() for path in first] == before


def test_without_a_format_nothing_is_drawn(tmp_path):
    assert draw_figures(rows_with(1.0), tmp_path / "none", formats=[]) == [] and not (tmp_path / "none").exists()


SCRIPT = """
    import sys
    from pathlib import Path

    import pandas as pd

    from lmc_lab.reporting.figures import figure2, figure6
    from lmc_lab.reporting.pictures import draw_all
    from lmc_lab.reporting.report_figure import ReportFigure
    from lmc_lab.results.row_file import SCHEMA

    def fail(rows):
        raise ValueError("no such colour")

    lines = [
        {"task": "lenet", "trunk": 0, "split_step": k, "step": k, "quantity": name, "subset": "train", "value": 0.5}
        for k in (0, 5) for name in ("p_conv", "train_loss")
    ]
    rows = pd.DataFrame(lines).reindex(columns=list(SCHEMA)).astype(SCHEMA)
    figures = {"figure2": figure2.FIGURE, "figure6": figure6.FIGURE}
    is_failing = len(sys.argv) > 1
    if is_failing:  # the second of two, which is the other process's
        figures = {"figure2": figure2.FIGURE, "failing": ReportFigure(draw=fail, needs=("p_conv",), caption="")}
    for num_cores in [2] if is_failing else [1, 2, 9]:
        draw_all(figures, {}, lambda figure: rows, Path(str(num_cores)), num_cores=num_cores)
"""


def in_another_process(folder, *arguments):
    """Runs the script where no other library has threads: a process forks there."""
    for number in (1, 2, 9):
        (folder / str(number)).mkdir()
    command = [sys.executable, "-c", dedent(SCRIPT), *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=200)


def test_several_processes_draw_what_one_does(tmp_path):
    result = in_another_process(tmp_path)
    assert result.returncode == 0 and not result.stderr
    one, two, nine = ({path.name: path.read_bytes() for path in (tmp_path / name).iterdir()} for name in "129")
    assert one == two == nine and len(one) == 4


def test_an_error_in_another_process_is_told_once_by_this_one(tmp_path):
    result = in_another_process(tmp_path, "failing")
    assert result.returncode == 1 and result.stderr.count("ValueError: no such colour") == 1
