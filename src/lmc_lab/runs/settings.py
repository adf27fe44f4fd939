"""What a run does besides training."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from lmc_lab.values import Count, Natural, NotNegative


@dataclass(frozen=True)
class RunSettings:
    """What the yaml `run` says; but for `together` with layers that draw numbers it changes last bits of the weights alone.

    Args:
        log_every: steps whose mean loss makes one row of metrics.csv; those that are left at T make the last.
        resume_seconds: time between two states from which a killed run goes on.
        evaluate_every: steps between two evaluations on the test set, the last of which is at T; None for none.
        save_steps: steps on the way whose whole state is kept: those of a branch for a branch, those of a trunk for a trunk
            that is trained to T.
        together: how many branches are trained as one program: as many as fit into a GPU's memory, one on a CPU, for ``auto``.
        capture: a program's step on a GPU is one CUDA graph: where the task allows it for ``auto``, else it is refused.
        deterministic: cuDNN takes algorithms that give the same bits at each call, and times none of them first.
    """

    log_every: Count = 50
    resume_seconds: NotNegative = 60.0
    evaluate_every: Count | None = None
    save_steps: Sequence[Natural] = ()
    together: Count | Literal["auto"] = "auto"
    capture: bool | Literal["auto"] = "auto"
    deterministic: bool = True
