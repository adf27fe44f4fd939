"""As much of torch.cuda as the recording of a step asks for, on a CPU."""

from contextlib import contextmanager
from types import SimpleNamespace

import torch


class Stream:
    def __init__(self):
        self.device = SimpleNamespace(index=0)
        self.waited_for = []

    def wait_stream(self, other):
        self.waited_for.append(other)


class Generator:
    """The GPU's: a state that a recording has marked is of no use to anybody else."""

    def __init__(self):
        self.state = {"noise": 0, "is_recorded": False}

    def clone_state(self):
        return dict(self.state)

    def graphsafe_set_state(self, state):
        self.state = state


class Graph:
    """Computes again what was recorded, and writes it where the recording did."""

    num_replays = 0

    def replay(self):
        type(self).num_replays += 1
        recorded, grads = self.gradients._recorded, [leaf.grad for leaf in self.gradients._leaves]
        recorded.copy_(self.gradients._computed(self.gradients._batch))
        for leaf, grad in zip(self.gradients._leaves, grads, strict=True):
            if grad is not None:
                grad.copy_(leaf.grad)
            leaf.grad = grad


class FakeCuda:
    """What replaces torch.cuda's functions; `fails` lets the end of each recording raise an error."""

    def __init__(self, monkeypatch, *, fails=False):
        self.current, self.generator, self.fails = Stream(), Generator(), fails
        self.graphs, self.main = [], self.current
        Graph.num_replays = 0
        for name, value in {
            "Stream": Stream,
            "CUDAGraph": Graph,
            "graph": self._graph,
            "stream": self._stream,
            "current_stream": lambda: self.current,
            "set_stream": lambda stream: setattr(self, "current", stream),
            "get_rng_state": lambda: self.generator.state["noise"],
            "set_rng_state": lambda noise: self.generator.state.update(noise=noise),
            "default_generators": (self.generator,),
        }.items():
            monkeypatch.setattr(torch.cuda, name, value)

    @contextmanager
    def _stream(self, stream):
        before, self.current = self.current, stream
        yield
        self.current = before

    @contextmanager
    def _graph(self, graph):
        """Stays on its stream where its end fails, as torch's does."""
        before, self.current = self.current, Stream()
        self.generator.state.update(noise=7, is_recorded=True)
        yield
        self.graphs.append(graph)
        if self.fails:
            raise RuntimeError("operation failed due to a previous error during capture")
        self.generator.state["is_recorded"] = False
        self.current = before
