"""What a checkpoint says that it is, and whether that is so: seen without torch, which takes a second to import.

The header of a file says its address in the tree of runs, its step, the data and the versions that wrote it, and carries the
digest of the content; a seal covers what it says.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, deserialize

from lmc_lab.errors import UserError
from lmc_lab.files import FORMAT, DamagedFile, OtherFormat, check_format
from lmc_lab.runs.paths import address_of

# What the header's seal covers besides what the digest does, by format: one of the format before is whole, but not for us.
_SEALED = {
    "2": ("place", "step", "data", "format", "digest"),
    str(FORMAT): ("place", "step", "data", "format", "digest", "versions"),
}
MEND = "give the command that made it once more: it sets this one aside and makes it anew"

# Types of tensors: as a file of safetensors names them, and as the digest does, which has torch's names.
_TYPES = {
    "BOOL": "bool", "U8": "uint8", "I8": "int8", "U16": "uint16", "I16": "int16", "U32": "uint32", "I32": "int32",
    "U64": "uint64", "I64": "int64", "F16": "float16", "BF16": "bfloat16", "F32": "float32", "F64": "float64",
    "C64": "complex64", "F8_E4M3": "float8_e4m3fn", "F8_E4M3FNUZ": "float8_e4m3fnuz", "F8_E5M2": "float8_e5m2",
    "F8_E5M2FNUZ": "float8_e5m2fnuz",
}  # fmt: skip


@dataclass(frozen=True)
class RawTensor:
    """A tensor as a file has it."""

    type: str  # torch.float32
    shape: tuple[int, ...]
    content: "bytes | bytearray | memoryview"


def is_whole(path: Path) -> bool:
    """Returns whether the file is there, and to the last byte what its address says.

    Raises:
        OtherFormat: another version wrote it.
    """
    try:
        content = path.read_bytes()
        tensors = {name: _raw(**entry) for name, entry in deserialize(content)}  # type: ignore[no-untyped-call]
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])["__metadata__"]
        check(header, path, is_whole=is_sealed(header) and header["digest"] == digest_of(header["tree"], tensors))
    except OtherFormat:
        raise
    except (UserError, SafetensorError, OSError, ValueError, KeyError):
        return False
    return True


def _raw(*, dtype: str, shape: list[int], data: bytearray) -> RawTensor:
    return RawTensor(f"torch.{_TYPES[dtype]}", tuple(shape), data)


def digest_of(text: str, tensors: Mapping[str, RawTensor]) -> str:
    """Returns the SHA-256 of a text and of tensors with their names, types and shapes."""
    digest = hashlib.sha256(text.encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.type} {tensor.shape}".encode())
        digest.update(tensor.content)
    return digest.hexdigest()


def sealed(header: Mapping[str, str]) -> dict[str, str]:
    """Returns the header with the seal over what it says."""
    return {**header, "seal": _seal(header)}


def is_sealed(header: Mapping[str, str]) -> bool:
    """Returns whether the header says what it said when it was sealed."""
    return header.get("seal") == _seal(header)


def check(header: Mapping[str, str], path: Path, *, is_whole: bool) -> None:
    """Refuses a file that is not what its address says.

    Args:
        header: of the file.
        path: of the file.
        is_whole: whether it matches its digest and its seal, as far as they were compared.

    Raises:
        DamagedFile: it does not, or belongs to another address.
        OtherFormat: another version wrote it.
    """
    is_first_format = "digest" in header and "seal" not in header
    check_format(header.get("format"), path, is_whole=is_whole or is_first_format)
    if not is_whole:
        raise DamagedFile(f"expected the checkpoint {path} to match its own digest, found other content; {MEND}")
    if header["place"] != address_of(path):
        raise DamagedFile(f"expected {path} to be {address_of(path)}, found that it is {header['place']}; {MEND}")


def _seal(header: Mapping[str, str]) -> str:
    covered = _SEALED.get(header.get("format", ""), ())
    return hashlib.sha256(json.dumps([header.get(name) for name in covered]).encode()).hexdigest()
