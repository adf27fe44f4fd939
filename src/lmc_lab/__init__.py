"""Do the solutions that SGD reaches from a shared start lie in one convex region of low loss?

What stands in `__all__` is for programs and notebooks, and needs torch alone: see `lmc_lab.library`. It is imported when it
is used, so that a command's help need not wait for torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lmc_lab.errors import UserError
    from lmc_lab.landscape.connectivity import LineProfile
    from lmc_lab.landscape.curvature import SpectrumEnds
    from lmc_lab.landscape.hull import Evaluation, HullProbe, HullSample
    from lmc_lab.landscape.lines import LineProbe
    from lmc_lab.landscape.predictions import SharedCorrect
    from lmc_lab.landscape.spectrum import EndpointSpectrum
    from lmc_lab.landscape.statistics import Probability
    from lmc_lab.library.measures import barrier, extreme_eigenvalues, probe_hull, shared_correct, singular_values
    from lmc_lab.library.objective import Objective

__all__ = [
    "EndpointSpectrum",
    "Evaluation",
    "HullProbe",
    "HullSample",
    "LineProbe",
    "LineProfile",
    "Objective",
    "Probability",
    "SharedCorrect",
    "SpectrumEnds",
    "UserError",
    "barrier",
    "extreme_eigenvalues",
    "probe_hull",
    "shared_correct",
    "singular_values",
]


_ALONE = {  # where a name is found that the functions' module does not have, or sooner than there
    "HullSample": "landscape.hull",
    "LineProfile": "landscape.connectivity",
    "Objective": "library.objective",
    "Probability": "landscape.statistics",
    "UserError": "errors",
}


if not TYPE_CHECKING:  # a type checker is to find names that do not exist

    def __getattr__(name: str) -> Any:
        """Imports a public name when it is first asked for (PEP 562)."""
        if name not in __all__:
            raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
        return getattr(import_module(f"lmc_lab.{_ALONE.get(name, 'library.measures')}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
