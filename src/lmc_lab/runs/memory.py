"""How many models of a task are trained at once in a GPU's memory."""

import gc
from collections.abc import Callable

import torch

from lmc_lab.inputs import by_name
from lmc_lab.runs.run import Run
from lmc_lab.runs.trial import TriedModels

_SHARE = 0.85  # of the memory; the rest is for libraries, fragments, and the saving of states
_NUM_POINTS = 3  # that a step of a trajectory has beside the parameters: the point, the one before, their difference
_NUM_BATCHES = (
    2  # beside the one that a step is given: where a graph reads it, and the stored one from which it is made
)
_NUM_EPOCHS = 2  # whose orders are there when one ends
_INDEX_BYTES = 8


def num_that_fit(peak: Callable[[int], int], total: int) -> int:
    """Returns how many models fit into a device's memory.

    Args:
        peak: returns the most bytes in use while that many models take a step.
        total: bytes of the device.
    """
    one, two = peak(1), peak(2)
    each = two - one if two > one else one  # what is too small to be seen still has a bound
    return max(1, int((_SHARE * total - (one - each)) // each))


def num_on(run: Run, device: torch.device) -> int:
    """Returns how many models of the run's task fit into the memory of a GPU; one where two do not, and elsewhere."""
    if device.type != "cuda":
        return 1
    batch, examples = run.batches(0).at(0), run.examples

    def peak(count: int) -> int:
        gc.collect()
        torch.cuda.empty_cache()
        of_orders = count * _NUM_EPOCHS * _INDEX_BYTES * len(examples)
        return _peak(TriedModels(run, [batch] * count, device), device) + of_orders

    stored = (*by_name(examples.inputs).values(), examples.targets)  # which will lie there, too
    total = torch.cuda.get_device_properties(device).total_memory - sum(tensor.nbytes for tensor in stored)
    try:
        return num_that_fit(peak, total)
    except torch.cuda.OutOfMemoryError:
        return 1


def _peak(trial: TriedModels, device: torch.device) -> int:
    """Returns the most bytes that a program of the trial's models has in use.

    A captured step keeps the memory of its gradients and activations, so that what the optimizer takes comes on top.
    """
    trial.compute_gradients()
    trial.step()  # after which the optimizer's state is there
    resident = torch.cuda.memory_allocated(device)
    of_step = _taken(trial.compute_gradients, device) + _taken(trial.step, device)
    copies = _NUM_POINTS * trial.num_parameter_bytes + _NUM_BATCHES * trial.num_batch_bytes
    return resident + of_step + copies


def _taken(do: Callable[[], None], device: torch.device) -> int:
    """Returns the most bytes that are in use meanwhile besides those that are before."""
    before = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    do()
    return int(torch.cuda.max_memory_allocated(device)) - before
