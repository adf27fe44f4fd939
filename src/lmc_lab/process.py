"""Settings of the whole process: garbage collection, memory, threads, what Lightning says, cores, GPUs, and when it ends."""

import ctypes
import gc
import logging
import os
import platform
import re
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from itertools import takewhile
from pathlib import Path

from lmc_lab import termination

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of malloc.h
_LARGEST_MMAP_THRESHOLD = 32 * 2**20  # that glibc takes
_LARGEST_INT = 2**31 - 1

# Lightning's loggers from which a run would hear something.
_TALKING = (
    "lightning.fabric.utilities",
    "lightning.pytorch.callbacks",
    "lightning.pytorch.core",
    "lightning.pytorch.loops",
    "lightning.pytorch.trainer",
    "lightning.pytorch.utilities",
)


def prepare_process() -> None:
    """Sets this process up for training or measuring; called by each job of an entry point, in workers as well."""
    if num_gpus():
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # without it the order of its sums may change
    with heavy_imports():
        import torch

    torch.set_num_threads(1)  # one core a process: two threads collapse when a core is shared
    keep_freed_memory()
    _quiet_lightning()
    leave_out_advice_on_vmap()


@contextmanager
def heavy_imports() -> Iterator[None]:
    """Switches the garbage collector off in this context, and keeps what is imported there out of later collections.

    Of what torch and Lightning make hardly anything is garbage. To look for it took 0.6 of 3.2 s of importing them, and
    0.7 s again at the end of the process.
    """
    if gc.get_freeze_count():
        gc.collect()  # what earlier jobs of this process have left would be kept with the imports; quick, without these
    num_modules, was_enabled = len(sys.modules), gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if len(sys.modules) > num_modules:
            gc.freeze()
        if was_enabled:
            gc.enable()
        termination.end_if_requested()  # after an error as well: a module that lost an exit cannot be imported again


def keep_freed_memory() -> None:
    """Lets the C library keep memory that is freed, for the next to ask for some.

    By itself glibc gives the activations of a training step back to the system and asks for them again a step later:
    1,100 page faults and a tenth of the time of a step of LeNet. Blocks of more than 32 MB still come and go; smaller
    ones stay with the process. Where the C library has no `mallopt`, nothing changes.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, _LARGEST_MMAP_THRESHOLD)
        mallopt(_TRIM_THRESHOLD, _LARGEST_INT)


def _quiet_lightning() -> None:
    """Silences what Lightning says on every start, and its advice about loaders and devices that does not apply here.

    By the loggers of its subpackages: those above them get their level when Lightning is imported, perhaps only later.
    """
    for name in _TALKING:
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning.*")


def leave_out_advice_on_vmap() -> None:
    """Leaves out what torch says of operations that `vmap` has to do one by one, on a CPU attention: it costs time alone."""
    warnings.filterwarnings("ignore", message="There is a performance drop")


def end_after(wait: Callable[[], None]) -> None:
    """Ends this process at once, whatever it does, when `wait` returns, which is called in a thread of its own."""

    def watch() -> None:
        wait()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def num_allowed_cores() -> int:
    """Returns how many cores the system lets this process run on."""
    return len(os.sched_getaffinity(0))


_share: int | None = None


def take_cores(number: int) -> None:
    """Makes `number` what `num_cores` returns from now on: the share of a process that is one of several."""
    global _share
    _share = number


def num_cores() -> int:
    """Returns how many cores this process is to use: its share, what ``OMP_NUM_THREADS`` says, or all that are allowed."""
    if _share is not None:
        return _share
    given = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0]
    allowed = num_allowed_cores()
    return min(int(given), allowed) if given.isdecimal() and int(given) else allowed


def processor() -> str:
    """Returns the name of this machine's processor."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


_VISIBLE_GPUS = "CUDA_VISIBLE_DEVICES"
_DEVICES = Path("/dev")


def visible_gpus() -> list[str]:
    """Returns the GPUs that this process may use, by the names that ``CUDA_VISIBLE_DEVICES`` has for them; without torch.

    A torch that was built for CPUs alone uses none.
    """
    names = _visible_devices()
    return names if names and _torch_is_for_gpus() else []


def _visible_devices() -> list[str]:
    given = os.environ.get(_VISIBLE_GPUS)
    if given is not None:  # CUDA sees those in front of the first that is none
        return list(takewhile(lambda name: name not in ("", "-1"), map(str.strip, given.split(","))))
    found = [path for path in _DEVICES.glob("nvidia*") if path.name.removeprefix("nvidia").isdecimal()]
    return list(map(str, range(len(found))))


@cache
def _torch_is_for_gpus() -> bool:
    """Returns whether torch was built with CUDA, or ROCm in its place; its file with versions says so without an import."""
    spec = find_spec("torch")
    if spec is None or spec.origin is None:
        return False
    versions = Path(spec.origin).with_name("version.py").read_text()
    return any(value != "None" for value in re.findall(r"^(?:cuda|hip)\b.*=\s*(\S+)$", versions, flags=re.MULTILINE))


def num_gpus() -> int:
    """Returns how many GPUs this process may use."""
    return len(visible_gpus())


def take_gpu(name: str) -> None:
    """Makes a GPU the only one that this process sees, before CUDA has been used."""
    os.environ[_VISIBLE_GPUS] = name
