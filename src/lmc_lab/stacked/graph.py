"""What a model does, as a list of calls without those that do nothing in eval mode, ready to be stacked."""

import operator
from dataclasses import dataclass, field
from typing import Any, NoReturn

import torch
from torch import fx, nn
from torch.nn import functional as F

from lmc_lab.errors import UserError
from lmc_lab.torch_internals import has_hooks, parameter_of

RELUS = {nn.ReLU, torch.relu, F.relu, "relu"}
MAX_POOLS = {nn.MaxPool1d, nn.MaxPool2d, F.max_pool1d, F.max_pool2d}
CONVOLUTIONS = {nn.Conv1d, nn.Conv2d}
BATCH_NORMS = {nn.BatchNorm1d, nn.BatchNorm2d}
FLATTENS = {nn.Flatten, torch.flatten, "flatten", "view", "reshape", torch.reshape}
_VIEWS = FLATTENS | {operator.getitem, "unsqueeze", torch.unsqueeze}
_IN_PLACE_OPERATORS = {operator.iadd, operator.isub, operator.imul, operator.itruediv}
NOTHING = {nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.AlphaDropout, nn.FeatureAlphaDropout, "contiguous"}


class UnsupportedModel(UserError):  # noqa: N818  it says what the model is, and a caller goes on without stacking
    """The model has an operation that cannot be stacked; evaluate such a model point by point.

    Args:
        reason: what it has, and why that cannot be stacked.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(f"expected a model that can be stacked, found {reason}; set evaluation.path=auto")
        self.reason = reason


@dataclass(eq=False)
class Call:
    """One operation of the traced model."""

    name: str
    op: str  # placeholder, call_module, call_function, call_method, ...: see torch.fx.Node
    kind: Any  # a module's class, a function, or a method's name
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    module: Any = None
    path: str = ""  # the module's name in the model, or ""
    norm: "Call | None" = None  # the BatchNorm that alone takes a convolution's result, to be folded into its weights
    puts_batch_last: bool = False  # whether a convolution of images makes maps with the batch last, see `layout`
    users: "list[Call]" = field(default_factory=list)

    @property
    def inputs(self) -> "list[Call]":
        """Returns the calls whose results are positional arguments."""
        return [argument for argument in self.args if isinstance(argument, Call)]

    def unsupported(self, why: str) -> NoReturn:
        """Raises `UnsupportedModel` for this call."""
        kind = self.kind if isinstance(self.kind, str) else getattr(self.kind, "__name__", self.kind)
        raise UnsupportedModel(f"{kind} ({self.path or self.name}): {why}")


class _Tracer(fx.Tracer):
    proxy_buffer_attributes = True  # a number that is read from a buffer would be that of this model, for all models


def trace(model: nn.Module, *, fold_batch_norm: bool) -> list[Call]:
    """Returns the calls of `model`, which must be in eval mode, from its input to its output.

    Its layers do not work in place any more.

    Raises:
        UnsupportedModel: the model cannot be traced, or overwrites what it needs again.
    """
    if why := _what_a_trace_would_miss(model):
        raise UnsupportedModel(f"{type(model).__name__}: {why}")
    try:
        graph = _Tracer().trace(model)
    except Exception as error:  # whatever the model does with the placeholders that fx gives it
        raise UnsupportedModel(f"what torch.fx cannot trace: {error}") from error
    calls = _calls(graph, dict(model.named_modules()))
    for call in calls:
        if call.module is not None and (why := _what_a_trace_would_miss(call.module) or _unlike_its_class(call.module)):
            call.unsupported(why)
        if call.kind in BATCH_NORMS and not call.module.track_running_stats:
            call.unsupported("without running statistics it depends on the batch")
        _refuse_overwriting(call)
    for call in calls:  # after all of them are seen, since a module may be called twice
        if getattr(call.module, "inplace", False):
            call.module.inplace = False
    _move_relu_after_max_pool(calls)
    _put_batch_last(calls)
    return _fold_batch_norm(calls) if fold_batch_norm else calls


def _what_a_trace_would_miss(module: nn.Module) -> str | None:
    """Returns what a module does besides the forward pass of its class."""
    if "forward" in vars(module):
        return "its forward is not that of its class"
    return "it has hooks" if has_hooks(module) else None


def _unlike_its_class(layer: nn.Module) -> str | None:
    """Returns which of a layer's tensors is not the plain one that its class makes."""
    names = [name for name in ("weight", "bias") if getattr(layer, name, None) is not None]
    unlike = [name for name in names if type(parameter_of(layer, name)) is not nn.Parameter]
    return f"its {unlike[0]} is computed" if unlike else None


def _calls(graph: fx.Graph, modules: dict[str, nn.Module]) -> list[Call]:
    by_node: dict[fx.Node, Call] = {}
    calls: list[Call] = []
    for node in graph.nodes:
        args, kwargs = (_with_calls(given, by_node) for given in (node.args, node.kwargs))
        path = str(node.target) if node.op == "call_module" else ""
        module = modules[path] if path else None
        call = Call(
            node.name, node.op, type(module) if module else node.target, tuple(args), dict(kwargs), module, path
        )
        computed = {by_node[source] for source in node.all_input_nodes} - set(call.inputs)
        if computed and call.kind not in FLATTENS:  # a shape may hold the batch size
            call.unsupported("an argument is computed by the model")
        if node.op.startswith("call") and call.inputs and _does_nothing(call):
            by_node[node] = call.inputs[0]
            continue
        by_node[node] = call
        calls.append(call)
    for call in calls:
        for source in dict.fromkeys(call.inputs):
            source.users.append(call)
    return calls


def _with_calls(given: Any, by_node: dict[fx.Node, Call]) -> Any:
    """Returns a node's arguments with the calls in place of their nodes."""
    replace: Any = by_node.__getitem__  # fx expects its own types
    return fx.map_arg(given, replace)


def _does_nothing(call: Call) -> bool:
    is_off = call.kwargs.get("training", (*call.args, True, True, True)[2]) is False  # dropout(x, p, training)
    return call.kind in NOTHING or (call.kind is F.dropout and is_off)


def _refuse_overwriting(call: Call) -> None:
    """Refuses in-place operations whose input something else reads: they are done out of place here."""
    in_place = (
        getattr(call.module, "inplace", False)
        or call.kwargs.pop("inplace", False)
        or (call.op == "call_method" and call.kind.endswith("_"))
        or (call.op == "call_function" and call.kind in _IN_PLACE_OPERATORS)
    )
    if in_place and any(map(_is_seen_elsewhere, call.inputs[:1])):
        call.unsupported("it overwrites a tensor that is used elsewhere")


def _is_seen_elsewhere(call: Call) -> bool:
    return len(call.users) > 1 or (call.kind in _VIEWS and _is_seen_elsewhere(call.args[0]))


def _move_relu_after_max_pool(calls: list[Call]) -> None:
    """Swaps the two, which commute: ReLU then has a quarter of the numbers to do."""
    for relu in calls:
        if relu.kind in RELUS and len(relu.users) == 1 and (pool := relu.users[0]).kind in MAX_POOLS:
            relu.args, pool.args = (*relu.args[:1], *pool.args[1:]), (*pool.args[:1], *relu.args[1:])
            for name in ("op", "kind", "kwargs", "module", "path"):
                swapped = getattr(pool, name), getattr(relu, name)
                setattr(relu, name, swapped[0])
                setattr(pool, name, swapped[1])


def _put_batch_last(calls: list[Call]) -> None:
    """Puts the batch of images last where every convolution of them may have it so: a sum needs one layout."""
    convolutions = [call for call in calls if call.kind is nn.Conv2d]
    puts_batch_last = all(_may_have_batch_last(call.module) for call in convolutions)
    for call in convolutions:
        call.puts_batch_last = puts_batch_last


def _may_have_batch_last(convolution: nn.Conv2d) -> bool:
    """Returns whether the convolution can be one of (1, C, H, W * B), and whether that is as fast and exact.

    Its kernel then steps over B columns, which a stride cannot. With B columns of padding oneDNN does without AVX-512 if
    it is grouped, and with one channel a group it takes two to seven times as long. For a batch of one, torch takes
    oneDNN for kernels larger than 3 x 3 alone, and for others as it sees fit: a point alone would not be evaluated like
    one beside others.
    """
    is_plain = convolution.stride == (1, 1) and convolution.padding == (0, 0)
    return is_plain and min(convolution.kernel_size) > 3 and convolution.in_channels > convolution.groups


def _fold_batch_norm(calls: list[Call]) -> list[Call]:
    """Returns the calls without the BatchNorms that alone take a convolution's result."""
    kept = []
    for call in calls:
        if call.kind in BATCH_NORMS and (source := call.args[0]).kind in CONVOLUTIONS and source.users == [call]:
            source.norm, source.users = call, call.users
            for user in call.users:
                user.args = tuple(source if argument is call else argument for argument in user.args)
        else:
            kept.append(call)
    return kept
