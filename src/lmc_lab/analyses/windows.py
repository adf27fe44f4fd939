"""Windows of a trunk: steps in which it is trained again from one of its states on."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Window:
    """A window that begins at a state and ends by the last step.

    Args:
        num_steps: of it.
        last_step: T.
    """

    num_steps: int
    last_step: int

    def may_begin_at(self, step: int) -> bool:
        """Returns whether one that begins at a step ends by T."""
        return step + self.num_steps <= self.last_step

    @property
    def why_none(self) -> str:
        """Returns why none begins at any of a trunk's states, as the rest of a sentence."""
        return f"no window of {self.num_steps} steps from one of the trunk's states ends by T = {self.last_step}"
