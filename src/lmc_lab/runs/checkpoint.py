"""The one checkpoint format: tensors in safetensors, all else as JSON in its header, and a digest over both. No pickle.

The header says what the file is (`runs.seal`). A file that is not what its address says is refused like a damaged one.
"""

import errno
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from lmc_lab.errors import UserError
from lmc_lab.files import FORMAT, DamagedFile, MissingFile, replacing, set_aside
from lmc_lab.runs import seal
from lmc_lab.runs.paths import address_of
from lmc_lab.versions import package_version

State = dict[str, Any]  # nested dicts, lists and tuples of tensors, numbers, strings, None

# Under which keys the states of callbacks are kept, whatever their classes are called: part of the format.
CALLBACK_GROUP, TRAJECTORY = "CallbackGroup", "Trajectory"

# Of Lightning's WeightAveraging: the weights that training goes on with, and the rest of its state.
_TRAINED_ON = "current_model_state"
OF_AVERAGE = (_TRAINED_ON, "averaging_state")

TRAINED = "trained"  # how: where, in which company, in which precision; only where that is not on a CPU and alone


@dataclass(frozen=True)
class Stored:
    """What a file held, and the digest that names its content."""

    state: State
    digest: str


def save(state: State, path: Path) -> str:
    """Writes `state` to `path` in one atomic step and returns its digest.

    Tensors are stored under their path in `state` (``model/conv1.weight``), for readers of other programs.

    Raises:
        UserError: `state` holds something that is neither a tensor nor plain data.
    """
    tensors: dict[str, Tensor] = {}
    tree = json.dumps(_encode(state, tensors))
    digest = digest_of(tree, tensors)
    header = {
        "place": address_of(path),
        "step": str(state.get("step", state.get("global_step", ""))),
        "data": str(state.get("data_digest", "")),
        "format": str(FORMAT),
        "digest": digest,
        "versions": _versions(),
        "tree": tree,
    }
    with replacing(path) as temporary:
        try:
            save_file(tensors, temporary, metadata=seal.sealed(header))
        except SafetensorError as error:  # its only trouble with valid tensors is the disk
            raise OSError(errno.ENOSPC, str(error), str(path)) from error
    return digest


@dataclass(frozen=True)
class Identity:
    """What the header of a file says of its content."""

    digest: str
    data_digest: str


def identify(path: Path) -> Identity:
    """Returns what a file says that it is, without a look at its tensors.

    Raises:
        DamagedFile: its header is damaged, not one of ours, or belongs to another address.
        OtherFormat: another version wrote it.
        MissingFile: there is none.
    """
    header = _sealed_header(path)
    return Identity(header["digest"], header["data"])


def peek(path: Path, key: str) -> Any:
    """Returns what a file has under `key` at the top of its state, plain data, without a look at its tensors; None if nothing.

    Raises:
        DamagedFile: its header is damaged, not one of ours, or belongs to another address.
        OtherFormat: another version wrote it.
        MissingFile: there is none.
    """
    header = _sealed_header(path)
    return _decode(dict(json.loads(header["tree"])["dict"]).get(key), {})


def _sealed_header(path: Path) -> dict[str, str]:
    header, _ = _read(path, with_tensors=False)
    seal.check(header, path, is_whole=seal.is_sealed(header))
    return header


def load(path: Path) -> Stored:
    """Returns what `save` wrote.

    Raises:
        DamagedFile: the file is damaged, not one of ours, or belongs to another address.
        OtherFormat: another version wrote it.
        MissingFile: there is none.
    """
    header, tensors = _read(path)
    is_whole = header.get("digest") == digest_of(header.get("tree", ""), tensors) and seal.is_sealed(header)
    seal.check(header, path, is_whole=is_whole)
    return Stored(_decode(json.loads(header["tree"]), tensors), header["digest"])


def _read(path: Path, *, with_tensors: bool = True) -> tuple[dict[str, str], dict[str, Tensor]]:
    try:
        with safe_open(path, framework="pt") as file:
            names = file.keys() if with_tensors else ()
            return file.metadata() or {}, {name: file.get_tensor(name) for name in names}
    except FileNotFoundError as error:
        raise MissingFile(f"expected a checkpoint at {path}, found none; give the command that makes it") from error
    except (SafetensorError, OSError, ValueError) as error:
        raise DamagedFile(
            f"expected a whole checkpoint at {path}, found a damaged one ({error}); {seal.MEND}"
        ) from error


def load_or_set_aside(path: Path) -> Stored | None:
    """Returns what `save` wrote, or None if there is no file, or a damaged one, which is set aside."""
    if not path.exists():
        return None
    try:
        return load(path)
    except DamagedFile as error:
        set_aside(path, error)
        return None


@cache
def _versions() -> str:
    return json.dumps({name: package_version(name) for name in ("lmc_lab", "torch")})


def digest_of(text: str, tensors: Mapping[str, Tensor]) -> str:
    """Returns the SHA-256 of a text and of tensors with their names, types and shapes."""
    return seal.digest_of(text, {name: _raw(tensor) for name, tensor in tensors.items()})


def _raw(tensor: Tensor) -> seal.RawTensor:
    content = tensor.flatten().view(torch.uint8).numpy().data
    return seal.RawTensor(str(tensor.dtype), tuple(tensor.shape), content)


def _encode(node: Any, tensors: dict[str, Tensor], path: str = "") -> Any:
    """Returns `node` as JSON; tensors go into `tensors` and leave their name, dicts become pairs (JSON has no int keys)."""
    if isinstance(node, Tensor):
        name = path if path not in tensors else f"{path}#{len(tensors)}"  # {"a/b": ...} beside {"a": {"b": ...}}
        # Cloned: safetensors refuses channels-last and shared memory.
        tensors[name] = node.detach().cpu().clone(memory_format=torch.contiguous_format)
        return {"tensor": name}
    if isinstance(node, dict):
        return {"dict": [[key, _encode(value, tensors, _below(path, key))] for key, value in node.items()]}
    if isinstance(node, tuple | list):
        values = [_encode(value, tensors, _below(path, index)) for index, value in enumerate(node)]
        return {"tuple": values} if isinstance(node, tuple) else values
    if node is None or isinstance(node, (bool, int, float, str)):
        return node
    raise UserError(
        f"expected tensors, numbers, strings and containers of them in a checkpoint, found {type(node).__name__} in "
        f"{path}; keep there what plain data can say"
    )


def _below(path: str, key: object) -> str:
    return f"{path}/{key}" if path else str(key)


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


def module_state(state: State) -> dict[str, Tensor]:
    """Returns parameters and buffers of the task's module from a checkpoint of Lightning's.

    They are those that training goes on with; Lightning's WeightAveraging saves the average in their place.
    """
    weights: dict[str, Tensor] = state.get(_TRAINED_ON) or state["state_dict"]
    return weights


def path_length(state: State) -> float:
    """Returns the length of a run's path from W_0 at a checkpoint of Lightning's."""
    return float(state["callbacks"][CALLBACK_GROUP][TRAJECTORY]["path_length"])


def num_rows(state: State) -> int:
    """Returns how many rows the loss curve of a run has at a checkpoint of Lightning's."""
    return int(state["callbacks"][CALLBACK_GROUP][TRAJECTORY]["num_rows"])
