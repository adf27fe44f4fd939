"""Rows as tables that fit a terminal and a page: the modes, the onsets, the tasks (Table 1), and what analyses cost."""

import json
import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from math import isfinite
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from lmc_lab.reporting.onsets import loss_just_before, trunk_curves, unmeasured
from lmc_lab.reporting.provenance import flat
from lmc_lab.results.folder import Result
from lmc_lab.results.select import select, select_any

_ALGORITHM_1 = "convex_mode"
_DIVERGED = "diverged_at"
_NO_NUMBER = "missing"  # in place of a value that is NaN or infinite

ABOUT_ONSETS = (
    "An onset is a bracket: the last split that failed .. the first that held, as did all later; - where there is none, so "
    '"- .. 0" held from k = 0 on, and "1000 .. -" failed at the last split, k = 1000. By p_conv: it is at least the threshold '
    "of the analysis onset (0.9 by default); by instability: that of pairs in error is below 2 % (Frankle et al. 2020)."
)
_CRITERIA = {"p_conv": "onset_p_conv", "instability": "onset_instability"}

_COLUMNS = {  # heading -> (quantity, subset)
    "p_conv": ("p_conv", "train"),
    "p_conv over hulls": ("p_conv_hulls", "train"),
    "p_rand": ("p_rand", "train"),
    "loss: endpoint": ("endpoint_loss", "train"),
    "hull point": ("hull_point_loss", "train"),
    "centre": ("centre_loss", "train"),
    "test acc.: endpoint": ("endpoint_accuracy", "test"),
    "of centre": ("centre_accuracy", "test"),
    "hull radius": ("hull_radius", None),
    "effective rank, centred": ("effective_rank_centred", None),
}


class _Interval(NamedTuple):
    value: float
    low: float
    high: float


def mode_table(rows: pd.DataFrame) -> pd.DataFrame:
    """Returns one line a mode: trunk and k, or the files of weights from elsewhere, P, J, and what Algorithm 1 found.

    Probabilities stand with their intervals. A mode that Algorithm 1 was run on with several settings has a line for each,
    which says in what they differ.
    """
    shown = select_any(rows, {quantity for quantity, _ in _COLUMNS.values()} | {_DIVERGED})
    digests = {settings: " ".join(_endpoints(settings).values()) for settings in shown["settings"].unique()}
    modes = shown.assign(endpoints=shown["settings"].map(digests))
    folder = _shared_folder({path for settings in digests for path in _endpoints(settings)})
    lines = []
    for (task, trunk, split_step, _), same in modes.groupby(["task", "trunk", "split_step", "endpoints"], dropna=False):
        for settings, p_conv in _by_settings(select(same, "p_conv", "train")):
            mode_rows = same[~same["analysis"].isin([_ALGORITHM_1]) | same["settings"].isin([p_conv["settings"]])]
            line = {
                "task": task,
                "trunk": _or_empty(trunk),
                "k": _or_empty(split_step),
                "weights from": ", ".join(sorted(_below(folder, _endpoints(p_conv["settings"])))),
                "with": settings,
            }
            line |= {"P": p_conv["num_endpoints"], "J": p_conv["num_samples"]}
            last = _last_rows(mode_rows)
            line |= {heading: _cell(what[0], last.get(what)) for heading, what in _COLUMNS.items()}
            lines.append(line | {"left out": _left_out(mode_rows)})
    return _without_empty_columns(pd.DataFrame(lines))


def onset_table(rows: pd.DataFrame) -> pd.DataFrame:
    """Returns the onset of each trunk, by `p_conv` and by the 2 % criterion of pairs, each beside the trunk's loss there.

    An onset is a bracket: the last split that failed, the first that held and all later ones too. A split without a
    number counts as failed, and is marked. The loss before the onset is a mean over a window of `run.log_every` training
    steps, the first that at W_0, or where it was not measured that of the first window.
    """
    lines = []
    for (task, trunk), criteria in select_any(rows, _CRITERIA.values()).groupby(["task", "trunk"]):
        of_trunk = rows[(rows["task"] == task) & (rows["trunk"] == trunk)]
        line = {"task": task, "trunk": trunk}
        for criterion, quantity in _CRITERIA.items():
            line |= _onset_cells(criterion, select(criteria, quantity), of_trunk)
        lines.append(line | {"first loss": _loss_at(of_trunk, 0)})
    return _without_empty_columns(pd.DataFrame(lines).fillna(""))


def task_table(configs: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """Returns Table 1 from the configs that the rows were computed with; what a task does not have stays empty."""
    return pd.DataFrame([{"study": name} | _task_cells(config["task"]) for name, config in configs.items()])


def cost_table(results: Iterable[Result]) -> pd.DataFrame:
    """Returns what each analysis took: the median over its results, and where it looks at checkpoints, for each of them."""
    lines = []
    for result in results:
        quantities = result.rows["quantity"].to_numpy()
        products = result.rows["value"].to_numpy()[quantities == "num_products"]
        num_checkpoints = len(products) or int((quantities == "p_gap_negative").sum())
        lines.append(
            {
                "task": result.rows["task"].iat[0],
                "analysis": result.rows["analysis"].iat[0],
                "seconds": result.entry.seconds,
                "checkpoints": num_checkpoints,
                "seconds a checkpoint": result.entry.seconds / num_checkpoints if num_checkpoints else None,
                "products a checkpoint": products.mean() if len(products) else None,
            }
        )
    if not lines:
        return pd.DataFrame()
    groups = pd.DataFrame(lines).groupby(["task", "analysis"], sort=False)
    medians = groups.median(numeric_only=True)
    medians.insert(0, "results", groups.size())
    cells = medians.map(lambda value: "" if pd.isna(value) or value == 0 else f"{value:.3g}")
    return _without_empty_columns(cells.reset_index())


def as_text(table: pd.DataFrame) -> str:
    """Returns the table for a terminal, with two blanks between columns, whose headings have single ones."""
    columns = [[str(cell) for cell in (name, *values)] for name, values in table.items()]
    aligned = [[cell.rjust(max(map(len, column))) for cell in column] for column in columns]
    return "\n".join("  ".join(line) for line in zip(*aligned, strict=True))


def _task_cells(task: Mapping[str, Any]) -> dict[str, Any]:
    optimizer = _node(task, "optimizer")
    momentum = f" + momentum {optimizer['momentum']}" if optimizer.get("momentum") else ""
    return {
        "task": _target(_node(task, "module"))[-1],
        "dataset": _dataset(_node(task, "data")),
        "model": _model(_node(task, "model")),
        "optimizer": _target(optimizer)[-1] + momentum,
        "LR": optimizer.get("lr", ""),
        "batch size": task.get("batch_size", ""),
        "T": task.get("max_steps", ""),
        "precision": task.get("precision", ""),
    }


def _dataset(data: Mapping[str, Any]) -> str:
    """Returns the file or the folder that data are read from, or what reads them where that is not said."""
    return Path(str(data.get("path") or "")).name or "".join(_target(data)[-2:-1])


def _model(model: Mapping[str, Any]) -> str:
    """Returns the class and, where there are any, its arguments, in which variants of a model differ."""
    arguments = ", ".join(f"{name}={value}" for name, value in model.items() if not name.startswith("_"))
    return _target(model)[-1] + (f"({arguments})" if arguments else "")


def _node(task: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    node = task.get(name)
    return node if isinstance(node, Mapping) else {}


def _target(node: Mapping[str, Any]) -> list[str]:
    """Returns the parts of the name that a node calls, one empty part if it calls none."""
    return str(node.get("_target_", "")).split(".")


def _onset_cells(criterion: str, onsets: pd.DataFrame, rows: pd.DataFrame) -> dict[str, str]:
    if onsets.empty:
        return {}
    onset = onsets.iloc[-1]
    has_no_number = onset["low"] in unmeasured(rows, onset["quantity"])
    is_monotone = not select(rows, f"{onset['quantity']}_reversals")["value"].gt(0).any()
    remark = f" ({_NO_NUMBER})" if has_no_number else ""
    bracket = bracket_text(onset["low"], onset["high"], is_monotone=is_monotone, remark=remark)
    loss = "" if pd.isna(onset["high"]) else _loss_at(rows, onset["high"])
    return {f"onset by {criterion}": bracket, f"loss just before ({criterion})": loss}


def bracket_text(failed: float, held: float, *, is_monotone: bool, remark: str = "") -> str:
    """Returns an onset as its bracket: the last split that failed, with a remark on it, and the first that held (NaN: none)."""
    low, high = ("-" if pd.isna(step) else f"{step:.0f}" for step in (failed, held))
    return f"{low}{remark} .. {high}{'' if is_monotone else ' (not monotone)'}"


def _loss_at(rows: pd.DataFrame, step: float) -> str:
    """Returns the trunk's training loss just before a step; nothing where it was not recorded."""
    curve = trunk_curves(rows)
    return "" if curve.empty else _number(loss_just_before(step, curve))


def _by_settings(rows: pd.DataFrame) -> Iterator[tuple[str, "pd.Series[Any]"]]:
    """Yields the last row with each settings, and which of these the others do not have, as ``seed=1``."""
    last = rows.groupby("settings", sort=False, dropna=False).tail(1)
    settings = [{key: str(value) for key, value in flat(_settings(text))} for text in last["settings"]]
    shared = set.intersection(*(set(one.items()) for one in settings)) if settings else set()
    for row_settings, (_, row) in zip(settings, last.iterrows(), strict=True):
        yield ", ".join(f"{key}={value}" for key, value in row_settings.items() if (key, value) not in shared), row


def _settings(text: Any) -> dict[str, Any]:
    """Returns the settings in a row's column `settings`, without what was found on the way."""
    content: dict[str, Any] = {} if pd.isna(text) else json.loads(text)
    return {key: value for key, value in content.items() if key not in ("chosen", "endpoints")}


def _endpoints(settings: Any) -> dict[str, str]:
    """Returns the digest of each file of weights from elsewhere that rows with these settings are of."""
    return {} if pd.isna(settings) else json.loads(settings).get("endpoints", {})


def _shared_folder(paths: Collection[str]) -> str:
    """Returns the folder that all files of weights from elsewhere are in; "" where they have none in common."""
    if not paths or len({os.path.isabs(path) for path in paths}) > 1:
        return ""
    return os.path.commonpath([os.path.dirname(path) for path in paths])


def _below(folder: str, paths: Iterable[str]) -> list[str]:
    return [os.path.relpath(path, folder) if folder else path for path in paths]


def _or_empty(value: Any) -> Any:
    return "" if pd.isna(value) else value


def _last_rows(rows: pd.DataFrame) -> dict[tuple[str, str | None], _Interval]:
    """Returns the last value of each quantity with its interval, on each subset of the examples, and on whichever (None)."""
    intervals: dict[tuple[str, str | None], _Interval] = {}
    columns = (rows[name].tolist() for name in ("quantity", "subset", "value", "low", "high"))
    for quantity, subset, *interval in zip(*columns, strict=True):
        intervals[quantity, subset] = intervals[quantity, None] = _Interval(*interval)
    return intervals


def _cell(quantity: str, interval: _Interval | None) -> str:
    if interval is None:
        return ""
    if not quantity.startswith("p_"):
        return _number(interval.value)
    if not all(map(isfinite, interval)):
        return _NO_NUMBER
    return f"{interval.value:.2f} [{interval.low:.2f}, {interval.high:.2f}]"


def _number(value: float) -> str:
    if not isfinite(value):
        return _NO_NUMBER
    return f"{value:.3g}" if abs(value) < 1e4 else f"{value:.1e}"


def _left_out(rows: pd.DataFrame) -> str:
    """Returns the branches that a mode is without since their training diverged."""
    branches = select(rows, _DIVERGED)[["branch", "value"]].drop_duplicates().sort_values("branch")
    cells = zip(branches["branch"], branches["value"], strict=True)
    return ", ".join(f"seed {seed} (diverged at step {step:.0f})" for seed, step in cells)


def _without_empty_columns(table: pd.DataFrame) -> pd.DataFrame:
    return table[[name for name in table if (table[name] != "").any()]]
