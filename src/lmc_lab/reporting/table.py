"""Rows as tables that fit a terminal and a page: the modes, the onsets, the tasks (Table 1)."""

from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from lmc_lab.analyses.store import Result
from lmc_lab.landscape.connectivity import STABLE_INSTABILITY, Onset, onset
from lmc_lab.reporting.select import select

_COLUMNS = {  # heading -> (quantity, subset)
    "p_conv": ("p_conv", "train"),
    "p_rand": ("p_rand", "train"),
    "loss: endpoint": ("endpoint_loss", "train"),
    "hull point": ("hull_point_loss", "train"),
    "centre": ("centre_loss", "train"),
    "test acc.: endpoint": ("endpoint_accuracy", "test"),
    "of centre": ("centre_accuracy", "test"),
    "hull radius": ("hull_radius", None),
    "effective rank, centred": ("effective_rank_centred", None),
}


def mode_table(rows: pd.DataFrame) -> pd.DataFrame:
    """Returns one line a mode: trunk, k, P, J, and what Algorithm 1 found; probabilities with their intervals."""
    modes = select(rows, "p_conv", "train").sort_values(["task", "trunk", "split_step"])
    lines = []
    for _, mode in modes.iterrows():
        same = _of_mode(rows, mode)
        line = {"task": mode["task"], "trunk": mode["trunk"], "k": mode["split_step"]}
        line |= {"P": mode["num_endpoints"], "J": mode["num_samples"]}
        lines.append(line | {heading: _cell(same, *what) for heading, what in _COLUMNS.items()})
    return _without_empty_columns(pd.DataFrame(lines))


def onset_table(rows: pd.DataFrame, *, threshold: float) -> pd.DataFrame:
    """Returns the onset of each trunk, by `p_conv` and by the 2 % criterion of pairs, each beside the trunk's loss there.

    An onset is a bracket: the last split that failed, the first that held and all later ones too. Losses are means over a
    window of `run.log_every` training steps: the last before the onset, and the first of all.
    """
    lines = []
    for (task, trunk), own in select(rows, "p_conv", "train").groupby(["task", "trunk"]):
        of_trunk = rows[(rows["task"] == task) & (rows["trunk"] == trunk)]
        line = {"task": task, "trunk": trunk}
        line |= _onset_cells("p_conv", _onset(own, threshold, at_least=True), of_trunk)
        instability = select(of_trunk, "instability_error", "train")
        if not instability.empty:
            line |= _onset_cells("instability", _onset(instability, STABLE_INSTABILITY, at_least=False), of_trunk)
        lines.append(line | {"loss of the first steps": _loss_at(of_trunk, 0)})
    return _without_empty_columns(pd.DataFrame(lines).fillna(""))


def task_table(configs: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """Returns Table 1 from the configs that the rows were computed with."""
    return pd.DataFrame([{"study": name} | _task_cells(config["task"]) for name, config in configs.items()])


def cost_table(results: Iterable[Result]) -> pd.DataFrame:
    """Returns what each analysis took: the median over its results, and where it looks at checkpoints, for each of them."""
    lines = []
    for result in results:
        products = select(result.rows, "num_products")["value"]
        num_checkpoints = len(products) or len(select(result.rows, "p_gap_negative"))
        lines.append(
            {
                "task": result.rows.loc[0, "task"],
                "analysis": result.rows.loc[0, "analysis"],
                "seconds": result.seconds,
                "checkpoints": num_checkpoints,
                "seconds a checkpoint": result.seconds / num_checkpoints if num_checkpoints else None,
                "products a checkpoint": products.mean() if len(products) else None,
            }
        )
    groups = pd.DataFrame(lines).groupby(["task", "analysis"], sort=False)
    medians = groups.median(numeric_only=True)
    medians.insert(0, "results", groups.size())
    cells = medians.map(lambda value: "" if pd.isna(value) or value == 0 else f"{value:.3g}")
    return _without_empty_columns(cells.reset_index())


def as_text(table: pd.DataFrame) -> str:
    """Returns the table for a terminal."""
    return table.to_string(index=False)


def _task_cells(task: Mapping[str, Any]) -> dict[str, Any]:
    optimizer = dict(task["optimizer"])
    momentum = f" + momentum {optimizer['momentum']}" if optimizer.get("momentum") else ""
    return {
        "task": _last(task["module"]["_target_"]),
        "dataset": task["data"]["_target_"].split(".")[-2],
        "model": _model(task["model"]),
        "optimizer": _last(optimizer["_target_"]) + momentum,
        "LR": optimizer["lr"],
        "batch size": task["batch_size"],
        "T": task["max_steps"],
        "precision": task["precision"],
    }


def _model(model: Mapping[str, Any]) -> str:
    """Returns the class and, where there are any, its arguments, in which variants of a model differ."""
    arguments = ", ".join(f"{name}={value}" for name, value in model.items() if name != "_target_")
    return _last(model["_target_"]) + (f"({arguments})" if arguments else "")


def _last(target: str) -> str:
    return target.rpartition(".")[2]


def _onset(rows: pd.DataFrame, threshold: float, *, at_least: bool) -> Onset:
    ordered = rows.sort_values("split_step")
    return onset(ordered["split_step"].tolist(), ordered["value"].tolist(), threshold=threshold, at_least=at_least)


def _onset_cells(criterion: str, found: Onset, rows: pd.DataFrame) -> dict[str, str]:
    bracket = f"{'-' if found.failed is None else found.failed} .. {'-' if found.held is None else found.held}"
    loss = "" if found.held is None else _loss_at(rows, found.held)
    return {f"onset by {criterion}": bracket, f"loss just before ({criterion})": loss}


def _loss_at(rows: pd.DataFrame, step: int) -> str:
    """Returns the trunk's training loss in the window that ends at `step`, or in the first one."""
    curve = select(rows[rows["split_step"].isna()], "train_loss").sort_values("step")
    if curve.empty:
        return ""
    before = curve[curve["step"] <= step]
    return f"{(before['value'].iloc[-1] if len(before) else curve['value'].iloc[0]):.3g}"


def _of_mode(rows: pd.DataFrame, mode: pd.Series) -> pd.DataFrame:
    keys = ["task", "trunk", "split_step"]
    return rows[(rows[keys] == mode[keys]).all(axis=1)]


def _cell(rows: pd.DataFrame, quantity: str, subset: str | None) -> str:
    chosen = select(rows, quantity, subset)
    if chosen.empty:
        return ""
    row = chosen.iloc[-1]
    if quantity.startswith("p_"):
        return f"{row['value']:.2f} [{row['low']:.2f}, {row['high']:.2f}]"
    return f"{row['value']:.3g}" if abs(row["value"]) < 1e4 else f"{row['value']:.1e}"


def _without_empty_columns(table: pd.DataFrame) -> pd.DataFrame:
    return table[[name for name in table if (table[name] != "").any()]]
