"""Many models of one architecture, evaluated at once on the same examples.

Every hull point is a whole network, and small networks leave most of a core idle when they run alone: LeNet reaches 30 %
of the peak of a matrix product. Side by side, n networks have wider layers. The first convolution, on the input that all
share, is one wide convolution; later ones are grouped; linear layers are batched matrix products.

Activations stand in one of three layouts:

- shared: the input and what follows from it without parameters, as the model itself has it;
- channels: what convolutions give, in channels-last memory. Images (B, n * C, H, W); signals (1, n * C, L, B), since a
  convolution's inner loop runs over the last dimension, and the batch is longer than a signal;
- rows: what linear layers give, (n, B, ..., features).
"""

import copy
import math
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, NoReturn

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

Thetas = Mapping[str, Tensor]  # parameters and buffers by name, (n, *shape)
Weights = tuple[Tensor | None, ...]

CACHE_BYTES = 8 * 2**20


class UnsupportedModel(Exception):
    """The model has an operation that cannot be stacked; evaluate such a model point by point."""


@dataclass(frozen=True)
class StackedState:
    """The weights of n models as the layers of a `StackedModel` want them."""

    num_models: int
    weights: dict[fx.Node, Weights]


class StackedModel:
    """Evaluates n models of one architecture on the same examples, in eval mode and without gradients.

    The results are those of the models one by one, up to rounding: a BatchNorm that follows a convolution is folded
    into its weights, and ReLU comes after max-pooling.

    Args:
        model: Any module of the supported layers; its own parameters are not used.

    Raises:
        UnsupportedModel: the model cannot be traced, or has an operation that cannot be stacked.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = copy.deepcopy(model).eval()
        self._compiled = _Compiler(self._model)

    def prepare(self, thetas: Thetas) -> StackedState:
        """Returns the weights, rearranged for `__call__`.

        Args:
            thetas: Every parameter and buffer of the model by its name, (n, *shape).
        """
        weights = {node: prepare(thetas) for node, prepare in self._compiled.prepares.items()}
        return StackedState(len(next(iter(thetas.values()))), weights)

    @torch.no_grad()
    def __call__(self, state: StackedState, x: Tensor) -> Tensor:
        """Returns the outputs (n, B, ...) of all models on the inputs (B, ...)."""
        run = _Run(state.num_models, state.weights, {self._compiled.input: x})
        for step in self._compiled.steps:
            run.values[step.node] = step.execute(run)
            for node in step.last_uses:  # freed at once, or the next layer would not find free memory in the cache
                del run.values[node]
        return run.values[self._compiled.output]

    @torch.no_grad()
    def moments(self, thetas: Thetas, x: Tensor) -> dict[str, Tensor]:
        """Returns every BatchNorm's mean and unbiased variance on one batch, by buffer name, (n, C); {} without BatchNorm.

        The models run one by one with these layers in train mode and momentum 1, all else in eval mode. A layer needs
        the whole batch of the layer before, which does not fit the cache, so that stacking would gain nothing.

        Args:
            thetas: Every parameter and buffer of the model by its name, (n, *shape).
            x: The batch (B, ...).
        """
        return batch_moments(self._model, thetas, x)

    def largest_activation(self, x: Tensor) -> int:
        """Returns the numbers in the largest activation of one model on one example; `x` is any batch (B, ...)."""
        state = self.prepare({name: tensor[None] for name, tensor in self._model.state_dict().items()})
        run = _Run(1, state.weights, {self._compiled.input: x[:1]})
        sizes = []
        with torch.no_grad():
            for step in self._compiled.steps:
                run.values[step.node] = result = step.execute(run)
                sizes.append(result.numel() if isinstance(result, Tensor) else 0)
        return max(sizes)


def batch_moments(model: nn.Module, thetas: Thetas, x: Tensor) -> dict[str, Tensor]:
    """Returns what `StackedModel.moments` does, for any model."""
    model = copy.deepcopy(model).eval()
    norms = [(name, module) for name, module in model.named_modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    names = [f"{name}.{buffer}" for name, _ in norms for buffer in ("running_mean", "running_var")]
    if not names:
        return {}
    for _, module in norms:
        module.train().momentum = 1.0
    if x.dim() == 4:
        x = x.contiguous(memory_format=torch.channels_last)
    found = []
    for index in range(len(next(iter(thetas.values())))):
        theta = {name: tensor[index].clone() for name, tensor in thetas.items()}
        with torch.no_grad():
            torch.func.functional_call(model, theta, (x,))
        found.append(theta)
    return {name: torch.stack([theta[name] for theta in found]) for name in names}


class _Layout(Enum):
    SHARED = "the shared input"
    IMAGES = "images"
    SIGNALS = "signals"
    ROWS = "rows"
    SIZE = "a batch size"


_CHANNELS = (_Layout.IMAGES, _Layout.SIGNALS)


@dataclass
class _Run:
    num_models: int
    weights: dict[fx.Node, Weights]
    values: dict[fx.Node, Any]


@dataclass(frozen=True)
class _Step:
    node: fx.Node
    execute: Callable[[_Run], Any]
    last_uses: list[fx.Node] = field(default_factory=list)


def _unsupported(node: fx.Node, why: str) -> NoReturn:
    raise UnsupportedModel(f"cannot evaluate stacked models at {node.op} {node.target} ({node.name}): {why}")


class _Compiler:
    """Turns the traced graph into steps: `_LOWERINGS` says which method does it for which module, function or method."""

    def __init__(self, model: nn.Module) -> None:
        graph = _trace(model)
        self.modules = dict(model.named_modules())
        self.first_name = _first_names(model)
        self.layouts: dict[fx.Node, _Layout] = {}
        self.fresh: set[fx.Node] = set()  # nodes whose result shares no memory, so that the next one may overwrite it
        self.prepares: dict[fx.Node, Callable[[Thetas], Weights]] = {}
        self.steps: list[_Step] = []
        self._relu_after_max_pool(graph)
        for node in graph.nodes:
            self._lower(node)
        self._free_after_last_use()

    def kind(self, node: fx.Node) -> Any:
        """Returns what `_LOWERINGS` is asked for: a module's class, a function, or a method's name."""
        return type(self.modules[str(node.target)]) if node.op == "call_module" else node.target

    def emit(
        self,
        node: fx.Node,
        layout: _Layout,
        execute: Callable[[_Run], Any],
        *,
        prepare: Callable[[Thetas], Weights] | None = None,
        fresh: bool = True,
    ) -> None:
        self.layouts[node] = layout
        self.steps.append(_Step(node, execute))
        if prepare is not None:
            self.prepares[node] = prepare
        if fresh:
            self.fresh.add(node)

    def tensor(self, thetas: Thetas, node: fx.Node, name: str) -> Tensor:
        """Returns a parameter or buffer of the node's module, (n, *shape)."""
        full_name = f"{node.target}.{name}"
        return thetas[self.first_name.get(full_name, full_name)]

    def may_overwrite(self, node: fx.Node) -> bool:
        return node in self.fresh and len(node.users) == 1

    def _lower(self, node: fx.Node) -> None:
        if node.op == "placeholder":
            self._input(node)
        elif node.op == "output":
            self._output(node)
        elif node.op == "get_attr":
            _unsupported(node, "a parameter or constant is used outside a layer")
        else:
            lowering = _LOWERINGS.get(self.kind(node))
            if lowering is None or not node.args or not isinstance(node.args[0], fx.Node | float | int):
                _unsupported(node, "this operation is not known")
            self._refuse_overwriting(node)
            lowering(self, node)

    def _input(self, node: fx.Node) -> None:
        if not self.layouts:
            self.input = node
        elif node.users:
            _unsupported(node, "the model takes more than one input")
        self.layouts[node] = _Layout.SHARED

    def _output(self, node: fx.Node) -> None:
        (result,) = node.args
        if not isinstance(result, fx.Node) or self.layouts[result] is _Layout.SIZE:
            _unsupported(node, "the model returns something else than one tensor")
        layout = self.layouts[result]
        self.output = node
        self.emit(node, layout, lambda run: _models_first(layout, run.values[result], run.num_models))

    def _refuse_overwriting(self, node: fx.Node) -> None:
        """An operation in place is done out of place, which is the same only if nothing else sees its input."""
        module = self.modules.get(str(node.target)) if node.op == "call_module" else None
        in_place = (
            getattr(module, "inplace", False)
            or node.kwargs.get("inplace", False)
            or any(argument is True for argument in node.args)
            or (node.op == "call_method" and str(node.target).endswith("_"))
            or node.target in _IN_PLACE_OPERATORS
        )
        if in_place and any(len(source.users) > 1 or source.op == "placeholder" for source in node.all_input_nodes):
            _unsupported(node, "it overwrites a tensor that is used elsewhere")
        if module is not None and hasattr(module, "inplace"):
            module.inplace = False

    def _relu_after_max_pool(self, graph: fx.Graph) -> None:
        """Swaps the two, which commute: ReLU then has a quarter of the numbers to do."""
        for pool in list(graph.nodes):
            relu = pool.args[0] if pool.args else None
            if self.kind(pool) not in _MAX_POOLS or not isinstance(relu, fx.Node) or len(relu.users) > 1:
                continue
            if self.kind(relu) in _RELUS and len(relu.args) == 1 and isinstance(relu.args[0], fx.Node):
                pool.replace_input_with(relu, relu.args[0])
                with graph.inserting_after(pool):
                    moved = graph.node_copy(relu, lambda _, pool=pool: pool)
                pool.replace_all_uses_with(moved, delete_user_cb=lambda user, moved=moved: user is not moved)
                graph.erase_node(relu)

    def _free_after_last_use(self) -> None:
        seen: set[fx.Node] = {self.output}
        for step in reversed(self.steps):
            sources = [node for node in step.node.all_input_nodes if node not in seen]
            step.last_uses.extend(sources)
            seen.update(sources)
