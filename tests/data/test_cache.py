import subprocess
import sys

import numpy as np

from lmc_lab.data.cache import decoded_once

DECODE_AND_TELL = """
import sys, time
from pathlib import Path
import numpy as np
from lmc_lab.data.cache import decoded_once
folder = Path(sys.argv[1])
def decode():
    with (folder / "calls").open("a") as file:
        file.write("x")
    time.sleep(0.3)
    return {"numbers": np.arange(1000)}
assert decoded_once(folder / "data", decode).arrays["numbers"].sum() == 499_500
"""


def test_many_processes_decode_once(tmp_path):
    command = [sys.executable, "-c", DECODE_AND_TELL, str(tmp_path)]
    processes = [subprocess.Popen(command) for _ in range(4)]
    assert [process.wait() for process in processes] == [0] * 4
    assert (tmp_path / "calls").read_text() == "x"


def test_arrays_of_a_killed_decoder_are_decoded_again(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "numbers.npy").write_bytes(b"half")
    assert decoded_once(folder, lambda: {"numbers": np.ones(3)}).arrays["numbers"].tolist() == [1, 1, 1]


def test_the_digest_is_that_of_the_content(tmp_path):
    digests = [
        decoded_once(tmp_path / name, lambda value=value: {"a": np.array([value])}).digest
        for name, value in (("one", 1), ("same", 1), ("other", 2))
    ]
    assert digests[0] == digests[1] != digests[2]
