"""Which values a trial has: those of a grid, or drawn by Optuna."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from lmc_lab.errors import UserError
from lmc_lab.tuning.parameters import Choices, Parameter, Value, Values, rounded
from lmc_lab.tuning.sweep import Sweep

if TYPE_CHECKING:
    import optuna


@dataclass
class Proposal:
    """A trial's values, and what became of it: whoever takes a proposal answers it before the next."""

    values: Values
    metric: float | None = field(default=None)  # None: it failed


def proposals(sweep: Sweep, num_trials: int | None, seed: int) -> Iterator[Proposal]:
    """Yields the trials of a sweep, each after the one before was answered.

    The same seed and the same answers give the same trials. So a sweep that was interrupted goes on where it was when it is
    given again: what is finished answers from its files.

    Args:
        sweep: that is searched.
        num_trials: in place of its own.
        seed: of the search; a grid has none.

    Raises:
        UserError: Optuna is needed and not installed.
    """
    number = num_trials or sweep.num_trials
    if sweep.method == "grid":
        size = sweep.grid_size
        yield from (Proposal(values) for _, values in zip(range(min(number or size, size)), sweep.grid, strict=False))
    else:
        yield from _drawn(sweep, number or 1, seed)


def _drawn(sweep: Sweep, number: int, seed: int) -> Iterator[Proposal]:
    optuna = _optuna()
    samplers = {"random": optuna.samplers.RandomSampler, "bayes": optuna.samplers.TPESampler}
    search = optuna.create_study(sampler=samplers[sweep.method](seed=seed), direction=sweep.goal)
    space = {key: _distribution(parameter) for key, parameter in sweep.parameters.items()}
    for _ in range(number):
        trial = search.ask(space)
        proposal = Proposal({key: _as_drawn(space[key], value) for key, value in trial.params.items()})
        yield proposal
        if proposal.metric is None:
            search.tell(trial, state=optuna.trial.TrialState.FAIL)
        else:
            search.tell(trial, proposal.metric)


def _distribution(parameter: Parameter) -> "optuna.distributions.BaseDistribution":
    of = _optuna().distributions
    if isinstance(parameter, Choices):
        return of.CategoricalDistribution(parameter.values)
    if parameter.is_whole:
        return of.IntDistribution(int(parameter.low), int(parameter.high), step=int(parameter.step or 1))
    return of.FloatDistribution(parameter.low, parameter.high, step=parameter.step, log=parameter.is_log)


def _as_drawn(distribution: "optuna.distributions.BaseDistribution", value: Value) -> Value:
    return rounded(value) if getattr(distribution, "step", None) is not None else value


def _optuna() -> Any:
    try:
        import optuna
    except ModuleNotFoundError:
        raise UserError(
            "expected Optuna for the methods random and bayes, found it not installed; pip install 'lmc_lab[tune]', or take "
            "method: grid"
        ) from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna
