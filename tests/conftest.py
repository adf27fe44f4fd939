import os
from pathlib import Path

import pytest
import torch

REPOSITORY = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder with CIFAR-10 and the waveform."""
    for folder in (os.environ.get("LMC_DATA_DIR"), REPOSITORY.parent / "shared" / "data"):
        if folder and (Path(folder) / "cifar10").is_dir():
            return Path(folder)
    pytest.skip("needs CIFAR-10 in LMC_DATA_DIR")


@pytest.fixture(scope="session")
def shared_cache(tmp_path_factory) -> Path:
    """Decoded data, made once for all tests of a worker."""
    return tmp_path_factory.mktemp("cache")
