import gc
import subprocess
import sys

import pytest

from lmc_lab.process import heavy_imports


def test_imports_are_not_searched_for_garbage():
    gc.unfreeze()
    try:
        with heavy_imports():
            assert not gc.isenabled()
            made = [[] for _ in range(1000)]
        assert gc.isenabled() and gc.get_freeze_count() > len(made)
    finally:
        gc.unfreeze()


def test_a_failed_import_leaves_the_collector_as_it_was():
    with pytest.raises(ImportError), heavy_imports():
        import lmc_lab.nowhere  # noqa: F401
    gc.unfreeze()
    assert gc.isenabled()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's")
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
