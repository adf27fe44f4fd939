"""Every command that a page or a config shows, composed and checked as far as nothing is trained, measured or drawn."""

import re
import shlex
import shutil
from itertools import chain

import pytest
from hydra import compose
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser

from conftest import REPOSITORY
from in_process import run_here
from lmc_lab import schema
from lmc_lab.cli import overrides_first
from lmc_lab.compose import build_analyses, build_experiment
from lmc_lab.report import own_figures
from lmc_lab.studies.check import check_stages
from lmc_lab.studies.plan import StudyPlan
from lmc_lab.tuning.overrides import task_values, without_hydras
from lmc_lab.tuning.sweep import read_sweep
from lmc_lab.tuning.trial import Trial

# Not CONTRIBUTING.md, whose commands are of files that it adds itself: `test_contributing.py` runs them.
PAGES = sorted(
    path
    for pattern in ("README.md", "CHANGELOG.md", "docs/**/*.md", "examples/**/*.md", "conf/**/*.yaml", "examples/**/*.yaml")
    for path in REPOSITORY.glob(pattern)
)  # fmt: skip
COMMAND = re.compile(r"python -m lmc_lab\.(\w+)(.*?)(?=`|\s{2}|\s#|$)", re.MULTILINE)  # up to a comment
OF_A_USER = {
    "study/mine.yaml": "study/mnist1d.yaml",
    "mine.yaml": "sweeps/detectors.yaml",
}


def shown_in(page):
    """Yields the folder in which each command of a page is given (None: a user's), its program and its arguments."""
    text = page.read_text()
    (folder,) = set(re.findall(r"\bcd (examples[\w/]*)", text)) or {None}
    for program, arguments in COMMAND.findall(text):
        given = [item for item in shlex.split(arguments) if "…" not in item]  # which stands for anything
        yield folder if given[-1:] == ["conf"] else None, program, tuple(given)


SHOWN = sorted(set(chain(*map(shown_in, PAGES))), key=str)


def test_commands_are_found_on_the_pages_that_have_some():
    assert len(SHOWN) > 60 and {program for _, program, _ in SHOWN} == {*LOOKS, "doctor"}


@pytest.fixture
def users_folder(tmp_path):
    """A folder with what a user is said to have: a task, a study and a sweep of their own."""
    for own, shipped in OF_A_USER.items():
        (tmp_path / own).parent.mkdir(exist_ok=True)
        shutil.copy(REPOSITORY / "conf" / shipped, tmp_path / own)
    tutorial = (REPOSITORY / "docs" / "tutorial.md").read_text()
    (tmp_path / "task").mkdir()
    (tmp_path / "task" / "mine.yaml").write_text(re.search(r"```yaml\n(.*?)```", tutorial, re.DOTALL)[1])
    return tmp_path


@pytest.mark.parametrize(("folder", "program", "arguments"), [shown for shown in SHOWN if shown[1] != "doctor"])
def test_a_shown_command_names_what_there_is(folder, program, arguments, users_folder, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")  # online wants a key
    monkeypatch.chdir(REPOSITORY / folder if folder else users_folder)
    run_here(monkeypatch, program, list(without_what_ends_early(arguments)), LOOKS[program])


def without_what_ends_early(arguments):
    """Yields the arguments of the first job of a sweep, and of all flags --config-dir alone."""
    arguments = overrides_first(arguments)
    num_overrides = next((i for i, item in enumerate(arguments) if item.startswith("-")), len(arguments))
    for override in OverridesParser.create().parse_overrides(arguments[:num_overrides]):
        is_sweep = override.is_sweep_override()
        first = f"{override.key_or_group}={next(override.sweep_string_iterator())}" if is_sweep else None
        yield first or override.input_line
    if "--config-dir" in arguments:
        yield from ["--config-dir", arguments[arguments.index("--config-dir") + 1]]


def look_at_analyses(config):
    build_experiment(config)
    build_analyses(config)


def look_at_study(config):
    plan = StudyPlan.of(config)
    if len(HydraConfig.get().overrides.task) > 1:  # a shipped study by its name alone is composed in `test_configs.py`
        check_stages(plan)
    own_figures(config)


def look_at_report(config):
    schema.check(config)
    own_figures(config)
    for name in config.beside:
        schema.check(compose("report", [f"study={name}"]))


def look_at_sweep(config):
    given = HydraConfig.get().overrides.task
    if config.sweep_config is not None:
        config = compose("tune", read_sweep(config.sweep_config).given)
    look_at_study(compose("study", without_hydras(Trial.of(task_values(given), config, given).overrides)))


LOOKS = {
    "train": build_experiment,
    "analyze": look_at_analyses,
    "study": look_at_study,
    "report": look_at_report,
    "tune": look_at_sweep,
}
