"""A Hessian-vector product, against the library that people take for it."""

import importlib
import warnings
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks import suite
from benchmarks.common import Options, Row, alternate, duration, skipped, slower, wall
from lmc_lab.landscape.curvature import Product, hessian_product
from lmc_lab.tasks.point_evaluator import PointEvaluator
from lmc_lab.tasks.task import Task

_WHAT = "Hessian-vector product, LeNet-5, against curvlinops"


def measure(options: Options) -> list[Row]:
    """Returns the row of one product over 2,048 training examples, or why there is none."""
    try:
        library = version("curvlinops-for-pytorch")
    except PackageNotFoundError:
        return [skipped(_WHAT, "curvlinops is not installed: pip install curvlinops-for-pytorch==3.0.1")]
    task, num_examples = suite.build("task=lenet_m").task, options.pick(2048, 256)
    vector = torch.randn(len(_theta(task)), generator=torch.Generator().manual_seed(0))
    products: list[Product] = []
    set_up = wall(lambda: products.append(_ours(task, num_examples)))
    products += [_theirs(task, num_examples, size) for size in {256, num_examples}]
    images = [product(vector) for product in products]  # also warms up
    ours, *theirs = alternate(*(_timed(product, vector) for product in products), repeats=options.pick(7, 2))
    error = max(float((image - images[0]).norm() / images[0].norm()) for image in images)
    note = (
        f"{num_examples:,} examples, {library}, its faster batch size; products differ by {error:.0e}; "
        f"ours keeps the gradients' graphs, which takes {duration(set_up)} once"
    )
    return [slower(_WHAT, ours, min(theirs, key=median), at_most=1.0, note=note)]


def _timed(product: Product, vector: Tensor) -> Callable[[], float]:
    return lambda: wall(lambda: product(vector))


def _theta(task: Task) -> Tensor:
    return task.layout.parameters.flatten(dict(task.initialise(0).named_parameters())).detach()


def _ours(task: Task, num_examples: int) -> Product:
    """Returns the product as `analyses.hessian` makes it."""
    train, theta = task.dataset.train, _theta(task)
    evaluator = PointEvaluator(task.initialise(0), train)
    point = evaluator.points(theta[None], torch.ones(1, 1, dtype=torch.float64), {})
    return hessian_product(
        evaluator.differentiable.partial_losses(point, train.first(num_examples)), theta, keep_graph=True
    )


def _theirs(task: Task, num_examples: int, batch_size: int) -> Product:
    """Returns the library's product, over batches of `batch_size`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        curvlinops: Any = importlib.import_module("curvlinops")
    model = task.initialise(0).model.eval()
    data = list(task.dataset.train.first(num_examples).chunks(batch_size))
    operator = curvlinops.HessianLinearOperator(
        model, nn.CrossEntropyLoss(), list(model.parameters()), data, check_deterministic=False
    )
    return lambda vector: operator @ vector
