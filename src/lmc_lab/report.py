"""Draws what a study has measured: ``python -m lmc_lab.report study=lenet_m``."""

import re
from typing import TYPE_CHECKING

from omegaconf import DictConfig

from lmc_lab import cli, schema
from lmc_lab.process import heavy_imports, num_cores

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from matplotlib.figure import Figure

    from lmc_lab.reporting.page import Page
    from lmc_lab.reporting.report_figure import ReportFigure
    from lmc_lab.studies.column import StudyColumn


_OF_REPORTS = r"[+~]*(beside|export|results)\b"  # keys that `study` does not have


def main() -> None:
    """Runs the command line."""
    cli.main("report", job)


def job(config: DictConfig) -> None:
    """Writes one HTML page from the folders of results alone, prints the tables and where it is, and draws figures for papers.

    Studies named in `beside` are drawn as further columns. What a study asked for and is not there is said, with the
    command that makes it. The page comes first: what it needs is imported in a second, what draws on paper takes longer.
    """
    from pathlib import Path

    schema.check(config)
    with heavy_imports():
        from lmc_lab.construct import check_logger
        from lmc_lab.reporting.page import ONSET, write_page
        from lmc_lab.reporting.table import ABOUT_ONSETS, as_text
        from lmc_lab.runs.paths import reports
        from lmc_lab.studies.column import has_study
        from lmc_lab.studies.study_page import page_of

    check_logger(config)
    figures = own_figures(config)
    columns = _columns(config)
    _export(config, columns)
    page = page_of(columns, figures, formats=list(config.figures))
    output_dir = Path(config.output_dir).absolute()
    is_another = bool(config.results) and any(
        has_study(output_dir, each.name) for each in columns
    )  # with a page of its own
    folder = reports(output_dir, f"{page.title}-from_file" if is_another else page.title)
    written = write_page(page, folder)
    shown = [as_text(page.tables[heading]) for heading in ("Modes", ONSET, "Missing") if not page.tables[heading].empty]
    notes = [] if page.tables[ONSET].empty else [ABOUT_ONSETS]
    print(*shown, *notes, *page.notes, written, sep="\n", flush=True)
    pictures = _pictures(config, page, figures, folder)
    for path in [*pictures, *([] if config.export is None else [Path(config.export).absolute()])]:
        print(path)
    if _is_of_wandb(config.logger):  # TensorBoard has training curves alone
        for column in columns:
            _mirror(config, column, pictures)


def _pictures(
    config: DictConfig, page: "Page", figures: "Mapping[str, ReportFigure[Figure]]", folder: "Path"
) -> "list[Path]":
    """Draws the figures for papers, if any are asked for."""
    if not config.figures:
        return []
    with heavy_imports():
        from lmc_lab.reporting.printed import draw_figures

    formats, cores = list(config.figures), num_cores()
    return draw_figures(
        page.rows, folder, rows_over_time=page.rows_over_time, own=figures, formats=formats, num_cores=cores
    )


def _columns(config: DictConfig) -> "list[StudyColumn]":
    """Returns the study, and those beside it, each with what there is of it, or what `results` has from elsewhere."""
    from pathlib import Path

    from hydra import compose
    from hydra.core.hydra_config import HydraConfig

    from lmc_lab.addresses import listed
    from lmc_lab.studies.column import find_column, find_in
    from lmc_lab.studies.request import folder_overrides

    if config.results:
        return _told_apart([find_in(Path(path).absolute()) for path in listed(config.results)])
    given = [item for item in HydraConfig.get().overrides.task if not re.match(_OF_REPORTS, item)]
    others = [[f"study={name}", *folder_overrides(config)] for name in config.beside]
    return _told_apart(
        [
            find_column(config, given),
            *(find_column(compose("report", overrides=overrides), overrides) for overrides in others),
        ]
    )


def _told_apart(columns: "list[StudyColumn]") -> "list[StudyColumn]":
    """Returns columns of different names: namesakes, as the same study from two machines, get a number each."""
    from dataclasses import replace

    names = [column.name for column in columns]
    numbers = [names[: i + 1].count(name) for i, name in enumerate(names)]
    return [
        replace(column, name=f"{column.name}-{number}") if names.count(column.name) > 1 else column
        for column, number in zip(columns, numbers, strict=True)
    ]


def _export(config: DictConfig, columns: "Sequence[StudyColumn]") -> None:
    """Writes the study into one file, if one is asked for.

    Raises:
        UserError: there is no study, or several.
    """
    from pathlib import Path

    from lmc_lab.errors import UserError
    from lmc_lab.results.bundle import write_bundle

    if config.export is None:
        return
    if len(columns) != 1 or columns[0].record is None:
        raise UserError(f"expected one study to export, found {len(columns)} columns; leave out beside and results")
    write_bundle(columns[0].record, columns[0].collected, Path(config.export).absolute())


def own_figures(config: DictConfig) -> "dict[str, ReportFigure[Figure]]":
    """Returns the figures that ``figure=[…]`` adds to those of the paper, by their names.

    Raises:
        UserError: a node is not what a `ReportFigure` takes.
    """
    from lmc_lab.construct import factory

    return {str(name): factory(config, f"figure.{name}")() for name in config.get("figure", {})}


def _is_of_wandb(logger: DictConfig | None) -> bool:
    return logger is not None and logger.get("_target_") == "lmc_lab.reporting.sinks.wandb_logger"


def _mirror(config: DictConfig, column: "StudyColumn", pictures: "Sequence[Path]") -> None:
    """Logs the results of one study to Weights & Biases."""
    import hashlib
    import json
    from pathlib import Path

    from omegaconf import OmegaConf

    from lmc_lab.compose import data_loader
    from lmc_lab.reporting.sinks import ResultsMirror
    from lmc_lab.reporting.wandb_account import way_of

    mode = way_of(config.logger.mode)
    if mode is None:
        return
    where = (config.logger.project, mode, Path(config.output_dir).absolute())
    column_config = OmegaConf.create(
        column.collected.config | {"data_dir": config.data_dir, "cache_dir": config.cache_dir}
    )
    asked = None if column.record is None else column.record.asked
    key = hashlib.sha256(json.dumps([column.collected.fingerprint, asked], sort_keys=True).encode()).hexdigest()[:8]
    mirror = ResultsMirror(column.name, key, *where, column.collected.config)
    mirror.log(column.collected.with_rows, data_loader(column_config)().train, pictures)


if __name__ == "__main__":
    main()
