"""A study in one file: what is exported is what is drawn."""

import shutil
import subprocess
import sys

import pytest

from conftest import REPOSITORY
from lmc_lab.errors import UserError
from lmc_lab.files import DamagedFile
from lmc_lab.results.bundle import read_bundle
from lmc_lab.results.folder import read_results
from lmc_lab.studies.column import find_in
from shell import shell, succeed

STUDY = (
    'study=mnist1d \'overrides=["task.max_steps=30","task.data.num_train=400"]\' study.trunks=[0] study.splits=[0,10] '
    "study.branches=2 study.steps=[20] '~study.analyses' "
    "'+study.analyses={convex_mode:{num_samples:8},distances:{num_samples:8},predictions:{},trunk_curve:{},onset:{}}'"
)


@pytest.fixture(scope="module")
def exported(tmp_path_factory, shared_cache):
    folder = tmp_path_factory.mktemp("bundle")
    places = f"output_dir={folder} cache_dir={shared_cache}"
    succeed(f"python -m lmc_lab.study {STUDY} {places}")
    succeed(f"python -m lmc_lab.report {STUDY} {places} export={folder}/one.parquet")
    return folder


def test_a_file_has_all_rows_of_the_study(exported):
    record, collected = read_bundle(exported / "one.parquet")
    (folder,) = exported.glob("*/results")
    results, _ = read_results(folder)
    assert not collected.missing and len(collected.found) == len(record.wanted) == len(results)
    own = {each.entry.created: each for each in results}
    for each in collected.found:
        assert each.rows.equals(own[each.entry.created].rows)
        assert each.entry.subject == own[each.entry.created].entry.subject and each.records is None
    assert collected.config["task"]["max_steps"] == 30
    commands = [record.command, *(each.entry.command for each in collected.found)]
    assert all(command.startswith("python -m lmc_lab.") and "_dir=" not in command for command in commands)
    assert str(exported) not in (exported / "one.parquet").read_bytes().decode(errors="ignore")


def test_the_report_of_a_file_is_that_of_the_study(exported, tmp_path):
    script = "import sys; from lmc_lab import report; report.main(); print('torch' in sys.modules)"
    printed = succeed(f'python -c "{script}" results={exported}/one.parquet output_dir={tmp_path}')
    assert printed.endswith("False\n")
    own = exported / "reports" / "mnist1d" / "report.html"
    before = own.read_bytes()
    succeed(f"python -m lmc_lab.report results={exported}/one.parquet output_dir={exported} 'figures=[]'")
    assert own.read_bytes() == before and own.parent.with_name("mnist1d-from_file").joinpath("report.html").exists()
    pages = [folder / "reports" / "mnist1d" for folder in (exported, tmp_path)]
    names = {path.name for path in pages[0].iterdir()}
    assert {"figure2.svg", "over_time.svg", "report.html"} <= names == {path.name for path in pages[1].iterdir()}
    assert all((pages[0] / name).read_bytes() == (pages[1] / name).read_bytes() for name in names if "svg" in name)
    texts = [(page / "report.html").read_text() for page in pages]
    assert "Claims of the paper" in texts[1]
    assert ["Examples of mnist1d are not shown" in text for text in texts] == [False, True]
    both = f"'results=[{exported}/one.parquet,{exported}/one.parquet]'"
    succeed(f"python -m lmc_lab.report {both} output_dir={tmp_path}")
    page = tmp_path / "reports" / "mnist1d-1+mnist1d-2"  # the same study, as from two machines
    assert (page / "figure2.svg").exists() and "mnist1d-2: " in (page / "report.html").read_text()


def test_a_folder_of_branches_is_refused_with_what_draws_it(exported, tmp_path):
    (folder,) = exported.glob("*/results")
    with pytest.raises(UserError, match="found those of the study 'mnist1d'; draw it: python -m lmc_lab.report study="):
        find_in(folder)
    for file in folder.glob("*.parquet"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    with pytest.raises(UserError, match="found those of branches, which a study asks for; write its yaml"):
        find_in(tmp_path)


def test_a_damaged_file_is_refused(exported, tmp_path):
    content = bytearray((exported / "one.parquet").read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "two.parquet").write_bytes(content)
    with pytest.raises(DamagedFile, match="checksum"):
        read_bundle(tmp_path / "two.parquet")
    one_result = next(exported.glob("*/results/distances-*.parquet"))
    with pytest.raises(DamagedFile, match="found the rows of one result"):
        read_bundle(one_result)
    for place, message in ((tmp_path / "two.parquet", "checksum"), (tmp_path / "none.parquet", "found nothing")):
        result = shell(f"python -m lmc_lab.report results={place} output_dir={tmp_path}")
        assert result.returncode == 1 and message in result.stderr and "Traceback" not in result.stderr
    result = shell(
        f"python -m lmc_lab.report results={exported}/one.parquet export={tmp_path}/x.parquet 'beside=[siren]'"
    )
    assert (result.returncode == 0) == (tmp_path / "x.parquet").exists()


def test_the_pages_tables_are_filled_from_files(exported, tmp_path):
    (tmp_path / "results").mkdir()
    shutil.copy(exported / "one.parquet", tmp_path / "results" / "lenet.parquet")
    page = tmp_path / "results.md"
    page.write_text(
        "Before.\n<!-- figures/lenet-figure2.png figures/lenet-over_time.png -->\n"
        "<!-- all claims -->\n<!-- end -->\nBetween.\n<!-- lenet modes -->\nold\n<!-- end -->\nAfter.\n"
    )
    command = [sys.executable, str(REPOSITORY / "docs" / "make_results.py"), str(tmp_path)]
    for _ in range(2):
        subprocess.run(command, check=True)
        lines = page.read_text().splitlines()
        assert [line for line in lines if line[:1] not in "<|"] == [
            "Before.",
            "Between.",
            "After.",
        ] and "old" not in lines
    cells = [
        line.split(" | ")[1:] for line in lines if line.startswith("| ") and line[2].isdigit() and ". " in line[:5]
    ]
    without = [["not tested", "does not apply" if number in (7, 8) else "not tested"] for number in range(1, 10)]
    assert [cell[1:3] for cell in cells] == without  # of lenet_m, and of siren, which has no accuracy
    links = ("[seen](figures/lenet-figure2.png)", "[not seen](figures/lenet-figure2.png)")
    assert cells[1][0] in links and any(line.startswith("| trunk | k | P | J |") for line in lines)
    assert {"lenet-figure2.png", "lenet-over_time.png"} <= {path.name for path in (tmp_path / "figures").iterdir()}
