"""Which kinds of noise the training of a task has."""

from lmc_lab.data.order import Noise
from lmc_lab.generators import forked_generators, generator_states
from lmc_lab.tasks.precision import precision_of
from lmc_lab.tasks.supervised import has_schedule, only_optimizer
from lmc_lab.tasks.task import Task

_NUM_EXAMPLES = 8  # of a batch on which a step is tried, or as many as it has if these are fewer


def why_without(task: Task, kind: str) -> str | None:
    """Returns why the training of a task has no noise of a kind, as the rest of a sentence, or None if it has."""
    if kind == Noise.AUGMENTATION and task.transform is None and task.dataset.augment is None:
        return "its training inputs are not augmented"
    if kind == Noise.DROPOUT and not draws_numbers(task):
        return "no layer of it draws numbers"
    if kind == Noise.LABELS and (task.num_classes or 0) < 2:
        return "its targets are no classes, of which task.module.num_classes would be the number"
    if kind == Noise.RATE and has_schedule(task.initialise(0).configure_optimizers()):
        return "its learning rate follows a schedule, whose state is the trunk's"
    return None


def lacking(task: Task) -> dict[str, str]:
    """Returns the kinds of noise that the training of a task does not have, each with the reason."""
    return {str(kind): reason for kind in Noise if (reason := why_without(task, kind))}


def draws_numbers(task: Task) -> bool:
    """Returns whether a training step draws random numbers besides those of its batch (dropout); it is tried on a CPU."""
    precision = precision_of(task.precision)
    batch = task.dataset.train.draw(min(_NUM_EXAMPLES, task.batch_size)).batch(slice(None))
    inputs, targets = map(precision.convert, batch)
    with forked_generators(), precision.forward():
        module = precision.convert_module(task.initialise(0))
        optimizer = only_optimizer(module.configure_optimizers())
        before = generator_states()

        def closure() -> float:
            optimizer.zero_grad()
            loss = module.training_loss((inputs, targets))
            loss.backward()  # type: ignore[no-untyped-call]
            return loss.item()

        optimizer.step(closure)
        return before != generator_states()
