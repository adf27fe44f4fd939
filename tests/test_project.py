"""What stands about the project in several files is the same in all of them."""

import ast
import re
import tomllib
from collections import Counter

import pytest
import yaml

from conftest import REPOSITORY

PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
PAGES = sorted([*REPOSITORY.glob("*.md"), *REPOSITORY.glob("docs/**/*.md")])
README = (REPOSITORY / "README.md").read_text()


def test_hooks_run_what_make_lint_runs():
    hooks = yaml.safe_load((REPOSITORY / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    lint = (REPOSITORY / "Makefile").read_text().split("\nlint:")[1].split("\n\n")[0].splitlines()[1:]
    assert [hook["entry"] for hook in hooks] == [line.strip().replace("$(BIN)", ".venv/bin") for line in lint]


def test_the_citation_is_of_this_version_and_of_the_paper():
    citation = yaml.safe_load((REPOSITORY / "CITATION.cff").read_text())
    assert (citation["version"], citation["license"]) == (PROJECT["version"], PROJECT["license"])
    assert [author["name"] for author in citation["authors"]] == [author["name"] for author in PROJECT["authors"]]
    (paper,) = citation["references"]
    assert paper["url"] == PROJECT["urls"]["Paper"] and paper["url"] in README and paper["title"] in README


def test_the_changelog_has_this_version():
    assert f"\n## {PROJECT['version']}\n" in (REPOSITORY / "CHANGELOG.md").read_text()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    links = re.findall(r"\]\(([^)#]+)\)", page.read_text())
    assert not [link for link in links if not link.startswith("http") and not (page.parent / link).exists()]


def test_the_architecture_names_files_and_folders_that_exist():
    named = re.findall(r"`([\w/]+(?:\.py|\.yaml|/))`", (REPOSITORY / "docs" / "architecture.md").read_text())
    roots = (REPOSITORY, REPOSITORY / "src" / "lmc_lab")
    assert len(named) > 20
    assert not [name for name in {*named} if not any((root / name).exists() for root in roots)]


def test_no_two_classes_that_others_see_have_one_name():
    classes = [
        node.name
        for path in sorted((REPOSITORY / "src").rglob("*.py"))
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    ]
    assert [name for name, times in Counter(classes).items() if times > 1] == []
