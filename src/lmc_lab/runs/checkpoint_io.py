from collections.abc import Callable
from pathlib import Path
from typing import Any

from lightning.fabric.plugins import CheckpointIO

from lmc_lab.runs.checkpoint import State, check_data, load, save


class SafetensorsIO(CheckpointIO):
    """Carries Lightning's whole checkpoint (weights, optimizer, loops, callbacks) through `save` and `load`.

    Args:
        data_digest: of the decoded data; written into every checkpoint and compared when one is read.
        begun: makes the state that this run begins with from the checkpoint of another run.
        circumstances: returns what each checkpoint records besides, about how it was trained.
    """

    def __init__(
        self,
        *,
        data_digest: str,
        begun: Callable[[State], State] = lambda state: state,
        circumstances: Callable[[], State] = dict,
    ) -> None:
        self._data_digest = data_digest
        self._begun = begun
        self._circumstances = circumstances

    def save_checkpoint(self, checkpoint: State, path: Any, storage_options: Any | None = None) -> None:
        """Writes Lightning's checkpoint."""
        # A timer's state would say that the time of a run that goes on is over, or that of a branch with its trunk's.
        callbacks = {name: state for name, state in checkpoint["callbacks"].items() if not name.startswith("Timer")}
        save(
            checkpoint | {"callbacks": callbacks, "data_digest": self._data_digest} | self._circumstances(), Path(path)
        )

    def load_checkpoint(self, path: Any, map_location: Any | None = None, weights_only: bool | None = None) -> State:
        """Returns Lightning's checkpoint.

        Raises:
            UserError: the checkpoint is damaged, or comes from other data.
        """
        state = load(Path(path)).state
        check_data(state, self._data_digest, path)
        return self._begun(state)

    def remove_checkpoint(self, path: Any) -> None:
        """Deletes a checkpoint."""
        Path(path).unlink(missing_ok=True)
