"""Measuring on a GPU: losses of points, their share of the peak, Hessian products, and what must be equal."""

import importlib
import time
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.common import duration
from benchmarks.flops import flops_per_example
from benchmarks.gpu_training import Found, experiment, memory, reset_memory, synchronise
from lmc_lab.landscape.curvature import hessian_product
from lmc_lab.landscape.hull import probe_hull, sample_hull
from lmc_lab.runs.experiment import Experiment
from lmc_lab.tasks.arithmetic import float32_products
from lmc_lab.tasks.evaluation_settings import EvaluationSettings
from lmc_lab.tasks.point_evaluator import PointEvaluator

_NUM_PRODUCTS = 5


def evaluation(task: str, device: str, overrides: list[str], num_points: int, peak: float) -> Found:
    """Returns the time for an example and a point, and its share of `peak`, in float32 operations a second."""
    reset_memory(device)
    with experiment(task, device, overrides) as own:
        evaluator, thetas, buffers = _points(own, device, num_points)
        train, coefficients = own.task.dataset.train, torch.eye(num_points, dtype=torch.float64)
        evaluate = evaluator.evaluate_on(train, buffers)
        evaluate(thetas, coefficients)  # once for what is chosen and allocated at the first time
        start = time.perf_counter()
        evaluate(thetas, coefficients)
        per = (time.perf_counter() - start) / num_points / len(train)
        model = own.task.initialise(0).model.eval()
        share = flops_per_example(model, train.batch(slice(0, 2))[0]) / per / peak
        return Found(f"{1e6 * per:.3f} us, {share:.0%} of the peak ({evaluator.method}{memory(device)})", per)


@float32_products()
def peak_of(device: str, side: int) -> float:
    """Returns the float32 operations a second of a product of square matrices."""
    left, right = torch.rand(2, side, side, device=device)
    return 2 * side**3 / _seconds(lambda: left @ right, device)


def hessian(task: str, device: str, num_examples: int) -> Found:
    """Returns the time of a product of the Hessian and a vector, beside that of curvlinops where that is installed."""
    with experiment(task, device, [f"task.data.num_train={num_examples}"]) as own:
        evaluator, thetas, buffers = _points(own, device, 1, distance=0.0)
        train = own.task.dataset.train
        point = evaluator.points(thetas, torch.ones(1, 1, dtype=torch.float64), buffers)
        differentiable = evaluator.differentiable
        theta = differentiable.trained(point).detach()
        ours = hessian_product(differentiable.partial_losses(point, train), theta, keep_graph=True)
        vector = torch.randn(len(theta), generator=torch.Generator().manual_seed(0)).to(theta)
        with float32_products():
            seconds = _seconds(lambda: ours(vector), device)
            return Found(f"{duration(seconds)}; {_beside(own, device, vector, ours(vector))}", seconds)


def _beside(own: Experiment, device: str, vector: Tensor, expected: Tensor) -> str:
    """Returns what curvlinops takes for the same product, and how far it is from ours."""
    if find_spec("curvlinops") is None:
        return "curvlinops is not installed"
    model = own.task.initialise(0).model.eval().to(device)
    inputs, targets = own.task.dataset.train.batch(slice(None))
    data = [(inputs.to(device), targets.to(device))]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        curvlinops: Any = importlib.import_module("curvlinops")
        operator = curvlinops.HessianLinearOperator(
            model, nn.CrossEntropyLoss(), list(model.parameters()), data, check_deterministic=False
        )
    seconds = _seconds(lambda: operator @ vector, device)
    error = float((operator @ vector - expected).norm() / expected.norm())
    return f"curvlinops {duration(seconds)}, whose product differs by {error:.0e}"


def of_equal_endpoints(device: str) -> Found:
    """Returns p_conv of a hull without extent."""
    with experiment("lenet_m", device, ["task.data.num_train=2048"]) as own:
        evaluator, thetas, buffers = _points(own, device, 4, distance=0.0)
        sample = sample_hull(thetas, 20, seed=0)
        probe = probe_hull(evaluator.evaluate_on(own.task.dataset.train, buffers), thetas, sample)
        return Found(f"{float(probe.is_conv_better.double().mean()):g}")


def beside_cpu(device: str) -> Found:
    """Returns the largest difference of a loss from the CPU's."""
    with experiment("lenet_m", device, ["task.data.num_train=2048"]) as own:
        found = []
        for where in (device, "cpu"):
            evaluator, thetas, buffers = _points(own, where, 8)
            coefficients = torch.eye(8, dtype=torch.float64)
            found.append(evaluator.evaluate_on(own.task.dataset.train, buffers)(thetas, coefficients).loss)
        return Found(f"{float((found[0] - found[1]).abs().max()):.1e}")


def _points(
    own: Experiment, device: str, count: int, *, distance: float = 0.01
) -> tuple[PointEvaluator, Tensor, dict[str, Tensor]]:
    """Returns what evaluates points of a task on a device, and points around W_0 with their buffers."""
    given = {name: value for name, value in own.config["evaluation"].items() if not name.startswith("_")}
    settings = EvaluationSettings(**{**given, "device": device})
    evaluator = PointEvaluator(own.task.initialise(0), own.task.dataset.train, settings)
    layout, state = own.task.layout, own.task.initialise(0).state_dict()
    theta = layout.theta(state, Path("W_0"))
    noise = torch.randn(count, len(theta), generator=torch.Generator().manual_seed(0))
    buffers = {name: torch.stack([value] * count) for name, value in layout.own_buffers(state, Path("W_0")).items()}
    return evaluator, theta + distance * noise, buffers


def _seconds(call: Callable[[], object], device: str) -> float:
    """Returns the median time of a call, after one that warms up."""
    times = []
    for _ in range(1 + _NUM_PRODUCTS):
        synchronise(device)
        start = time.perf_counter()
        call()
        synchronise(device)
        times.append(time.perf_counter() - start)
    return median(times[1:])
