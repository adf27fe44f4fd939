"""Files that are not what was written: recognised, or without effect; never a traceback, never another number."""

import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from lmc_lab.analyses.store import read_result
from lmc_lab.data.cache import decoded_once
from lmc_lab.errors import UserError
from lmc_lab.files import read_json, read_json_or_set_aside
from lmc_lab.runs import checkpoint
from lmc_lab.runs.curve_check import whole_curve
from lmc_lab.runs.paths import RunFolder, SplitFolder, address_of
from lmc_lab.runs.status import read_status
from soak.study import study_command

_MAX_TRIES = 3  # of the study's command, before it must have mended everything


def _flipped(content, chance):
    bit = chance.randrange(8 * len(content))
    return content[: bit // 8] + bytes([content[bit // 8] ^ 1 << bit % 8]) + content[bit // 8 + 1 :]


MUTATIONS = {
    "bit flipped": lambda content, sibling, chance: _flipped(content, chance),
    "truncated": lambda content, sibling, chance: content[: chance.randrange(1, len(content))],
    "emptied": lambda content, sibling, chance: b"",
    "garbage": lambda content, sibling, chance: chance.randbytes(chance.randrange(1, 2 * len(content))),
    "a sibling's": lambda content, sibling, chance: sibling,
    "deleted": lambda content, sibling, chance: None,
}


@dataclass(frozen=True)
class Kind:
    """One kind of file: where such files lie, and what the suite reads from one; what is falsy counts as none."""

    name: str
    pattern: str  # below the study's folder
    reader: Callable  # path of a whole file -> the function that reads what lies there

    def files(self, place):
        return sorted(place.glob(self.pattern))


def _checkpoint(path):
    return lambda: checkpoint.load(path).digest


def _status(path):
    folder = RunFolder(path.parent)
    return lambda: [read_status(folder).get(key) for key in ("state", "trained_to", "rows")]


def _json(path):
    return lambda: read_json_or_set_aside(path, address=address_of(path))


def _split(path):
    from lmc_lab.runs.split import Split

    split = Split(**read_json(path))
    return lambda: split.is_published(SplitFolder(path.parent))


def _curve(path):
    folder = RunFolder(path.parent)
    return lambda: whole_curve(folder)


def _rows(path):
    return lambda: read_result(path).rows.to_csv() if path.exists() else None


def _data(path):
    folder = path.parent
    arrays = {item.stem: np.load(item) for item in folder.glob("*.npy")}

    def read():
        found = decoded_once(folder, lambda: arrays)
        return found.digest, {name: array.tobytes() for name, array in found.arrays.items()}

    return read


KINDS = (
    Kind("state", "out/*/trunk-*/step-*.safetensors", _checkpoint),
    Kind("endpoint", "out/*/trunk-*/split-*/branch-*/endpoint.safetensors", _checkpoint),
    Kind("tensors beside rows", "out/*/results/*.safetensors", _checkpoint),
    Kind("status of a trunk", "out/*/trunk-*/status.json", _status),
    Kind("status of a branch", "out/*/trunk-*/split-*/branch-*/status.json", _status),
    Kind("split.json", "out/*/trunk-*/split-*/split.json", _split),
    Kind("manifest.json", "out/*/results/manifest.json", _json),
    Kind("loss curve", "out/*/trunk-*/**/metrics.csv", _curve),
    Kind("rows", "out/*/results/*.parquet", _rows),
    Kind("digest of data", "cache/*/digest.json", _data),
    Kind("decoded array", "cache/*/*.npy", _data),
)


def mutate(kind, path, place, chance):
    """Changes the file at `path` in one way, and returns its name."""
    siblings = [other for other in kind.files(place) if other != path]
    names = [name for name in MUTATIONS if siblings or name != "a sibling's"]
    name = chance.choice(names)
    content = path.read_bytes()
    sibling = chance.choice(siblings).read_bytes() if siblings else b""
    new = MUTATIONS[name](content, sibling, chance)
    if new is None:
        path.unlink()
    else:
        path.write_bytes(new)
    return name


def read_mutated(reference, place, tally, *, times, seed):
    """Mutates a file of each kind in turn, `times` in all, and reads it as the suite does."""
    shutil.copytree(reference.place, place)
    chance = random.Random(seed)
    for index in range(times):
        kind = KINDS[index % len(KINDS)]
        path = chance.choice(kind.files(place))
        read, whole = kind.reader(path), path.read_bytes()
        expected = read()
        name = mutate(kind, path, place, chance)
        try:
            found = read()
            outcome, wrong = _outcome(found, expected, path)
        except UserError as error:
            outcome, wrong = "recognised", "\n" in str(error) and f"more than a sentence: {error}"
        except Exception as error:
            outcome, wrong = "", f"{type(error).__name__}: {error} ({path.relative_to(place)}, number {index})"
        tally.judge(f"read: {kind.name}, {name}", outcome, wrong)
        _put_back(path, whole)


def _outcome(found, expected, path):
    if found == expected:
        return "recognised or harmless: the same content", None
    is_none = not found or (isinstance(found, list) and not any(found))
    return ("recognised", None) if is_none else ("", f"other content is read from {path.name}")


def _put_back(path, whole):
    for aside in path.parent.glob(f"{path.name}.corrupt*"):
        aside.unlink()
    path.write_bytes(whole)


def study_mutated(reference, place, tally, *, files, seed):
    """Mutates so many files of a finished study, then gives its command until it succeeds: the products are the same."""
    shutil.copytree(reference.place, place)
    chance = random.Random(seed)
    changed = []
    for kind in chance.sample(KINDS, min(files, len(KINDS))):
        path = chance.choice(kind.files(place))
        changed.append(f"{kind.name}, {mutate(kind, path, place, chance)}")
    wrong = "the command fails again and again"
    for _ in range(_MAX_TRIES):
        ended = reference.run(study_command(place), place)
        if ended.has_succeeded:
            wrong = reference.difference(place)
            break
        if not ended.is_sentence:
            wrong = ended.last_words
            break
        wrong = f"{_MAX_TRIES} times: {ended.last_words}"
    for name in changed:
        tally.add(f"study: {name}", "the same bits" if not wrong else "see the violations")
    if wrong:
        tally.violate(f"study: {'; '.join(changed)}", wrong)
