"""Panels of Figures 2, 4 and 5 in a workspace of Weights & Biases: ``python examples/wandb_panels.py ENTITY PROJECT``.

The runs are those that ``report … logger=wandb`` logs: one a trunk, over all its splits. Needs wandb-workspaces.
"""

import sys

import wandb_workspaces.reports.v2 as wr
import wandb_workspaces.workspaces as ws

FIGURES = {
    "Figure 2: is the hull convex?": (
        "split_step",
        ["p_conv/train", "p_rand/train", "hull_radius", "endpoint_endpoint"],
    ),
    "Figure 5: accuracy and agreement": (
        "split_step",
        ["hull_point_accuracy/test", "endpoint_accuracy/test", "intra_mode/train"],
    ),
    "Figure 4: curvature along training": ("step", ["lambda_max", "lambda_min", "hessian_ratio", "p_gap_negative"]),
}


def workspace(entity: str, project: str) -> ws.Workspace:
    """Returns a workspace with a section for each figure, in which each quantity is a plot with a line for each trunk."""
    return ws.Workspace(
        name="lmc_lab",
        entity=entity,
        project=project,
        sections=[
            ws.Section(name=title, is_open=True, panels=[_plot(axis, quantity) for quantity in quantities])
            for title, (axis, quantities) in FIGURES.items()
        ],
    )


def _plot(axis: str, quantity: str) -> wr.LinePlot:
    kind = "mode" if axis == "split_step" else "trunk"
    return wr.LinePlot(title=quantity, x=axis, y=[f"{kind}/{quantity}"])


if __name__ == "__main__":
    _, given_entity, given_project = sys.argv
    print(workspace(given_entity, given_project).save().url)
