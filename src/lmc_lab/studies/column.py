"""Where the results of a study lie, and what there is of them: a column of its report."""

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from lmc_lab import stages
from lmc_lab.errors import UserError
from lmc_lab.files import DamagedFile
from lmc_lab.results.bundle import read_bundle
from lmc_lab.results.folder import Result, read_results
from lmc_lab.results.manifest import StudyRecord, studies_in
from lmc_lab.results.study_results import StudyResults, collect, from_elsewhere
from lmc_lab.studies.request import asked
from lmc_lab.values import override_text


@dataclass(frozen=True)
class StudyColumn:
    """A study and its results, or a folder with results of weights from elsewhere.

    Args:
        name: of the column.
        collected: what there is.
        record: what the study asked for; None if there is no study.
    """

    name: str
    collected: StudyResults
    record: StudyRecord | None = None


def find_column(config: DictConfig, given: Sequence[str]) -> StudyColumn:
    """Returns the study of the config as the manifests below its `output_dir` know it, with its results.

    Args:
        config: of the report.
        given: the overrides that made it, which would run the study, too.

    Raises:
        UserError: it was not run, or with other settings, or has measured nothing yet.
    """
    output_dir, asked_for = Path(config.output_dir).absolute(), asked(config)
    run_it = f"run it first: {stages.shown(stages.command('study', *given))}"
    namesakes = _records(output_dir, config.study.name)
    same = [(record, folder, collect(record, folder)) for record, folder in namesakes if record.asked == asked_for]
    for record, _, collected in same:
        if collected.found:
            return StudyColumn(record.name, collected, record)
    if same:
        record, folder, collected = same[0]
        reasons = [*map(str, collected.damaged), *dict.fromkeys(_divergences(record))]
        why = f" ({'; '.join(reasons)})" if reasons else ""
        raise UserError(f"expected measurements of the study '{record.name}' in {folder}, found none{why}; {run_it}")
    found = "none"
    if namesakes:
        other = min((record for record, _ in namesakes), key=lambda each: len(_differences(asked_for, each.asked)))
        found = f"it, but with other {' and '.join(_differences(asked_for, other.asked))}"
        run_it = f"give the report what that study was given ({other.command}), or {run_it}"
    raise UserError(
        f"expected measurements of the study '{config.study.name}' in {output_dir}, found {found}; {run_it}"
    )


def has_study(output_dir: Path, name: str) -> bool:
    """Returns whether a study of this name was run with this `output_dir`."""
    return bool(_records(output_dir, name))


def _records(output_dir: Path, name: str) -> list[tuple[StudyRecord, Path]]:
    """Returns the studies of a name with the folders of their results, the one that ran last first.

    A task that was changed in its yaml has another folder, whose study asked for the same in the same words.
    """
    found = [
        (record, folder) for folder in _folders(output_dir) for record in studies_in(folder) if record.name == name
    ]
    return sorted(found, key=lambda pair: pair[0].ran, reverse=True)


def find_in(path: Path) -> StudyColumn:
    """Returns the study in a file that `export` wrote, or what a folder of results has of weights from elsewhere.

    Raises:
        UserError: there is none.
    """
    if path.is_dir():
        return find_elsewhere(path)
    try:
        record, collected = read_bundle(path)
    except FileNotFoundError:
        raise UserError(
            f"expected a folder of results or the file of a study at results={path}, found nothing; name another"
        ) from None
    except DamagedFile as error:
        raise UserError(f"{error}; name a file that report export=… wrote, or export the study again") from error
    if not collected.found:
        raise UserError(f"expected results in {path}, found none; export the study again: {record.command}")
    return StudyColumn(record.name, collected, record)


def find_elsewhere(folder: Path) -> StudyColumn:
    """Returns what a folder of results has of weights from elsewhere, which no study asked for.

    Raises:
        UserError: nothing.
    """
    results, damaged = read_results(folder)
    elsewhere = from_elsewhere(results)
    if not elsewhere:
        raise UserError(f"expected results of weights from elsewhere in {folder}, found {_instead(folder, results)}")
    name = f"{elsewhere[-1].entry.config['task']['name']}-elsewhere"
    return StudyColumn(name, StudyResults([], [], [], damaged, elsewhere))


def _instead(folder: Path, results: Sequence[Result]) -> str:
    """Says what a folder has in place of results of weights from elsewhere, and how that is drawn."""
    studies = sorted(studies_in(folder), key=lambda record: record.ran)
    if studies:
        record = studies[-1]
        words = record.command.replace("lmc_lab.study", "lmc_lab.report", 1)
        here = shlex.join([f"output_dir={override_text(str(folder))}"])
        return f"those of the study '{record.name}'; draw it: {words} {here}"
    if results:
        return (
            "those of branches, which a study asks for; write its yaml (conf/study/ has examples) with these branches, which "
            "are not trained again, and run it: python -m lmc_lab.study study=…"
        )
    return "none; measure some first: python -m lmc_lab.analyze 'endpoints=[a.pt,b.pt]' with the task that they are of"


def _folders(output_dir: Path) -> list[Path]:
    """Returns the folders of results: those of tasks, or one that was copied to, or as, `output_dir`."""
    return [*sorted(output_dir.glob("*/results")), output_dir / "results", output_dir]


def _divergences(record: StudyRecord) -> Iterator[str]:
    for reasons in record.obstacles.values():
        yield from (reason for reason in reasons if "diverged" in reason)


def _differences(own: Any, other: Any, path: str = "") -> list[str]:
    """Returns the keys whose values differ."""
    if not (isinstance(own, dict) and isinstance(other, dict)):
        return [path] if own != other else []
    keys = [key for key in {**own, **other} if own.get(key) != other.get(key)]
    return [name for key in keys for name in _differences(own.get(key), other.get(key), f"{path}.{key}".lstrip("."))]
