"""A module imports from its own folder without cycles, or from layers with a smaller number."""

import ast
import re
import subprocess
import sys
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "src" / "lmc_lab"
FOLDERS = {
    "landscape": 0,
    "models": 1,
    "stacked": 1,
    "data": 1,
    "results": 1,
    "tasks": 2,
    "library": 3,
    "runs": 3,
    "analyses": 4,
    "reporting": 5,
}
# Every other module, at the top, belongs to the entry points.
ROOTS = {
    "errors": -2,
    "inputs": -1,
    "values": -1,
    "files": -1,
    "generators": -1,
    "locks": -1,
    "process": -1,
    "termination": -2,
    "torch_internals": -1,
    "versions": -1,
}
ENTRY_LAYER = 6
PLUGINS = PACKAGE.parent / "hydra_plugins"  # they belong to the entry points, too
MODULES = sorted([*PACKAGE.rglob("*.py"), *PLUGINS.rglob("*.py")])


def name_of(path):
    return ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)


def layer(module):
    parts = module.split(".")
    if parts[0] == "hydra_plugins":
        return ENTRY_LAYER
    if len(parts) > 2:
        return FOLDERS.get(parts[1], ENTRY_LAYER)
    return FOLDERS.get(parts[1], ROOTS.get(parts[1], ENTRY_LAYER))


KNOWN = {name_of(path) for path in MODULES}


@cache
def parsed(path):
    return ast.parse(path.read_text())


def imported(path, *, top_level_only=False):
    nodes = parsed(path).body if top_level_only else ast.walk(parsed(path))
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            submodules = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (name if name in KNOWN else node.module for name in submodules)


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_no_module_imports_a_later_layer(path):
    own = name_of(path)
    for module in imported(path):
        if not module.startswith(("lmc_lab.", "hydra_plugins.")):
            continue
        same_folder = module.split(".")[1] == own.split(".")[1]
        assert layer(module) < layer(own) or same_folder or layer(own) == ENTRY_LAYER, f"{own} imports {module}"


def test_the_architecture_has_the_layers_that_are_tested():
    page = (PACKAGE.parents[1] / "docs" / "architecture.md").read_text()
    told = {folder: int(layer) for layer, folder in re.findall(r"^\| (\d) \| `(\w+)/` \|", page, flags=re.MULTILINE)}
    assert told == FOLDERS


def test_there_are_no_cycles():
    graph = {
        name_of(path): {
            m for m in imported(path) if m.startswith(("lmc_lab.", "hydra_plugins.")) and m != name_of(path)
        }
        for path in MODULES
    }
    list(TopologicalSorter(graph).static_order())


@pytest.mark.parametrize("path", sorted((PACKAGE / "landscape").glob("*.py")), ids=name_of)
def test_the_landscape_imports_torch_and_the_standard_library_only(path):
    for module in imported(path):
        top = module.split(".")[0]
        assert top in {"torch", "lmc_lab"} or top in sys.stdlib_module_names, f"{path.name} imports {module}"


def test_hydra_is_known_to_the_entry_points_only():
    for path in MODULES:
        if layer(name_of(path)) < ENTRY_LAYER:
            assert not {m.split(".")[0] for m in imported(path)} & {"hydra", "omegaconf"}, path


def test_wandb_is_imported_where_runs_are_logged_alone():
    def uses_wandb(path):
        names = {
            alias.name
            for node in ast.walk(parsed(path))
            for alias in getattr(node, "names", [])
            if isinstance(node, ast.Import | ast.ImportFrom)
        }
        return "WandbLogger" in names or any(module.split(".")[0] == "wandb" for module in imported(path))

    users = {path.relative_to(PACKAGE).as_posix() for path in MODULES if PACKAGE in path.parents and uses_wandb(path)}
    assert users == {"reporting/sinks.py", "reporting/wandb_account.py"}


def test_neither_runs_nor_the_page_know_an_analysis():
    names = {
        node.value.value
        for path in (PACKAGE / "analyses").glob("*.py")
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.AnnAssign)
        and ast.unparse(node.target) == "name"
        and isinstance(node.value, ast.Constant)
    }
    assert {"convex_mode", "gap_terms", "inter_alignment", "noise_hulls"} <= names
    for path in [*(PACKAGE / "runs").glob("*.py"), PACKAGE / "reporting" / "page.py"]:
        known = {node.value for node in ast.walk(parsed(path)) if isinstance(node, ast.Constant)} & names
        assert not known, path


@pytest.mark.parametrize(
    "name",
    ["train", "analyze", "study", "report", "tune", "doctor", "cli", "sentences", "construct", "schema", "configs"],
)
def test_entry_points_import_nothing_heavy_before_they_run(name):
    heavy = {"torch", "lightning", "wandb", "pandas", "matplotlib", "torchmetrics", "torchvision", "numpy", "scipy"}
    path = PACKAGE / f"{name}.py"
    for module in imported(path, top_level_only=True):
        assert module.split(".")[0] not in heavy
        if module.startswith("lmc_lab."):
            inner = PACKAGE.parent.joinpath(*module.split(".")).with_suffix(".py")
            assert not {m.split(".")[0] for m in imported(inner, top_level_only=True)} & heavy


def test_drawing_needs_no_torch():
    names = ["lmc_lab.studies.column", *(name_of(path) for path in sorted((PACKAGE / "results").glob("[a-z]*.py")))]
    drawing = sorted((PACKAGE / "reporting").rglob("[a-z]*.py"))
    of_loggers = ("sinks.py", "examples.py", "tensorboard.py", "wandb_account.py")
    names += [name_of(path) for path in drawing if path.name not in of_loggers]
    script = f"import sys, {', '.join(names)}; print(*sys.modules)"
    found = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout.split()
    assert "lmc_lab.reporting.figures.pairs" in found and not {"torch", "lightning", "wandb"} & set(found)


def test_the_page_needs_neither_matplotlib_nor_plotlys_python():
    names = ["lmc_lab.studies.column", "lmc_lab.results.bundle"]
    names += [f"lmc_lab.reporting.{name}" for name in ("page", "answer", "cautions", "claims", "provenance", "table")]
    script = f"import sys, lmc_lab.reporting.shown_examples, {', '.join(names)}; print(*sys.modules)"
    found = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout.split()
    assert "lmc_lab.reporting.interactive.pairs" in found and not {"matplotlib", "plotly", "torch"} & set(found)


def test_measuring_needs_neither_lightning_nor_what_it_imports():
    """It is what an analysis would wait for longest: 1.5 s, and torch 1.0 s."""
    names = [
        "lmc_lab.preload",
        *(name_of(path) for path in sorted((PACKAGE / "analyses").glob("[a-z]*.py"))),
    ]
    script = f"import sys, {', '.join(names)}; print(*sys.modules)"
    found = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout.split()
    assert "torch" in found and "lmc_lab.analyses.convex_mode" in found
    assert not {"lightning", "torchmetrics", "torchvision", "torch._dynamo", "matplotlib"} & set(found)


def test_a_finished_branch_is_seen_as_such_without_lightning():
    script = "import sys, lmc_lab.compose, lmc_lab.runs.branch; print(*sys.modules)"
    found = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout.split()
    assert not {"lightning", "torchmetrics", "torchvision", "scipy", "pandas"} & set(found)


def test_finished_branches_are_seen_without_torch():
    script = "import sys, lmc_lab.addresses, lmc_lab.run_keys, lmc_lab.runs.finished; print(*sys.modules)"
    found = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout.split()
    assert "safetensors" in found and not {"torch", "lightning", "numpy", "pandas"} & set(found)


def test_nothing_of_hydras_inside_is_used():
    folders = (PACKAGE, PACKAGE.parent / "hydra_plugins")
    found = {path.name: set(imported(path)) for folder in folders for path in folder.rglob("*.py")}
    assert not {name for name, modules in found.items() if any(m.startswith("hydra._internal") for m in modules)}
