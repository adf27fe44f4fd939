"""A mode: P endpoints seen as one region, either the branches of one split of one trunk or weights from elsewhere."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Self

from torch import Tensor

from lmc_lab.landscape.parameters import ParameterLayout
from lmc_lab.results.part import Part
from lmc_lab.runs.endpoint_files import read_endpoints
from lmc_lab.runs.experiment import Experiment
from lmc_lab.runs.subject import Request, Subject
from lmc_lab.runs.training import Training, find_training
from lmc_lab.tasks.state_dicts import Endpoints
from lmc_lab.tasks.task import Task


@dataclass(frozen=True)
class Mode(Subject):
    """P endpoints of D parameters, seen as one region."""

    stage: ClassVar[str] = "modes"
    has_branches: ClassVar[bool] = True
    takes_files: ClassVar[bool] = True

    part: Part
    endpoint_digests: tuple[str, ...]  # P
    task: Task
    load_endpoints: Callable[[], Endpoints]  # called when they are first asked for
    training: Training | None = (
        None  # how the endpoints came about; None: nobody knows, they are weights from elsewhere
    )

    def __len__(self) -> int:
        """Returns P."""
        return len(self.endpoint_digests)

    @property
    def parts(self) -> tuple[Part, ...]:
        """The mode."""
        return (self.part,)

    @property
    def digests(self) -> tuple[str, ...]:
        """The digests of the endpoints."""
        return self.endpoint_digests

    @property
    def branches(self) -> tuple[int, ...]:
        """What the rows call each endpoint, (P,): the seed of its branch, or the number of its file."""
        return self.part.branches

    @property
    def names(self) -> tuple[str, ...]:
        """What a sentence calls each endpoint, (P,)."""
        return self.part.endpoint_names

    @property
    def layout(self) -> ParameterLayout:
        """Where each parameter is in theta."""
        return self.task.layout.parameters

    @property
    def endpoints(self) -> Tensor:
        """The parameters of each endpoint, (P, D)."""
        return self._loaded.thetas

    @property
    def buffers(self) -> dict[str, Tensor]:
        """The buffers of the endpoints by their names, (P, *shape); weights from elsewhere may come without."""
        return self._loaded.buffers

    @property
    def init_seed(self) -> int:
        """The seed of the module in which the endpoints are evaluated: its trunk's, for what is in no state dict."""
        return self.part.trunk or 0

    @cached_property
    def _loaded(self) -> Endpoints:
        return self.load_endpoints()

    @classmethod
    def load(cls, experiment: Experiment, request: Request) -> Self:
        """Returns the mode of the files that are named, else of the branches of one split, all that exist if none are named.

        Raises:
            UserError: as `read_endpoints` and `find_training` say.
            DamagedFile: an endpoint is not what its address says.
        """
        if request.endpoints is not None:
            files = read_endpoints(experiment.task, request.endpoints)
            return cls(files.part, files.digests, experiment.task, lambda: files.endpoints)
        training = find_training(experiment, request)
        return cls(training.part, training.endpoint_digests, experiment.task, lambda: training.endpoints, training)

    @classmethod
    def in_study(cls, trunks: Sequence[int], steps: Sequence[int], seeds: Sequence[int]) -> list[tuple[Part, ...]]:
        """Returns the mode of each split of each trunk."""
        return [(Part(trunk, step, tuple(seeds)),) for step in steps for trunk in trunks]

    @classmethod
    def sweep(cls, trunks: str, splits: str, seeds: str) -> list[str]:
        """Returns the overrides that ask for the mode of each split of each trunk."""
        return [f"trunk_seed={trunks}", f"split_step={splits}", f"seeds=[{seeds}]"]


def load_mode(
    experiment: Experiment,
    split_step: int,
    *,
    seeds: Sequence[int] | None = None,
    allow_missing: bool = False,
    allow_diverged: bool = False,
    steps: Sequence[int] = (),
    fewest: int = 2,
) -> Mode:
    """Returns the mode of the split at `split_step`.

    Args:
        experiment: names the trunk and the way branches are made.
        split_step: k.
        seeds: the branches that are meant; all that exist if None. Always integers: ``seed=trunk`` is no endpoint.
        allow_missing: leave unfinished branches out instead of refusing.
        allow_diverged: leave diverged branches out instead of refusing.
        steps: at which the states of branches are wanted.
        fewest: branches that are needed; a hull has two.

    Raises:
        UserError: as `Mode.load` says.
    """
    request = Request(
        split_steps=[split_step],
        seeds=seeds,
        allow_missing=allow_missing,
        allow_diverged=allow_diverged,
        steps=steps,
        fewest=fewest,
    )
    return Mode.load(experiment, request)
