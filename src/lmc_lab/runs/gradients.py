"""The gradients of a step: eagerly, or as one CUDA graph, which is launched at once instead of kernel by kernel."""

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, final

import torch
from torch import Tensor, nn

from lmc_lab.errors import one_line
from lmc_lab.inputs import Inputs, by_name, each

log = logging.getLogger(__name__)

Batch = tuple[Inputs, Tensor]
Losses = Callable[[Batch], Tensor]  # of n models, (n,)

_NUM_WARM_UP = 3  # steps before a capture, in which libraries choose their algorithms and allocate what they need


class Gradients(ABC):
    """Computes the losses of n models (n,), and puts the gradient of their sum into the leaves' `grad`.

    Args:
        losses: of a batch.
        leaves: all parameters.
    """

    def __init__(self, losses: Losses, leaves: Sequence[nn.Parameter]) -> None:
        self._losses = losses
        self._leaves = [leaf for leaf in leaves if leaf.requires_grad]

    @abstractmethod
    def __call__(self, batch: Batch) -> Tensor:
        """Returns the losses (n,), without a graph."""

    def _computed(self, batch: Batch) -> Tensor:
        losses = self._losses(batch)
        gradients = torch.autograd.grad(losses.sum(), self._leaves, allow_unused=True)
        for leaf, gradient in zip(self._leaves, gradients, strict=True):
            leaf.grad = gradient
        return losses.detach()


@final
class EagerGradients(Gradients):
    """Each operation by itself."""

    def __call__(self, batch: Batch) -> Tensor:
        """Returns the losses (n,), without a graph."""
        return self._computed(batch)


@dataclass
class Capture:
    """Whether the steps of a program are captured, and what came of it: one for all its stretches.

    Args:
        wanted: ``auto`` for where it can be done; True refuses what cannot be.
    """

    wanted: bool | Literal["auto"] = False
    is_refused: bool = False
    is_done: bool = False


@final
class CapturedGradients(Gradients):
    """All operations of a step as one CUDA graph, recorded at the first one.

    The batch is copied to where the graph reads it, and losses and gradients lie where it writes them. Where a step cannot be
    recorded (a model that asks for the value of a tensor, say) it is computed eagerly, which is said once.

    Args:
        losses: of a batch.
        leaves: all parameters.
        buffers: which a step may change; recording leaves them as they were.
        capture: what is wanted, and has come of it.
    """

    def __init__(
        self, losses: Losses, leaves: Sequence[nn.Parameter], buffers: Sequence[Tensor], capture: Capture
    ) -> None:
        super().__init__(losses, leaves)
        self._capture = capture
        self._buffers = list(buffers)
        self._graph: torch.cuda.CUDAGraph | None = None

    def __call__(self, batch: Batch) -> Tensor:
        """Returns the losses (n,), without a graph."""
        if self._graph is None and not self._capture.is_refused:
            self._try_to_record(batch)
        if self._graph is None:
            return self._computed(batch)
        for static, given in zip(self._batch, batch, strict=True):
            for name, tensor in by_name(given).items():
                by_name(static)[name].copy_(tensor)
        self._graph.replay()
        return self._recorded

    def _try_to_record(self, batch: Batch) -> None:
        try:
            self._record(batch)
        except torch.cuda.OutOfMemoryError:
            raise
        except RuntimeError as error:
            if self._capture.wanted != "auto":
                raise
            self._capture.is_refused = True
            log.info("steps are not captured as a CUDA graph, since %s", one_line(error)[:200])
        else:
            self._capture.is_done = True

    def _record(self, batch: Batch) -> None:
        """Records a step; buffers, and what random layers draw from, stay as they were."""
        self._batch = (each(Tensor.clone, batch[0]), batch[1].clone())
        graph = torch.cuda.CUDAGraph()
        with _as_it_was(self._buffers):
            self._warm_up()
            with torch.cuda.graph(graph):
                self._recorded = self._computed(self._batch)
        self._graph = graph

    def _warm_up(self) -> None:
        stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(_NUM_WARM_UP):
                self._computed(self._batch)
        torch.cuda.current_stream().wait_stream(stream)
        for leaf in self._leaves:
            leaf.grad = None  # its memory is the graph's to take


@contextmanager
def _as_it_was(buffers: Sequence[Tensor]) -> Iterator[None]:
    """Puts buffers and the GPU's random numbers back after a recording, and after one that failed the stream as well.

    `torch.cuda.graph` stays on its own stream if the end of a recording raises an error, and the generator goes on to count as
    recorded: it then gets a state that no recording has seen.
    """
    stream = torch.cuda.current_stream()
    generator = torch.cuda.default_generators[stream.device.index]
    noise, unseen = torch.cuda.get_rng_state(), generator.clone_state()
    before = [buffer.clone() for buffer in buffers]
    try:
        yield
    except BaseException:
        torch.cuda.set_stream(stream)
        generator.graphsafe_set_state(unseen)
        raise
    finally:
        torch.cuda.set_rng_state(noise)
        for buffer, value in zip(buffers, before, strict=True):
            buffer.copy_(value)
