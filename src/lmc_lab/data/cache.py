import hashlib
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from filelock import FileLock

from lmc_lab.files import read_json, write_json

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class DecodedData:
    """Decoded arrays, mapped from disk so that all processes share one copy, and their digest."""

    arrays: Arrays
    digest: str


def decoded_once(folder: Path, decode: Callable[[], Mapping[str, np.ndarray]]) -> DecodedData:
    """Returns the arrays in `folder`, decoding them first if nobody has; `folder`'s name must say what they are.

    `digest.json` is written last: arrays without it are those of a process that was killed, and are decoded again.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_name(f".{folder.name}.lock")):
        if not (folder / "digest.json").exists():
            shutil.rmtree(folder, ignore_errors=True)
            _store(folder, decode())
    content = read_json(folder / "digest.json")
    # Copy-on-write: pages stay shared since nobody writes, and torch accepts the array as writable.
    arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="c") for name in content["names"]}
    return DecodedData(arrays, content["digest"])


def _store(folder: Path, arrays: Mapping[str, np.ndarray]) -> None:
    folder.mkdir()
    digest = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        np.save(folder / f"{name}.npy", array)
        digest.update(f"{name} {array.dtype} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    write_json(folder / "digest.json", {"names": sorted(arrays), "digest": digest.hexdigest()})
