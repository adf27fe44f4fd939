"""What needs no training any more: seen from the files alone, and without torch, which takes longer to import.

Nothing is changed here, and no lock taken: files are replaced as a whole, and who finds one that is not what it should be has
the run trained, which looks at it under the run's lock.
"""

from collections.abc import Iterable

from lmc_lab.errors import UserError
from lmc_lab.files import peek_json
from lmc_lab.runs import seal
from lmc_lab.runs.curve_check import whole_curve
from lmc_lab.runs.paths import RunFolder, RunPaths, SplitFolder, address_of
from lmc_lab.runs.split import Split
from lmc_lab.runs.status import peek_status


def is_reached(split: Split, paths: RunPaths) -> bool:
    """Returns whether a split is published, and the trunk's states at steps 0 and k are undamaged.

    Raises:
        OtherFormat: another version wrote it.
    """
    trunk = paths.trunk(split.trunk_seed)
    return split.is_published(split.folder(paths)) and all(seal.is_whole(trunk.step(step)) for step in (0, split.step))


def is_finished(folder: RunFolder, steps: Iterable[int]) -> bool:
    """Returns whether a branch came to its end, and its curve, its endpoint and its states at `steps` on the way are whole.

    That it is the end which it was to reach, its address says.
    """
    status = peek_status(folder)
    if status.get("state") != "finished" or folder.resume.exists():
        return False
    on_the_way = [folder.step(step) for step in steps if step < status["step"]]
    try:
        whole_curve(folder)
        return all(seal.is_whole(path) for path in [folder.endpoint, *on_the_way])
    except UserError:
        return False


def is_choice_kept(folder: SplitFolder) -> bool:
    """Returns whether the file is whole that says which examples the branches of a split see, of whichever data."""
    return bool(peek_json(folder.examples, address=address_of(folder.examples)))
