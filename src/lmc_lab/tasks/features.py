"""Features of a classifier: what its last linear layer gets, at many points, side by side where the model allows it."""

import copy
from collections.abc import Callable
from typing import Protocol, Self, TypeVar, final

import torch
from torch import Tensor, nn

from lmc_lab.data.examples import Examples
from lmc_lab.data.sound import is_whole
from lmc_lab.inputs import Inputs, each
from lmc_lab.landscape.parameters import ParameterLayout
from lmc_lab.tasks.batch_norm import Buffers
from lmc_lab.tasks.evaluation_settings import EvaluationSettings
from lmc_lab.tasks.judged_model import JudgedModel
from lmc_lab.tasks.layer_outputs import watched
from lmc_lab.tasks.point_evaluator import PointEvaluator

_NUM_TRIED = 2  # examples on which one sees which layer is the last


class NoFeatures(Exception):  # noqa: N818  it says what is missing
    """A model or its data have no features of classes; the message says why, after "since"."""


class Sum(Protocol):
    """What can be added up over examples."""

    def __add__(self, other: Self, /) -> Self:
        """Returns what both say together."""


Summed = TypeVar("Summed", bound=Sum)


@final
class FeatureModel(JudgedModel):
    """A model without its last linear layer, whose outputs are features. Nothing of it is right or wrong."""

    def per_example_loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Returns the sum of the features, (B,): in place of a loss, so that equal points can be seen to be equal."""
        return outputs.flatten(1).sum(dim=1)

    def is_correct(self, outputs: Tensor, targets: Tensor) -> None:
        """Returns None."""


class Features:
    """Evaluates features of points of a task.

    The last linear layer is the one whose results are the model's outputs. Points are evaluated by the model in which the
    identity stands in its place.

    Args:
        module: of the task, newly made: it loses its last layer.
        train: the training set, whose classes are those that occur in it.
        settings: how points are evaluated.

    Raises:
        NoFeatures: targets are no classes, or the model does not end in a linear layer with an output for each.
    """

    def __init__(self, module: JudgedModel, train: Examples, settings: EvaluationSettings) -> None:
        if not is_whole(train.targets):
            raise NoFeatures("the task has no classes")
        self.classes: Tensor = train.targets.unique()  # type: ignore[no-untyped-call]  # torch's; (K,), sorted
        if len(self.classes) < 2:
            raise NoFeatures("all examples are of one class")
        inputs, targets = train.batch(slice(0, _NUM_TRIED))
        path, layer = _last_linear(module, inputs, targets)
        if layer.out_features <= int(self.classes[-1]):
            raise NoFeatures("the model has fewer outputs than there are classes")
        names = {id(parameter): name for name, parameter in module.named_parameters()}
        self._of_task = ParameterLayout.of(dict(module.named_parameters()))
        self._weight = names[id(layer.weight)]
        _pass_on(module, path, layer, inputs)
        model = FeatureModel(module.model)
        parameters = dict(model.named_parameters())
        if not parameters:
            raise NoFeatures("the model is one linear layer")
        # A tensor that was tied to the layer's may have had its name first.
        self._sources = {name: names[id(parameter)] for name, parameter in parameters.items()}
        self._layout = ParameterLayout.of(parameters)
        self._buffers = set(dict(model.named_buffers()))
        self.evaluator = PointEvaluator(model, train, settings)

    def weights(self, thetas: Tensor) -> Tensor:
        """Returns the last layer's weights (n, K, D) at points (n, D'), a row for each class that occurs, on the device."""
        rows = self._of_task.unflatten(thetas)[self._weight][:, self.classes.to(thetas.device)]
        return rows.to(self.evaluator.device.torch_device)

    def summed(
        self,
        of: Callable[[Tensor, Tensor, int], Summed],
        thetas: Tensor,
        coefficients: Tensor,
        buffers: Buffers,
        examples: Examples,
    ) -> list[tuple[slice, Summed]]:
        """Returns what `of` finds in the features of all examples, of some points at a time: those at each slice.

        Args:
            of: takes features (n, B, D), the number of each example's class, (B,), and K; positions in a sequence are
                examples, too. What it returns is added up over batches.
            thetas: parameters of the task's module, (n, D').
            coefficients: of the P endpoints in each point, (n, P), by which their buffers are mixed.
            buffers: the endpoints' own.
            examples: of classes that occur in the training set.
        """
        tensors = self._of_task.unflatten(thetas)
        endpoint_thetas = self._layout.flatten({name: tensors[source] for name, source in self._sources.items()})
        feature_buffers = {name: values for name, values in buffers.items() if name in self._buffers}
        points = self.evaluator.points(endpoint_thetas, coefficients, feature_buffers)
        classes = self.classes.to(self.evaluator.device.torch_device)
        sums: dict[tuple[int, int], Summed] = {}

        def add(cut: slice, features: Tensor, targets: Tensor) -> None:
            numbers = torch.searchsorted(classes, targets.flatten())
            part = of(features.flatten(1, -2), numbers, len(classes))
            bounds = (cut.start, cut.stop)
            sums[bounds] = sums[bounds] + part if bounds in sums else part

        self.evaluator.visit_outputs(points, examples, add)
        return [(slice(*bounds), part) for bounds, part in sums.items()]


@torch.no_grad()
def _pass_on(module: JudgedModel, path: str, layer: nn.Linear, inputs: Inputs) -> None:
    """Puts the identity in the place of a module's layer; where its forward reads the layer's tensors, one that has them."""
    owner, _, attribute = path.rpartition(".")
    setattr(module.get_submodule(owner), attribute, nn.Identity())
    try:
        module.eval()(each(Tensor.clone, inputs))
    except AttributeError:  # such as self.head.weight.dtype
        with_tensors = copy.copy(layer)
        with_tensors.__class__ = type("LayerPassedBy", (type(layer),), {"forward": lambda _, given: given})
        setattr(module.get_submodule(owner), attribute, with_tensors)


@torch.no_grad()
def _last_linear(module: JudgedModel, inputs: Inputs, targets: Tensor) -> tuple[str, nn.Linear]:
    """Returns the linear layer whose results are the module's outputs on `inputs` (B, ...), and its name.

    Raises:
        NoFeatures: there is none, or it is called several times, or its results are not one for each of the targets (B, ...).
    """
    calls: list[tuple[str, nn.Linear, Tensor]] = []
    linear = {name: layer for name, layer in module.named_modules() if isinstance(layer, nn.Linear)}
    with watched(linear, lambda name, result: calls.append((name, linear[name], result))):
        outputs = module.eval()(each(Tensor.clone, inputs))
    layers = [layer for _, layer, _ in calls]
    if not calls or layers.count(layers[-1]) > 1 or not torch.equal(calls[-1][2], outputs):
        raise NoFeatures("the model's outputs are not the results of a linear layer")
    if outputs.shape[:-1] != targets.shape:
        raise NoFeatures("targets are not a class for each result of the last layer")
    name, layer, _ = calls[-1]
    if all(parameter is not layer.weight for parameter in module.parameters()):
        raise NoFeatures("the weights of the last layer are computed")
    return name, layer
