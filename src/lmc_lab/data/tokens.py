"""Next-token prediction on a text, or on a file of token ids."""

import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from lmc_lab.data.cache import NewArrays
from lmc_lab.data.examples import Dataset, Examples, take
from lmc_lab.data.paths import existing_file, identity_of
from lmc_lab.data.source import as_they_are
from lmc_lab.data.summary import counts_in_words, written_with_summary
from lmc_lab.errors import UserError, one_line
from lmc_lab.values import Count, Share

Vocabulary = Literal["bytes", "characters"]

_BLOCK = 2**20  # tokens that are written at a time
_IDS = (".npy", ".npz")
_NO_TEXTS = (".bin", ".dat", ".parquet", ".pkl", ".pt", ".pth", ".safetensors")  # whose bytes would be read as one


def load(
    *,
    data_dir: Path,
    cache_dir: Path,
    path: str,
    test_path: str | None = None,
    length: Count = 64,
    vocabulary: Vocabulary = "bytes",
    test_share: Share | None = None,
    num_train: Count | None = None,
    num_test: Count | None = None,
) -> Dataset:
    """Returns windows of a sequence of tokens as inputs (N, length), and the token after each as targets (N, length).

    Windows lie end to end, so that each token is predicted once; what is too short for one more is left out. Inputs and targets
    are views of one array, int64, mapped from disk.

    Args:
        data_dir: Where paths begin, unless they are absolute.
        cache_dir: Holds the tokens.
        path: A text, or a ``.npy`` or ``.npz`` file of one array of token ids (n,).
        test_path: The same for the test set.
        length: Of a window.
        vocabulary: Of a text. ``bytes``: 256 tokens. ``characters``: those of the texts, in the order of their code points,
            UTF-8.
        test_share: The share of the tokens, the last of them, that becomes a test set where there is no `test_path`.
        num_train: How many windows are used, drawn once and for all; all for None.
        num_test: The same for the test.

    Raises:
        UserError: there is no such file, it cannot be read as said, or is too short for a window.
    """
    given = {"train": path} | ({} if test_path is None else {"test": test_path})
    files = {subset: existing_file(Path(data_dir) / name) for subset, name in given.items()}
    for file in files.values():
        _check_suffix(file)
    if test_path is not None and test_share is not None:
        raise UserError(
            f"expected task.data.test_share=null beside test_path, found {test_share}; set one of them to null"
        )
    folder = Path(cache_dir) / f"tokens-{identity_of(list(files.values()), vocabulary)}"
    data = written_with_summary(
        folder,
        lambda new: _write(new, files, vocabulary),
        lambda arrays: _in_words([arrays[subset] for subset in files]),
    )
    tokens = {subset: torch.from_numpy(data.arrays[subset]) for subset in files}
    if test_share is not None:
        cut = len(tokens["train"]) - round(test_share * len(tokens["train"]))
        tokens = {"train": tokens["train"][:cut], "test": tokens["train"][cut:]}
    counts = {"train": num_train, "test": num_test}
    windows = {subset: _windows(part, length, counts[subset], subset) for subset, part in tokens.items()}
    return Dataset(windows["train"], windows.get("test"), data.digest)


def _in_words(subsets: Sequence[np.ndarray]) -> str:
    largest = max((int(part.max()) for part in subsets if len(part)), default=None)
    return f"{counts_in_words(subsets)} tokens, the largest {largest}"


def _check_suffix(file: Path) -> None:
    if file.suffix in _NO_TEXTS:
        raise UserError(
            f"expected a text or a .npy file of token ids, found {file}, whose bytes would be read as a text; save ids by "
            "numpy.save as .npy, or call the file .txt if it is a text"
        )


def _windows(tokens: Tensor, length: int, count: int | None, subset: str) -> Examples:
    """Returns windows of tokens (n,) with what follows each token."""
    num = (len(tokens) - 1) // length
    if num < 1:
        raise UserError(
            f"expected {length + 1} tokens or more in {subset}, found {len(tokens)}; lower task.data.length or add to it"
        )
    inputs, targets = (tokens[start : start + num * length].view(num, length) for start in (0, 1))
    examples = Examples(inputs, targets, as_they_are)
    return examples if count is None else examples.draw(len(take(examples, count, f"task.data.num_{subset}")))


def _write(new: NewArrays, files: Mapping[str, Path], vocabulary: Vocabulary) -> None:
    """Writes the tokens of each file, int64 (n,)."""
    texts = [file for file in files.values() if file.suffix not in _IDS]
    known = np.unique(np.concatenate(list(map(_characters, texts)))) if texts and vocabulary == "characters" else None
    for subset, file in files.items():
        tokens = _encoded(file, known) if file in texts else _ids(file)
        with new.rows(subset, tokens.shape, np.dtype(np.int64)) as append:
            for start in range(0, len(tokens), _BLOCK):
                append(tokens[start : start + _BLOCK])


def _encoded(file: Path, known: np.ndarray | None) -> np.ndarray:
    """Returns the tokens of a text: its bytes, or where its characters are among those that are `known`, in their order."""
    return np.fromfile(file, np.uint8) if known is None else np.searchsorted(known, _characters(file))


def _characters(file: Path) -> np.ndarray:
    """Returns the code points of a text, uint32 (n,)."""
    try:
        return np.frombuffer(file.read_bytes().decode().encode("utf-32-le"), np.uint32)
    except UnicodeDecodeError as error:
        raise UserError(
            f"expected UTF-8 in {file}, found a byte that is none at {error.start}; convert it, or set "
            "task.data.vocabulary=bytes"
        ) from error


def _only_name(file: Path, names: Sequence[str]) -> str:
    if len(names) != 1:
        found = f"{len(names)} ({', '.join(names)})" if names else "none"
        raise UserError(
            f"expected one array of token ids in {file}, found {found}; save it alone, by numpy.save as .npy"
        )
    return names[0]


def _ids(file: Path) -> np.ndarray:
    """Returns the token ids in a file of one array, mapped where it can be."""
    try:
        content = np.load(file, mmap_mode="r", allow_pickle=False)
        tokens = content[_only_name(file, content.files)] if isinstance(content, np.lib.npyio.NpzFile) else content
    except (OSError, ValueError, EOFError, IndexError, zipfile.BadZipFile) as error:
        raise UserError(
            f"expected an array of token ids in {file}, found a file that cannot be read ({one_line(error)}); write it again"
        ) from error
    if tokens.ndim != 1 or tokens.dtype.kind not in "iu":
        raise UserError(
            f"expected token ids, whole numbers (n,), in {file}, found {tokens.dtype} {tokens.shape}; write it otherwise"
        )
    return tokens
