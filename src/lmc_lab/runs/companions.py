"""Which runs of a task can be trained as one program, and how many at a time."""

from collections.abc import Callable

import torch
from torch import Tensor

from lmc_lab.runs.copies_module import CopiesModule
from lmc_lab.runs.run import Run
from lmc_lab.stacked.copies import without_advice
from lmc_lab.tasks.precision import precision_of
from lmc_lab.tasks.supervised import SupervisedTask, only_optimizer
from lmc_lab.tasks.task import ClipAlgorithm, Task

_NUM_STEPS = 3
_NUM_EXAMPLES = 8  # of a batch, or as many as it has if these are fewer
_AGREEMENT = 1e-10
_SHARE_OF_MEMORY = 0.85  # the rest is for what the optimizer's step and the saving of states need for a moment

Batch = tuple[Tensor, Tensor]


def why_alone(run: Run, *, allows_noise: bool) -> str | None:
    """Returns why runs of this task are to be trained one by one, or None if they need not.

    Args:
        run: one of them.
        allows_noise: layers may draw numbers, which then depend on the company.
    """
    task = run.task
    if task.make_callbacks():
        return "task.callbacks see one model"
    if run.experiment.settings.evaluate_every:
        return "run.evaluate_every measures one model"
    if task.gradient_clip_val is not None and task.gradient_clip_algorithm is ClipAlgorithm.NORM:
        return "gradients are clipped by the norm of one model's"
    return _why_tried_in_vain(task, _batches(run), allows_noise=allows_noise)


def _batches(run: Run) -> list[list[Batch]]:
    """Returns small batches of three steps for each of two models, in float64."""
    examples = run.examples
    size = min(_NUM_EXAMPLES, run.task.batch_size, len(examples) // 2)
    drawn = examples.draw(2 * size)
    parts = [drawn.batch(slice(i * size, (i + 1) * size)) for i in range(2)]
    return [[_double(part)] * _NUM_STEPS for part in parts]


def _double(batch: Batch) -> Batch:
    inputs, targets = (part.double() if part.is_floating_point() else part for part in batch)
    return inputs, targets


def _why_tried_in_vain(task: Task, batches: list[list[Batch]], *, allows_noise: bool) -> str | None:
    """Returns in what two models differ that take three steps together from two that take them alone, if in anything."""
    with precision_of("64-true").forward(), torch.random.fork_rng(devices=[]):
        before = torch.get_rng_state()
        alone = [_trained_alone(task.initialise(i).double(), batches[i]) for i in range(2)]
        is_random = not torch.equal(before, torch.get_rng_state())
        if is_random and not allows_noise:
            return "layers draw numbers (dropout), which would depend on the company; run.together=20, say, allows that"
        try:
            with without_advice():
                together = _trained_together(task, batches, is_random=is_random)
        except Exception as error:  # whatever torch.func cannot do with a module of the user's
            return f"torch.func cannot make several of the model ({' '.join(str(error).split())[:200]})"
    if is_random:
        return None  # other noise, other weights
    worst = max(
        float((together[name][i].double() - value.double()).abs().max())
        for i, state in enumerate(alone)
        for name, value in state.items()
    )
    return None if worst <= _AGREEMENT else f"{_NUM_STEPS} steps together differ by {worst:.1g} from {_NUM_STEPS} alone"


def _trained_alone(module: SupervisedTask, batches: list[Batch]) -> dict[str, Tensor]:
    optimizer = only_optimizer(module.configure_optimizers())
    for batch in batches:
        optimizer.zero_grad()
        module.training_loss(batch).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return {name: value.detach() for name, value in module.state_dict().items()}


def _trained_together(task: Task, batches: list[list[Batch]], *, is_random: bool) -> dict[str, Tensor]:
    states = [task.initialise(i).double().state_dict() for i in range(2)]
    module = CopiesModule(task.initialise(0).double(), 2, randomness="different" if is_random else "error")
    module.load_state_dict({name: torch.stack([state[name] for state in states]) for name in states[0]})
    both = [(torch.stack([a[0], b[0]]), torch.stack([a[1], b[1]])) for a, b in zip(batches[0], batches[1], strict=True)]
    _train(module, both)
    return module.state_dict()


def _train(module: CopiesModule, batches: list[Batch]) -> None:
    optimizer = only_optimizer(module.configure_optimizers())
    for batch in batches:
        module.training_step(batch, 0)
        optimizer.step()


def num_that_fit(peak: Callable[[int], int], total: int) -> int:
    """Returns how many models fit into a device's memory.

    Args:
        peak: returns the most bytes in use while that many models take a step.
        total: bytes of the device.
    """
    one, two = peak(1), peak(2)
    each = max(1, two - one)
    return max(1, int((_SHARE_OF_MEMORY * total - (one - each)) // each))


def num_on(run: Run, device: torch.device) -> int:
    """Returns how many models of the run's task fit into the memory of a GPU; one elsewhere."""
    if device.type != "cuda":
        return 1
    task, order = run.task, run.batches(0)
    inputs, targets = (part.to(device) for part in order.at(0))

    def peak(count: int) -> int:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
        module = CopiesModule(task.initialise(0), count, randomness="different").to(device)
        _train(module, [(torch.stack([inputs] * count), torch.stack([targets] * count))] * 2)
        return int(torch.cuda.max_memory_allocated(device))

    return num_that_fit(peak, torch.cuda.get_device_properties(device).total_memory)
