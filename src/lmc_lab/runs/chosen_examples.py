"""Which examples the branches of a split see: chosen once, and kept beside them.

What the choice follows from, the endpoints of other branches, say, may be made again on another machine, which rounds
otherwise. All branches of a split see the same examples even then, and a killed one goes on with those that it began with.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from lmc_lab.files import peek_json, read_json_or_set_aside, write_json
from lmc_lab.locks import locked
from lmc_lab.runs.paths import SplitFolder, address_of
from lmc_lab.runs.status import NoBranches


def stored_choice(folder: SplitFolder, data_digest: str) -> Tensor | None:
    """Returns the indices of the training examples that the branches in a folder see, int64 (n,); None if nobody chose.

    Args:
        folder: of the split.
        data_digest: of the data whose examples they are.
    """
    return _index_in(peek_json(folder.examples, address=address_of(folder.examples)), data_digest)


def _index_in(content: Mapping[str, Any], data_digest: str) -> Tensor | None:
    return torch.tensor(content["index"], dtype=torch.int64) if content.get("data") == data_digest else None


def choose_once(folder: SplitFolder, data_digest: str, choose: Callable[[], Tensor]) -> Tensor:
    """Returns the indices that are kept in a folder; where there are none yet, it keeps those of `choose`.

    Raises:
        NoBranches: none of them are chosen.
    """
    index = stored_choice(folder, data_digest)
    if index is None:
        folder.path.mkdir(parents=True, exist_ok=True)
        with locked(folder.examples_lock):
            address = address_of(folder.examples)
            index = _index_in(read_json_or_set_aside(folder.examples, address=address), data_digest)
            if index is None:
                index = choose()
                write_json(folder.examples, {"data": data_digest, "index": index.tolist()}, address=address)
    if not len(index):
        raise NoBranches(folder)
    return index
