"""The one checkpoint format: tensors in safetensors, all else as JSON in its header, and a digest over both. No pickle."""

import errno
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from lmc_lab.errors import UserError
from lmc_lab.files import replacing

State = dict[str, Any]  # nested dicts, lists and tuples of tensors, numbers, strings, None


@dataclass(frozen=True)
class Stored:
    """What a file held, and the digest that names its content."""

    state: State
    digest: str


def save(state: State, path: Path) -> str:
    """Writes `state` to `path` in one atomic step and returns its digest.

    Raises:
        TypeError: `state` holds something that is neither a tensor nor plain data.
    """
    tensors: dict[str, Tensor] = {}
    tree = json.dumps(_encode(state, tensors))
    digest = _digest(tree, tensors)
    with replacing(path) as temporary:
        try:
            save_file(tensors, temporary, metadata={"tree": tree, "digest": digest})
        except SafetensorError as error:  # its only trouble with valid tensors is the disk
            raise OSError(errno.ENOSPC, str(error), str(path)) from error
    return digest


def load(path: Path) -> Stored:
    """Returns what `save` wrote.

    Raises:
        UserError: the file is missing, damaged or not one of ours.
    """
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            names = file.keys()
            tensors = {name: file.get_tensor(name) for name in names}
    except FileNotFoundError as error:
        raise UserError(f"expected a checkpoint at {path}, found none; train it first") from error
    except (SafetensorError, OSError) as error:
        raise UserError(f"expected a whole checkpoint at {path}, found a damaged one ({error}); {_MEND}") from error
    if header.get("digest") != _digest(header.get("tree", ""), tensors):
        raise UserError(f"expected the checkpoint {path} to match its own digest, found other content; {_MEND}")
    return Stored(_decode(json.loads(header["tree"]), tensors), header["digest"])


_MEND = "delete that file and run the command again, which computes it anew"


def _digest(tree: str, tensors: dict[str, Tensor]) -> str:
    digest = hashlib.sha256(tree.encode())
    for index in range(len(tensors)):
        tensor = tensors.get(str(index))
        if tensor is not None:
            digest.update(f"{tensor.dtype} {tuple(tensor.shape)}".encode())
            digest.update(tensor.flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _encode(node: Any, tensors: dict[str, Tensor]) -> Any:
    """Returns `node` as JSON; tensors go into `tensors` and leave their number, dicts become pairs (JSON has no int keys)."""
    if isinstance(node, Tensor):
        # Cloned: safetensors refuses channels-last and shared memory.
        tensors[name := str(len(tensors))] = node.detach().cpu().clone(memory_format=torch.contiguous_format)
        return {"tensor": name}
    if isinstance(node, dict):
        return {"dict": [[key, _encode(value, tensors)] for key, value in node.items()]}
    if isinstance(node, tuple):
        return {"tuple": [_encode(value, tensors) for value in node]}
    if isinstance(node, list):
        return [_encode(value, tensors) for value in node]
    if node is None or isinstance(node, (bool, int, float, str)):
        return node
    raise TypeError(f"expected tensors, numbers, strings and containers of them in a checkpoint, found {type(node)}")


def _decode(node: Any, tensors: dict[str, Tensor]) -> Any:
    if isinstance(node, list):
        return [_decode(value, tensors) for value in node]
    if not isinstance(node, dict):
        return node
    ((kind, content),) = node.items()
    if kind == "tensor":
        return tensors[content]
    if kind == "tuple":
        return tuple(_decode(value, tensors) for value in content)
    return {key: _decode(value, tensors) for key, value in content}


def check_data(state: State, data_digest: str, path: Path) -> None:
    """Refuses a checkpoint that was trained on other data than the present.

    Raises:
        UserError: it was.
    """
    if state["data_digest"] != data_digest:
        raise UserError(
            f"expected {path} to be trained on the present data ({data_digest[:8]}), found data "
            f"{state['data_digest'][:8]}; set data_dir back or choose another output_dir"
        )


def model_state(state: State) -> dict[str, Tensor]:
    """Returns the state of the task's module from a checkpoint of Lightning's."""
    found: dict[str, Tensor] = state["state_dict"]
    return found
