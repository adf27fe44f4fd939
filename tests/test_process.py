import ctypes
import gc
import os
import subprocess
import sys
import weakref
from types import SimpleNamespace

import pytest

from lmc_lab import process
from lmc_lab.process import heavy_imports, num_cores, num_gpus, visible_gpus


class Garbage:
    """What refers to itself is found by the collector alone."""


@pytest.fixture(autouse=True)
def unfrozen():
    gc.unfreeze()
    yield
    gc.unfreeze()


def test_imports_are_not_searched_for_garbage(monkeypatch):
    monkeypatch.delitem(sys.modules, "wave", raising=False)
    with heavy_imports():
        assert not gc.isenabled()
        import wave  # noqa: F401
    assert gc.isenabled() and gc.get_freeze_count() > 0


def test_what_an_earlier_job_has_left_is_garbage_still():
    with heavy_imports():
        pass
    assert gc.isenabled() and gc.get_freeze_count() == 0


def test_what_an_earlier_job_has_left_is_not_kept_with_the_imports_of_a_later_one(monkeypatch):
    monkeypatch.delitem(sys.modules, "wave", raising=False)
    gc.freeze()  # the imports of the first job
    gc.disable()
    garbage = Garbage()
    garbage.itself, left = garbage, weakref.ref(garbage)
    del garbage
    with heavy_imports():
        import wave  # noqa: F401
    gc.enable()
    assert left() is None and gc.get_freeze_count() > 0


def test_a_failed_import_leaves_the_collector_as_it_was():
    with pytest.raises(ImportError), heavy_imports():
        import lmc_lab.nowhere  # noqa: F401
    assert gc.isenabled()


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="needs glibc")
def test_memory_that_is_freed_is_taken_again_without_page_faults():
    script = """
import resource, sys
from lmc_lab.process import keep_freed_memory
if sys.argv[1] == "keep":
    keep_freed_memory()

def step():  # sizes of activations, freed in the order in which a backward pass does
    made = [bytearray(size * 2**20) for size in (1, 2, 4, 3, 1, 2, 4, 8)]
    while made:
        made.pop()

step(); step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
    kept, given_back = (
        int(subprocess.run([sys.executable, "-c", script, mode], capture_output=True, text=True, check=True).stdout)
        for mode in ("keep", "leave")
    )
    assert kept < given_back / 20


def test_a_process_that_computes_has_one_thread_and_does_not_hear_lightnings_advice():
    script = """
import logging, sys, warnings
logging.basicConfig(stream=sys.stdout, level=logging.INFO, format="%(message)s")
from lmc_lab.process import prepare_process
prepare_process()
import torch
from lightning.fabric.utilities.rank_zero import rank_zero_info as rank_zero_info_of_fabric
from lightning.pytorch.utilities import rank_zero_info
rank_zero_info("advice"), rank_zero_info_of_fabric("advice")
logging.getLogger("lightning.pytorch.trainer").info("a remark")
logging.getLogger("lightning.pytorch.trainer").error("an error")
logging.getLogger("lmc_lab").info("our own")
warnings.warn_explicit("a warning", UserWarning, "data_connector.py", 1, module="lightning.pytorch.trainer")
print(torch.get_num_threads())
"""
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert told.stdout.split("\n") == ["an error", "our own", "1", ""] and told.stderr == "ERROR: an error\n"


@pytest.mark.parametrize(("given", "found"), [(None, 3), ("2", 2), ("8", 3), ("2,4", 2), ("0", 3), ("many", 3)])
def test_cores_are_those_allowed_or_fewer_if_the_environment_says_so(monkeypatch, given, found):
    monkeypatch.setattr("os.sched_getaffinity", lambda process: {0, 1, 5})
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if given is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", given)
    assert num_cores() == found


def test_one_of_several_processes_has_its_share(monkeypatch):
    monkeypatch.setattr(process, "_share", None)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    process.take_cores(3)
    assert num_cores() == 3


def test_a_process_ends_after_what_it_waits_for():
    script = "import time; from lmc_lab.process import end_after; end_after(lambda: None); time.sleep(60)"
    assert subprocess.run([sys.executable, "-c", script], timeout=30).returncode == 1


@pytest.mark.parametrize(
    ("given", "expected"),
    [("0,1", ["0", "1"]), ("GPU-1f, 3", ["GPU-1f", "3"]), ("", []), ("-1", []), ("0,-1,1", ["0"]), (None, ["0", "1"])],
)
def test_gpus_are_those_that_cuda_may_see(monkeypatch, tmp_path, given, expected):
    for name in ("nvidia0", "nvidia5", "nvidiactl", "nvidia-uvm", "null"):
        (tmp_path / name).touch()
    monkeypatch.setattr(process, "_DEVICES", tmp_path)
    monkeypatch.setattr(process, "_torch_is_for_gpus", lambda: True)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if given is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", given)
    assert visible_gpus() == expected and num_gpus() == len(expected)


@pytest.mark.parametrize(
    ("cuda", "hip", "expected"), [("'13.0'", "None", ["0"]), ("None", "None", []), ("None", "'6.4'", ["0"])]
)
def test_a_torch_for_cpus_alone_sees_no_gpu(monkeypatch, tmp_path, cuda, hip, expected):
    package = tmp_path / "torch"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "version.py").write_text(f"cuda: Optional[str] = {cuda}\nhip: Optional[str] = {hip}\n")
    monkeypatch.setattr(process, "find_spec", lambda name: SimpleNamespace(origin=str(package / "__init__.py")))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    process._torch_is_for_gpus.cache_clear()
    try:
        assert visible_gpus() == expected
    finally:
        process._torch_is_for_gpus.cache_clear()


@pytest.mark.parametrize(
    ("gpus", "own", "expected"), [("0", None, ":4096:8"), ("", None, None), ("0", ":16:8", ":16:8")]
)
def test_sums_on_a_gpu_have_a_workspace_of_their_own(gpus, own, expected):
    """Of cuBLAS, whose sums may otherwise differ from call to call; in a process of its own, since it is one's setting."""
    code = (
        "import os; from lmc_lab.process import prepare_process; prepare_process(); "
        "print(os.environ.get('CUBLAS_WORKSPACE_CONFIG'))"
    )
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": gpus, **({"CUBLAS_WORKSPACE_CONFIG": own} if own else {})}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(expected)


def test_a_process_that_computes_does_not_hear_torchs_advice_on_vmap():
    script = """
import sys
from lmc_lab.process import prepare_process
if sys.argv[1] == "prepared":
    prepare_process()
import torch
from torch.nn import functional as F
print(torch.func.vmap(lambda x: F.multi_margin_loss(x, torch.tensor(0)))(torch.ones(2, 3)).tolist())
"""
    told = {
        mode: subprocess.run([sys.executable, "-c", script, mode], capture_output=True, text=True, check=True)
        for mode in ("prepared", "plain")
    }
    assert told["prepared"].stderr == "" and "There is a performance drop" in told["plain"].stderr
    assert told["prepared"].stdout == told["plain"].stdout
