"""Draws the figures and fills the tables of docs/results.md from the rows in docs/results/: `make results`.

Each file there is a study with all its rows, as `python -m lmc_lab.report study=… export=docs/results/….parquet` writes it.
A folder there is a sweep, with the two tables that `python -m lmc_lab.tune` writes. The figures of earlier runs are drawn from
docs/rows/. In the page a table stands between ``<!-- <study> <table> -->`` and
``<!-- end -->``; what is between them is written anew.
"""

import re
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd
from matplotlib.figure import Figure

from lmc_lab.reporting.claims import CLAIMS, Claim, claims_table
from lmc_lab.reporting.figures.onset_by_key import onset_by_key
from lmc_lab.reporting.judgements import Verdict
from lmc_lab.reporting.pictures import write_figure
from lmc_lab.reporting.printed import FIGURES, draw_figures
from lmc_lab.reporting.question_tables import QUESTION_TABLES
from lmc_lab.reporting.table import bracket_text, mode_table, onset_table
from lmc_lab.results.bundle import read_bundle
from lmc_lab.results.folder import Result, all_rows
from lmc_lab.results.row_file import SCHEMA
from lmc_lab.tuning.detection import judge

# The columns of the paper's Table 1 that are kept here; beside each the study that has more endpoints of a hull than classes.
TASKS: Mapping[str, str | None] = {"lenet": "lenet100", "lenet_m": "choices_20", "siren": None, "resnet20": None}
_DIMENSIONS, _OF_ACCURACY, _WITHOUT_ACCURACY = 4, (7, 8), ("siren",)  # numbers of claims, and a task
_BLOCK = re.compile(r"(<!-- ([\w-]+) ([\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def main(docs: Path) -> None:
    """Draws and writes everything in the folder `docs`."""
    studies = {path.stem: Study.read(path) for path in sorted((docs / "results").glob("*.parquet"))}
    earlier = {path.stem: Study.read_earlier(path) for path in sorted((docs / "rows").glob("*.csv"))}
    page = docs / "results.md"
    sweeps = {path.parent.name: Sweep.read(path.parent) for path in sorted((docs / "results").glob("*/trials.csv"))}
    text = _BLOCK.sub(lambda match: _filled(match, studies, sweeps), page.read_text())
    page.write_text(text)
    for name, study in {**studies, **earlier}.items():
        _draw(name, study, docs / "figures", text)
    for name, sweep in sweeps.items():
        write_figure(sweep.figure, [docs / "figures" / f"{name}-onset.png"])


@dataclass(frozen=True)
class Sweep:
    """What the trials of a sweep found.

    Args:
        onsets: by p_conv, of each trial and trunk.
        points: where each detector turns.
    """

    onsets: pd.DataFrame
    points: pd.DataFrame

    @classmethod
    def read(cls, folder: Path) -> "Sweep":
        """Returns the sweep in a folder."""
        trials = pd.read_csv(folder / "trials.csv")
        return cls(trials[trials["criterion"].eq("onset_p_conv")], pd.read_csv(folder / "detectors.csv"))

    @property
    def keys(self) -> list[str]:
        """The keys that differ between trials."""
        return [key for key in map(str, self.onsets) if key.startswith("task.")]

    def figure(self) -> Figure:
        """Returns the onsets against each key."""
        return onset_by_key(self.onsets, dict.fromkeys(self.keys, False))

    def onset_table(self) -> pd.DataFrame:
        """Returns the bracket of the onset of each trunk, a line a setting."""
        lines = self.onsets[["last_failed", "first_held", "reversals"]].itertuples(index=False)
        brackets = [bracket_text(failed, held, is_monotone=reversals == 0) for failed, held, reversals in lines]
        found = self.onsets.assign(onset=brackets)
        table = found.pivot(index=self.keys, columns="trunk", values="onset").add_prefix("onset, trunk ")
        return table.reset_index().rename(columns=lambda key: key.rpartition(".")[2])

    def detector_table(self) -> pd.DataFrame:
        """Returns how each detector goes with the onset."""
        return judge(self.points).table


@dataclass(frozen=True)
class Study:
    """What a study found.

    Args:
        rows: of endpoints.
        over_time: rows of hulls on the way.
        seconds: that each result took, by its analysis.
    """

    rows: pd.DataFrame
    over_time: pd.DataFrame
    seconds: Sequence[tuple[str, float]] = ()

    @classmethod
    def read(cls, path: Path) -> "Study":
        """Returns the study in a file."""
        record, collected = read_bundle(path)
        seconds = [(result.entry.analysis, result.entry.seconds) for result in collected.found]
        return cls(_rows(record.name, collected.with_rows), _rows(record.name, collected.over_time), seconds)

    @classmethod
    def read_earlier(cls, path: Path) -> "Study":
        """Returns an earlier run, which has figures and no tables."""
        rows = pd.read_csv(path).reindex(columns=list(SCHEMA)).astype(SCHEMA)
        return cls(rows, rows.iloc[:0])


Studies = Mapping[str, Study]


def _rows(task: str, results: list[Result]) -> pd.DataFrame:
    return all_rows(results).assign(task=task)


def _draw(name: str, study: Study, folder: Path, text: str) -> None:
    """Draws the figures of a study that the text shows."""
    folder.mkdir(exist_ok=True)
    shown = [figure for figure in FIGURES if f"{name}-{figure}.png" in text]
    with TemporaryDirectory() as temporary:
        for path in draw_figures(
            study.rows, Path(temporary), rows_over_time=study.over_time, only=shown, formats=["png"]
        ):
            shutil.copy(path, folder / f"{name}-{path.name}")


def _filled(match: "re.Match[str]", studies: Studies, sweeps: Mapping[str, Sweep]) -> str:
    start, study, table, end = match.groups()
    if study in sweeps:
        return f"{start}{_markdown(getattr(sweeps[study], f'{table}_table')())}{end}"
    if study == "all":
        return f"{start}{_markdown(_OF_ALL[table](studies))}{end}"
    rows = studies[study].rows
    found = _claims(study, rows) if table == "claims" else _TABLES[table](rows)
    return f"{start}{_markdown(found.drop(columns='task'))}{end}"


def _claims(study: str, rows: pd.DataFrame) -> pd.DataFrame:
    """Returns what was found of each claim, with the figure that shows it."""
    table = claims_table(rows)
    linked = [_linked(verdict, study, claim) for verdict, claim in zip(table["found"], CLAIMS, strict=True)]
    return table.assign(found=linked)


def _linked(verdict: Verdict, study: str, claim: Claim) -> str:
    """Returns a verdict that follows from rows as a link to their figure."""
    is_told = verdict in (Verdict.SEEN, Verdict.NOT_SEEN)
    return f"[{verdict}](figures/{study}-{claim.figure}.png)" if is_told else str(verdict)


def _cells(studies: Studies) -> pd.DataFrame:
    """Returns the claims by tasks: what was found of each."""
    columns = {task: [_found(studies, task, number) for number in range(1, len(CLAIMS) + 1)] for task in TASKS}
    return pd.DataFrame({"claim": [f"{i}. {claim.statement}" for i, claim in enumerate(CLAIMS, start=1)], **columns})


def _found(studies: Studies, task: str, number: int) -> str:
    """Returns what was found of a claim; the one about dimensions is of the study with the most endpoints."""
    if number in _OF_ACCURACY and task in _WITHOUT_ACCURACY:
        return str(Verdict.DOES_NOT_APPLY)
    of_many = (TASKS[task] if number == _DIMENSIONS else None) or task
    study = of_many if of_many in studies else task
    if study not in studies:
        return str(Verdict.NOT_TESTED)
    claim = CLAIMS[number - 1]
    return _linked(claim.judge(studies[study].rows).verdict, study, claim)


def _rules(_: Studies) -> pd.DataFrame:
    """Returns where the paper makes each claim, and when it counts as seen."""
    return pd.DataFrame(
        {
            "claim": [f"{i}. {claim.statement}" for i, claim in enumerate(CLAIMS, start=1)],
            "in the paper": [claim.source for claim in CLAIMS],
            "seen if": [claim.rule for claim in CLAIMS],
        }
    )


def _seconds(mean: float, count: float) -> str:
    if mean < _INSTANT:
        return ""
    return f"{mean:,.0f} ({count:.0f})" if mean >= _LONG else f"{mean:.2g} ({count:.0f})"


def _costs(studies: Studies) -> pd.DataFrame:
    """Returns how long a result of each analysis took, on average over all studies of a net."""
    lines = [
        {"analysis": analysis, "of": net, "seconds": seconds}
        for net, prefix in _NETS.items()
        for name, study in studies.items()
        if name.startswith(prefix)
        for analysis, seconds in study.seconds
    ]
    means = pd.DataFrame(lines).groupby(["analysis", "of"])["seconds"].agg(["mean", "size"])
    means["cell"] = [_seconds(mean, size) for mean, size in means.to_numpy()]
    table = means["cell"].unstack("of").reindex(columns=list(_NETS)).fillna("")
    return table[table.map(bool).any(axis=1)].reset_index()


_NETS = {"MNIST-1D's net": "mnist1d", "LeNet-5": "lenet_m", "SIREN": "siren"}  # and how their studies' names begin
_INSTANT, _LONG = 0.1, 10  # seconds
_OF_ALL: Mapping[str, Callable[[Studies], pd.DataFrame]] = {"claims": _cells, "rules": _rules, "costs": _costs}
_TABLES: Mapping[str, Callable[[pd.DataFrame], pd.DataFrame]] = {
    "modes": mode_table,
    "onset": onset_table,
    **{name: table.of for name, table in QUESTION_TABLES.items()},
}


def _markdown(table: pd.DataFrame) -> str:
    lines = [table.columns.tolist(), ["---"] * len(table.columns), *table.astype(str).to_numpy().tolist()]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
