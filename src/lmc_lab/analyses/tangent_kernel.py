"""Does the tangent kernel settle? Its velocity along a trunk, and its distances between endpoints."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar, final

import torch
from torch import Tensor

from lmc_lab.analyses.base import Analysis, Answer, JointAnalysis, LeftOut, Measurement, ModeAnalysis, TrunkAnalysis
from lmc_lab.analyses.estimates import mean, pair_mean, share_over_subsets
from lmc_lab.analyses.kernels import Kernels
from lmc_lab.analyses.windows import Window
from lmc_lab.data.order import trunk_order
from lmc_lab.landscape.tangent_kernel import distances_without_each, kernel_distances
from lmc_lab.runs.endpoints import Mode
from lmc_lab.runs.manual import ManualTraining, changing_callbacks
from lmc_lab.runs.modes import Modes
from lmc_lab.runs.states import RunState, Trunk
from lmc_lab.tasks.evaluation_settings import EvaluationSettings
from lmc_lab.tasks.task import Task
from lmc_lab.values import Count, Natural, Positive, at_least

_FLAT = LeftOut("distances of tangent kernels", "since no output has a gradient")


@dataclass(frozen=True, kw_only=True)
class _Kernel(Analysis):
    num_examples: Annotated[
        int, at_least(3, because="one is left out for intervals, and one alone has no direction")
    ] = 128
    max_outputs: Count = 100
    evaluation: EvaluationSettings = EvaluationSettings()

    def kernels(self, task: Task, init_seed: int) -> Kernels:
        """Returns what computes the kernels of points of a task."""
        return Kernels(task, init_seed, self.evaluation, num_examples=self.num_examples, max_outputs=self.max_outputs)


@final
@dataclass(frozen=True, kw_only=True)
class TrunkKernel(_Kernel, TrunkAnalysis):
    """How fast the tangent kernel turns at the states of a trunk, and how far it is from those of other states.

    See `landscape.tangent_kernel`. `kernel_velocity` is S(K_t, K_{t+dt}) / dt, dt in epochs. S does not grow in proportion to
    dt, so dt is the same at all states, from each of which the trunk is trained again: its own steps, but that a scheduled
    rate stays what it is at t. A window that would end after T is left out, and all of a task whose callbacks may change its
    steps. `kernel_distance_…` are S from the first state, to the next and to the last. `kernel_trace` is the mean of
    |J(x)|^2, which S does not see.

    Args:
        steps: of the states; all that are saved for None.
        num_epochs: dt, rounded to whole steps, at least one.
        num_examples: training examples, chosen at random once and for all, n.
        max_outputs: of an example; of more, as many sums with random signs (`tasks.output_gradients`).
        evaluation: how buffers of a point follow.
    """

    name: ClassVar[str] = "trunk_kernel"
    version: ClassVar[int] = 2
    steps: Sequence[Natural] | None = None
    num_epochs: Positive = 0.4

    def measure(self, trunk: Trunk, task: Task) -> Iterator[Answer]:
        """Yields velocity, distances with intervals over examples, and the kernel's trace, at each state."""
        kernels = self.kernels(task, trunk.trunk_seed)
        yield from kernels.choices
        if not trunk.states:
            return
        state_kernels = torch.cat(
            [kernels.at(state.theta, state.buffers, f"step {state.step}") for state in trunk.states]
        )
        traces = state_kernels.diagonal(dim1=1, dim2=2).mean(dim=1).tolist()
        if not all(traces):
            yield _FLAT
            return
        window = Window(self._num_steps(task), task.max_steps)
        has_window = any(window.may_begin_at(state.step) for state in trunk.states)
        reason = changing_callbacks(task) if has_window else window.why_none
        if reason:
            yield LeftOut("the velocity of the tangent kernel", f"since {reason}")
        for index, (state, trace) in enumerate(zip(trunk.states, traces, strict=True)):
            yield Measurement(quantity="kernel_trace", value=trace, subset="train", step=state.step)
            for name, other in {"first": 0, "next": index + 1, "last": len(state_kernels) - 1}.items():
                if other != index and other < len(state_kernels):
                    yield _distance(f"kernel_distance_{name}", state_kernels[index], state_kernels[other], state.step)
            if reason is None and window.may_begin_at(state.step):
                yield self._velocity(kernels, task, trunk.trunk_seed, state, state_kernels[index])

    def _num_steps(self, task: Task) -> int:
        return max(1, round(self.num_epochs * task.steps_per_epoch))

    def _velocity(self, kernels: Kernels, task: Task, trunk_seed: int, state: RunState, kernel: Tensor) -> Measurement:
        train, device = task.dataset.train.on(kernels.device), kernels.device
        order = trunk_order(trunk_seed, len(train), task.batch_size)
        training = ManualTraining(task, trunk_seed, state, train, order, device=device)
        num_steps = self._num_steps(task)
        for step in range(state.step, state.step + num_steps):
            training.advance(step)
        (moved,) = kernels.at(training.theta.to(state.theta.dtype), training.buffers, f"step {state.step + num_steps}")
        distance, epochs = _distance("kernel_velocity", kernel, moved, state.step), num_steps / task.steps_per_epoch
        low, high = (None if end is None else end / epochs for end in (distance.low, distance.high))
        return replace(distance, value=distance.value / epochs, low=low, high=high)


@final
@dataclass(frozen=True, kw_only=True)
class BranchKernel(_Kernel, ModeAnalysis):
    """How far the tangent kernels of endpoints are from each other, and from that of W_k; see `TrunkKernel`.

    Args:
        num_examples: training examples, chosen at random once and for all, n.
        max_outputs: of an example; of more, as many sums with random signs (`tasks.output_gradients`).
        evaluation: how buffers of a point follow.
    """

    name: ClassVar[str] = "branch_kernel"

    def measure(self, mode: Mode, task: Task) -> Iterator[Answer]:
        """Yields the mean S over pairs of endpoints, and over endpoints that to W_k, with intervals over endpoints."""
        kernels = self.kernels(task, mode.init_seed)
        yield from kernels.choices
        endpoint_kernels = kernels.at(mode.endpoints, mode.buffers, *mode.names)
        distances = kernel_distances(endpoint_kernels, endpoint_kernels)
        if distances.isnan().any():
            yield _FLAT
            return
        yield pair_mean("kernel_distance_endpoints", distances, subset="train")
        if mode.training is None:
            yield LeftOut("the distance to the tangent kernel of W_k")
            return
        state = mode.training.split_state
        at_split = kernels.at(state.theta, state.buffers, f"step {state.step}")
        yield mean("kernel_distance_split", kernel_distances(endpoint_kernels, at_split)[:, 0], subset="train")


@final
@dataclass(frozen=True, kw_only=True)
class InterKernel(_Kernel, JointAnalysis):
    """How far the tangent kernels of endpoints of different trunks are from each other; see `TrunkKernel`.

    Neurons may stand in any order, which no kernel sees.

    Args:
        num_examples: training examples, chosen at random once and for all, n.
        max_outputs: of an example; of more, as many sums with random signs (`tasks.output_gradients`).
        evaluation: how buffers of a point follow.
    """

    name: ClassVar[str] = "inter_kernel"
    version: ClassVar[int] = 2

    def measure(self, modes: Modes, task: Task) -> Iterator[Answer]:
        """Yields the mean S over pairs of endpoints of two trunks, with its interval over endpoints."""
        kernels = [self.kernels(task, mode.init_seed) for mode in modes]
        yield from kernels[0].choices
        endpoint_kernels = torch.cat(
            [own.at(mode.endpoints, mode.buffers, *mode.names) for own, mode in zip(kernels, modes, strict=True)]
        )
        distances = kernel_distances(endpoint_kernels, endpoint_kernels)
        if distances.isnan().any():
            yield _FLAT
            return
        is_of_two = modes.of_mode[:, None] != modes.of_mode
        yield pair_mean("kernel_distance_trunks", distances, counted=is_of_two, subset="train")


def _distance(quantity: str, first: Tensor, second: Tensor, step: int) -> Measurement:
    """Returns S of two kernels (n, n) with its interval over examples; where one example has all of a kernel, there is none."""
    value, left_out = float(kernel_distances(first[None], second[None])), distances_without_each(first, second)
    size = len(first)
    if not left_out.isfinite().all():
        return Measurement(quantity=quantity, value=value, num_samples=size, subset="train", step=step)
    measurement = share_over_subsets(
        quantity, left_out, num_members=size, num_taken=size - 1, of_all=value, subset="train"
    )
    return replace(measurement, step=step)
