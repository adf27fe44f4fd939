"""Commands that may be answered before anything heavy is imported."""

from collections.abc import Callable

from omegaconf import DictConfig


class QuickJob:
    """A job that is done by `answer` if that can be, and else by `work`.

    The launcher of a sweep asks for the answer in its own process, and starts workers only if there is none.

    Args:
        answer: imports nothing heavy, and returns whether it did the job; if it did not, it did nothing.
        work: does the job.
    """

    def __init__(self, answer: Callable[[DictConfig], bool], work: Callable[[DictConfig], None]) -> None:
        self.answer, self.work = answer, work
        self.__wrapped__ = work  # Hydra looks there for the file of the command

    def __call__(self, config: DictConfig) -> None:
        """Does the job."""
        if not self.answer(config):
            self.work(config)
