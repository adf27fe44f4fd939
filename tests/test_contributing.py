"""CONTRIBUTING.md, followed word for word in a copy of the repository."""

import re
import shutil

import pandas as pd
import pytest

from conftest import REPOSITORY
from shell import shell, succeed

PAGE = (REPOSITORY / "CONTRIBUTING.md").read_text()
SMALL = "task.max_steps=60 task.data.num_train=400"  # a study says the same with `overrides`
_BLOCK = re.compile(r"```\w+\n([\s\S]*?)```")
_PATH = re.compile(r"`((?:src|conf|tests)/\S+?\.(?:py|yaml))`")


def files_of_the_page():
    """Yields the path and the content of each file: the last path that is named before a block is the block's."""
    before, *pieces = _BLOCK.split(PAGE)
    for content, after in zip(pieces[::2], pieces[1::2], strict=True):
        yield _PATH.findall(before)[-1], content
        before = after


def commands_in(section):
    own = PAGE if section is None else PAGE.split(f"\n## {section}\n")[1].split("\n## ")[0]
    return [line.strip() for line in own.splitlines() if line.startswith("    python -m ")]


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """A copy with all that the page adds, and the mode that its first command trains."""
    folder = tmp_path_factory.mktemp("copy")
    for name in ("src", "conf"):
        shutil.copytree(REPOSITORY / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(REPOSITORY / "pyproject.toml", folder)
    for path, content in files_of_the_page():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        assert not (folder / path).exists(), path
        (folder / path).write_text(content)
    (folder / "src" / "hydra_plugins" / "lmc_serial" / "__init__.py").touch()
    run(folder, commands_in(None)[0])
    return folder


def run(folder, command):
    command = command.replace("split_step=250", f"split_step=20 {SMALL}")
    command = command.replace("lmc_lab.study", f"""lmc_lab.study 'overrides=["{'","'.join(SMALL.split())}"]'""")
    command = command.replace("study=alignment", "study=alignment study.splits=[0,20]")
    return succeed(command, cwd=folder, PYTHONPATH=str(folder / "src"))


def value_of(folder, task, quantity):
    rows = pd.concat(pd.read_parquet(path) for path in folder.glob(f"multirun/{task}-*/results/*.parquet"))
    return rows[rows["quantity"] == quantity].set_index("split_step")["value"]


def test_an_analysis_and_its_figure(copy):
    for command in commands_in("An analysis"):
        run(copy, command)
    assert -1 <= value_of(copy, "mnist1d", "displacement_cosine")[20] <= 1
    (study,) = commands_in("A figure")
    run(copy, study)
    assert {0, 20} <= set(value_of(copy, "mnist1d", "displacement_cosine").index)
    assert (
        '<section id="own-alignment"><h2>alignment</h2><img src="data:image/png;base64,'
        in (copy / "multirun" / "reports" / "alignment" / "report.html").read_text()
    )


def test_a_task(copy):
    for command in commands_in("A task"):
        run(copy, command)
    assert 0 <= value_of(copy, "mlp", "p_conv").iloc[0] <= 1


def test_a_launcher(copy):
    (command,) = commands_in("A launcher")
    run(copy, command)
    branches = copy.glob("multirun/mnist1d-*/trunk-0/split-20/branch-*/endpoint.safetensors")
    assert {path.parent.name for path in branches} == {f"branch-{seed}" for seed in range(6)}
    wrong = command.replace("split_step=250", f"split_step=20 {SMALL} -m task.batch_size=500,100").replace(
        "(4,6)", "(9,10)"
    )
    failed = shell(wrong, cwd=copy, PYTHONPATH=str(copy / "src"))
    assert failed.returncode == 1 and "expected at least one batch of 500" in failed.stderr
    assert list(
        copy.glob("multirun/mnist1d-*/trunk-0/split-20/branch-9/endpoint.safetensors")
    )  # after the one that failed


@pytest.mark.parametrize("tool", ["ruff check", "ruff format --check --diff"])
def test_what_the_page_adds_is_clean(copy, tool):
    paths = [path for path, _ in files_of_the_page() if path.endswith(".py")]
    assert len(paths) == 6
    succeed(f"{tool} {' '.join(paths)}", cwd=copy)
