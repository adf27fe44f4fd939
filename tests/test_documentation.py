"""The site of the documentation, and what its tutorial has one type."""

import importlib.util
import re

import pytest
import torch
import yaml
from torchvision.ops import MLP

from conftest import REPOSITORY
from lmc_lab.results.row_file import SCHEMA
from shell import succeed

DOCS = REPOSITORY / "docs"
TUTORIAL = (DOCS / "tutorial.md").read_text()
NAVIGATION = yaml.safe_load((REPOSITORY / "mkdocs.yml").read_text())["nav"]


def _pages(entries):
    for entry in entries:
        for value in entry.values():
            yield from [value] if isinstance(value, str) else _pages(value)


def test_every_page_is_in_the_navigation():
    assert sorted(_pages(NAVIGATION)) == sorted(path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md"))


@pytest.mark.skipif(importlib.util.find_spec("mkdocs") is None, reason="needs the extra docs")
def test_the_site_is_built_and_loads_nothing_from_elsewhere(tmp_path):
    succeed(f"python -m mkdocs build --strict --quiet --site-dir {tmp_path}", cwd=REPOSITORY)
    page = (tmp_path / "library" / "index.html").read_text()
    assert "probe_hull" in page and "Algorithm 1" in page and "p_conv" in page
    assert "log_every" in (tmp_path / "keys" / "index.html").read_text()
    assert "idea.svg" in (tmp_path / "index.html").read_text()
    for path in tmp_path.rglob("*.html"):
        text = path.read_text()
        assert not re.findall(r"""<(?:script|link|img)[^>]+(?:src|href)=["']?https?://""", text), path
        assert path.name == "404.html" or not list(_dead_links(path, text)), path


def _dead_links(path, text):
    for link in re.findall(r"""(?:href|src)="(?!https?:|mailto:|data:)([^"#?]+)""", text):
        target = path.parent / link
        if not (target.is_file() or (target / "index.html").is_file()):
            yield link


@pytest.mark.parametrize("page", sorted((DOCS / "reading").glob("*.md")), ids=lambda page: page.stem)
def test_a_page_about_a_figure_shows_one(page):
    assert re.search(r"^!\[.+\]\(\.\./figures/.+\)$", page.read_text(), re.MULTILINE)


def test_every_file_of_the_configuration_is_on_the_page_of_keys():
    page = (DOCS / "keys.md").read_text()
    files = {path.relative_to(REPOSITORY).as_posix() for path in REPOSITORY.glob("conf/**/*.yaml")}
    named = set(re.findall(r'--8<-- "(.*?)"', page))
    assert named == {name for name in files if not name.startswith("conf/hydra/")}


def test_the_schema_has_every_column():
    assert re.findall(r"^\| (`\w+`(?:, `\w+`)*) \|", (DOCS / "schema.md").read_text(), re.MULTILINE) == [
        *(f"`{name}`" for name in list(SCHEMA)[:11]), "`low`, `high`", *(f"`{name}`" for name in list(SCHEMA)[13:])
    ]  # fmt: skip


def _part(number):
    return TUTORIAL.split(f"\n## {number}. ")[1].partition("\n## ")[0]


def _commands(number):
    return re.findall(r"^    (python -m lmc_lab.*)$", _part(number), re.MULTILINE)


def _code(number, kind="python"):
    return re.findall(rf"```{kind}\n(.*?)```", _part(number), re.DOTALL)


@pytest.mark.long
def test_the_tutorials_split_by_hand(tmp_path, shared_cache):
    for command in _commands(2):
        succeed(f"{command} task.max_steps=300 cache_dir={shared_cache}", cwd=tmp_path)
    (program,) = _code(2)
    printed = succeed(f"python - <<'END'\n{program}\nEND", cwd=tmp_path)
    assert "250" in printed and "value" in printed
    train, shown = _commands(3)
    succeed(f"{train} task.max_steps=300 cache_dir={shared_cache}", cwd=tmp_path)
    assert "lr: 0.01" in succeed(shown, cwd=tmp_path)
    assert len(list(tmp_path.glob("multirun/mnist1d-*/trunk-0/split-250"))) == 2


@pytest.mark.long
def test_the_tutorials_search(tmp_path, shared_cache):
    (command,) = _commands(4)
    small = """'overrides=["task.max_steps=60","task.data.num_train=300"]' study.branches=2 study.search.max_splits=4"""
    few = "study.analyses.hulls.num_hulls=2 study.analyses.convex_mode.num_samples=9 study.trunks=[0] figures=[]"
    printed = succeed(f"{command} {small} {few} cache_dir={shared_cache}", cwd=tmp_path)
    assert re.search(r"trunk 0, of \d splits: p_conv (fails|holds) ", printed) and printed.strip().endswith(
        "report.html"
    )


@pytest.mark.long
def test_the_tutorials_model_of_ones_own_and_checkpoints(tmp_path):
    (config,) = _code(5, "yaml")
    (tmp_path / "task").mkdir()
    (tmp_path / "task" / "mine.yaml").write_text(config)
    (make_data,) = _code(5)
    succeed(f"python - <<'END'\n{make_data}\nEND", cwd=tmp_path)
    for command in _commands(5):
        succeed(command, cwd=tmp_path)
    endpoints = sorted(tmp_path.rglob("branch-*/endpoint.safetensors"))
    assert len(endpoints) == 4
    for seed, name in enumerate("abc"):
        torch.manual_seed(seed)
        torch.save(MLP(8, [32, 3]).state_dict(), tmp_path / f"{name}.pt")
    (command,) = _commands(6)
    succeed(command, cwd=tmp_path)
    (program,) = _code(6)
    printed = succeed(f"python - <<'END'\n{program}\nEND", cwd=tmp_path)
    assert re.fullmatch(r"\d\.\d\d \[\d\.\d\d, \d\.\d\d\]\n", printed)
