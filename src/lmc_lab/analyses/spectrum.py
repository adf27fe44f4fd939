"""How many dimensions does a mode fill (Figure 3)?"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, final

import torch

from lmc_lab.analyses.base import Measurement, ModeAnalysis
from lmc_lab.analyses.numbers import numbers_only
from lmc_lab.landscape.spectrum import singular_values
from lmc_lab.runs.endpoints import Mode
from lmc_lab.tasks.task import Task


@final
@dataclass(frozen=True, kw_only=True)
class Spectrum(ModeAnalysis):
    """Singular values of the stacked endpoints, raw as in the paper and centred, with effective ranks."""

    name: ClassVar[str] = "spectrum"

    def measure(self, mode: Mode, task: Task) -> Iterator[Measurement]:
        """Yields the values by decreasing size (`index` from 1), their rounding floor, and the number of outputs K."""
        for kind, centred in (("raw", False), ("centred", True)):
            with numbers_only("whose singular values are asked for", mode.names):
                spectrum = singular_values(mode.endpoints, centred=centred)
            for index, value in enumerate(spectrum.values, 1):
                yield Measurement(quantity=f"singular_value_{kind}", value=float(value), index=index)
            yield Measurement(quantity=f"singular_value_floor_{kind}", value=spectrum.resolution)
            yield Measurement(quantity=f"effective_rank_{kind}", value=spectrum.effective_rank)
        yield Measurement(quantity="num_outputs", value=_num_outputs(task))


def _num_outputs(task: Task) -> int:
    inputs, _ = task.dataset.train.batch(slice(0, 2))
    with torch.no_grad():
        outputs = task.initialise(0).eval()(inputs)
    return outputs[0].numel()
