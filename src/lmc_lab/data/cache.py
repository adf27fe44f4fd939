"""Decoded data: made once for all processes, and checked by each that opens them."""

import hashlib
import logging
import os
import shutil
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from xxhash import xxh3_128

from lmc_lab.errors import UserError
from lmc_lab.files import DamagedFile, read_json, write_json
from lmc_lab.locks import are_used, locked

Arrays = dict[str, np.ndarray]

_DIGEST = "digest.json"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class DecodedData:
    """Decoded arrays, mapped from disk so that all processes share one copy, and their digest."""

    arrays: Arrays
    digest: str


@dataclass(frozen=True)
class NewArrays:
    """A folder that arrays are written to: whole, or some rows at a time where all of them may not fit into memory."""

    folder: Path

    def save(self, name: str, array: np.ndarray) -> None:
        """Writes a whole array."""
        np.save(self._file(name), array, allow_pickle=False)

    @contextmanager
    def rows(self, name: str, shape: tuple[int, ...], dtype: np.dtype) -> Iterator[Callable[[np.ndarray], None]]:
        """Opens an array of this shape, and gives what appends rows (n, *shape[1:]) to it.

        They are written, not mapped: on a full disk a mapped file ends the process without a word.
        """
        with self._file(name).open("wb") as file:
            header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(file, header)
            yield lambda rows: _append(file, rows.astype(dtype, copy=False))

    def _file(self, name: str) -> Path:
        return self.folder / f"{name}.npy"


def decoded_once(folder: Path, decode: Callable[[], Mapping[str, np.ndarray]]) -> DecodedData:
    """Does what `written_once` does, with a function that returns all arrays."""

    def write(new: NewArrays) -> None:
        for name, array in decode().items():
            new.save(name, array)

    return written_once(folder, write)


def written_once(folder: Path, write: Callable[[NewArrays], None]) -> DecodedData:
    """Returns the arrays in `folder`, having them written first if nobody has; `folder`'s name must say what they are.

    The files are checked whenever a process opens them (30 ms for the 184 MB of CIFAR-10). A damaged folder, or one of
    another version of this package, is removed and made again: whoever has its files mapped keeps them as they are.
    """
    with suppress(FileNotFoundError, UserError):  # without a lock, which one who may only read cannot take
        return _opened(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with locked(folder.with_name(f".{folder.name}.lock")):
        try:
            return _opened(folder)
        except FileNotFoundError:
            pass  # nobody has decoded them
        except UserError as error:
            log.warning("%s; the data are decoded again", error)
        _store(folder, write)
        return _opened(folder)


def _opened(folder: Path) -> DecodedData:
    """Returns the data in `folder`, after checking each byte of its files.

    Raises:
        FileNotFoundError: there is no such folder.
        UserError: the files are not those that `_store` wrote there.
    """
    checksums = _checksums(folder)
    content = read_json(folder / _DIGEST)
    if content.get("folder") != folder.name:
        raise DamagedFile(f"expected {folder / _DIGEST} to describe {folder.name}, found {content.get('folder')}")
    for name in sorted(content["checksums"].keys() | checksums.keys()):
        if checksums.get(name) != content["checksums"].get(name):
            raise DamagedFile(f"expected {folder / name} to match its checksum in {_DIGEST}, found other content")
    # Copy-on-write: pages stay shared since nobody writes, and torch accepts the array as writable.
    arrays = {name.removesuffix(".npy"): np.load(folder / name, mmap_mode="c") for name in checksums}
    return DecodedData(arrays, content["digest"])


def _store(folder: Path, write: Callable[[NewArrays], None]) -> None:
    """Has arrays written beside `folder`, then puts them in its place: there is all of it or nothing."""
    suffix = "" if are_used() else f"-{socket.gethostname()}-{os.getpid()}"  # without locks others may write the same
    unfinished = folder.with_name(f".{folder.name}.unfinished{suffix}")  # the lock's owner's; another's was killed
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir()
    try:
        write(NewArrays(unfinished))
        arrays = {path.stem: np.load(path, mmap_mode="r") for path in sorted(unfinished.iterdir())}
        content = {"folder": folder.name, "digest": _digest(arrays), "checksums": _checksums(unfinished)}
        write_json(unfinished / _DIGEST, content)
    except BaseException:  # of mended files the folder has another name, and would leave this one
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    shutil.rmtree(folder, ignore_errors=True)
    try:
        unfinished.rename(folder)
    except OSError:  # another has put the same there
        if are_used() or not folder.exists():
            raise
        shutil.rmtree(unfinished)


def _append(file: BinaryIO, rows: np.ndarray) -> None:
    file.write(np.ascontiguousarray(rows).data)


def _digest(arrays: Mapping[str, np.ndarray]) -> str:
    """Returns the identity of the data, whatever files they came from."""
    digest = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        digest.update(f"{name} {array.dtype} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def _checksums(folder: Path) -> dict[str, str]:
    """Returns the checksum of each array file in `folder` by name."""
    return {path.name: _checksum(path) for path in sorted(folder.iterdir()) if path.suffix == ".npy"}


def _checksum(path: Path) -> str:
    """Returns a checksum of the whole file; read, not mapped, since a mapped file on a bad disk ends the process."""
    checksum = xxh3_128()  # zlib.crc32 takes 3.5 times as long, sha256 5 times
    block = memoryview(bytearray(2**20))
    with path.open("rb", buffering=0) as file:
        while size := file.readinto(block):
            checksum.update(block[:size])
    return checksum.hexdigest()
