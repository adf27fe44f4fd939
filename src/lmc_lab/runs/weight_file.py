"""Files of weights as people keep them: safetensors, and what torch.save and Lightning write. No code of theirs is run."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from lmc_lab.errors import UserError, one_line

_NESTED = ("state_dict", "model_state_dict", "model")  # under which a checkpoint has its state dict, among other things
_OTHER_PICKLES = (b"\x80\x03", b"\x80\x04", b"\x80\x05")  # begin so: protocols that torch.save does not use


def read_state_dict(path: Path) -> Mapping[str, Any]:
    """Returns the state dict in the file `path`, be it the whole of the file or under one of the usual names; on the CPU.

    Raises:
        UserError: the file is damaged, holds no state dict, or one that only code of somebody's could read.
        OSError: it cannot be read.
    """
    content = _read_safetensors(path) if path.suffix == ".safetensors" else _read_pickle(path)
    while isinstance(content, Mapping) and (
        names := [name for name in _NESTED if isinstance(content.get(name), Mapping)]
    ):
        content = content[names[0]]
    if not isinstance(content, Mapping):
        raise UserError(
            f"expected a state dict in {path}, found {type(content).__name__}; save what model.state_dict() returns"
        )
    return content


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except SafetensorError as error:
        raise _damaged(path, error) from error


def _read_pickle(path: Path) -> Any:
    with path.open("rb") as file:
        is_of_others = file.read(2) in _OTHER_PICKLES
    if is_of_others:
        raise UserError(
            f"expected what torch.save writes in {path}, found another pickle, of which no code is run; load it where you "
            "trust it, and save its state dict with torch.save"
        )
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle can raise anything, an OSError of no file, too
        if isinstance(error, OSError) and error.filename is not None:
            raise
        if code := re.search(r"GLOBAL (\S+)", str(error)):
            raise UserError(
                f"expected nothing but tensors and plain data in {path}, found a pickle that calls {code[1]}; "
                "load it where you trust it, and save its state dict by itself"
            ) from error
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> UserError:
    reason = re.sub(r"^\[[^\]]*\]\s*", "", one_line(error).partition(". ")[0])  # where in torch it was raised
    why = f" ({reason})" if re.search(r"[a-z]{3}", reason) else ""
    return UserError(
        f"expected a whole file of weights at {path}, found a damaged one, or none of torch.save or safetensors{why}; copy it "
        "again, or name another"
    )
