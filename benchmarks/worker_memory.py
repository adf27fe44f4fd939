"""The memory of training workers: the data are mapped from one file, not copied into each."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks import suite
from benchmarks.common import Options, Row, megabytes, skipped
from lmc_lab.files import read_json
from lmc_lab.runs.paths import RunFolder
from lmc_lab.stages import command

_WHAT = "memory of two training workers"
_PROC = Path("/proc")
_NUM_STEPS = 100_000  # they are stopped long before


@dataclass(frozen=True)
class Memory:
    """Bytes of a process, or of a part of it."""

    resident: int
    proportional: int  # what is shared by n processes counts 1/n
    own: int  # in no other process: what would be free if this one ended
    written: int  # changed by this process, and therefore a copy


def rows(options: Options) -> list[Row]:
    """Returns rows for the whole of each worker and for the data in it."""
    if not (_PROC / "self" / "smaps_rollup").exists():
        return [skipped(_WHAT, "needs Linux's /proc")]
    with TemporaryDirectory(dir=options.folder, ignore_cleanup_errors=True) as path:
        overrides = ["task=lenet_m", f"task.max_steps={_NUM_STEPS}", "split_step=0", suite.output_in(path)]
        experiment = suite.build(*overrides)
        images = experiment.task.dataset.train.inputs.nbytes
        folders = [experiment.split_folder(0).branch(seed) for seed in (0, 1)]
        with _training(overrides, folder=path):
            pids = [_pid_after(folder, step=options.pick(200, 20)) for folder in folders]
            whole = [_memory(_PROC / str(pid) / "smaps_rollup") for pid in pids]
            data = [_memory(_PROC / str(pid) / "smaps", file="train_images.npy") for pid in pids]
    shares = "proportional: what n processes share counts 1/n; own: in no other process"
    mapped = f"mapped from a file of {megabytes(images)}, as far as touched; written pages would be copies"
    return [
        Row(what=f"{_WHAT}, LeNet-5", ours=_shown(whole, "resident", "proportional", "own"), note=shares),
        Row(what="of it the training images", ours=_shown(data, "resident", "proportional", "written"), note=mapped),
    ]


@contextmanager
def _training(overrides: Sequence[str], *, folder: str) -> Iterator[None]:
    """Runs a sweep of two branches meanwhile; what it leaves behind when it is ended lies in `folder`."""
    arguments = command("train", *overrides, "seed=0,1", "hydra.launcher.n_jobs=2", multirun=True)
    silent, environment = subprocess.DEVNULL, os.environ | {"TMPDIR": folder}
    process = subprocess.Popen(arguments, stdout=silent, stderr=silent, env=environment, start_new_session=True)
    try:
        yield
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait()


def _pid_after(folder: RunFolder, *, step: int, seconds: float = 180) -> int:
    """Returns the process that trains in `folder`, once it has come to `step`."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        status = read_json(folder.status)
        if status.get("step", 0) >= step:
            return int(status["pid"])
        time.sleep(0.1)
    raise TimeoutError(f"expected {folder.path.name} to come to step {step} within {seconds} seconds, found {status}")


def _memory(path: Path, file: str = "") -> Memory:
    """Returns the sums over the mappings in a smaps file, or over those of `file` alone."""
    sums = dict.fromkeys(("Rss", "Pss", "Private_Clean", "Private_Dirty"), 0)  # bytes
    is_counted = False
    for line in path.read_text().splitlines():
        name, *rest = line.split()
        if not name.endswith(":"):  # an address range, and the file mapped there
            is_counted = line.endswith(file)
        elif is_counted and name[:-1] in sums:
            sums[name[:-1]] += int(rest[0]) * 1024
    private = sums["Private_Clean"] + sums["Private_Dirty"]
    return Memory(sums["Rss"], sums["Pss"], private, sums["Private_Dirty"])


def _shown(memories: Sequence[Memory], *quantities: str) -> str:
    """Returns the named fields of all processes."""
    return ", ".join(
        f"{quantity} {' and '.join(megabytes(getattr(memory, quantity)) for memory in memories)}"
        for quantity in quantities
    )
