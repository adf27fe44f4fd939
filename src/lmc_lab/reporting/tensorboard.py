"""TensorBoard, for training curves (extra ``lmc_lab[tensorboard]``)."""

from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

from lightning.pytorch.loggers import Logger, TensorBoardLogger

from lmc_lab.errors import UserError
from lmc_lab.runs.experiment import RunName

if find_spec("tensorboard") is None:  # said when the config is looked at, before anything is trained
    raise UserError(
        "expected TensorBoard for logger=tensorboard, found that it is not installed; install it with: "
        "pip install 'lmc_lab[tensorboard]'"
    )


def tensorboard_logger(name: RunName, *, output_dir: str, config: Mapping[str, Any]) -> Logger:
    """Returns a logger for one run, whose files lie in ``tensorboard/``, below its address."""
    return TensorBoardLogger(save_dir=output_dir, name="tensorboard", version=name.address, default_hp_metric=False)
