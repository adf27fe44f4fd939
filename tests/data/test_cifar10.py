import pickle

import numpy as np
import pytest
import torch
from torchvision.datasets import CIFAR10

from lmc_lab.data import cifar10
from lmc_lab.errors import UserError


def test_parquet_files_are_decoded_to_all_pictures(real_data, shared_cache):
    dataset = cifar10.load(data_dir=real_data, cache_dir=shared_cache)
    assert len(dataset.train) == 50_000 and len(dataset.test) == 10_000
    assert dataset.train.targets.bincount().tolist() == [5000] * 10
    images, _ = dataset.train.batch(slice(0, 5000))
    assert images.shape == (5000, 3, 32, 32) and images.is_contiguous(memory_format=torch.channels_last)
    assert images.mean().abs() < 0.05 and abs(images.std() - 1) < 0.05


def test_normalisation_is_that_of_torchvision(real_data, shared_cache):
    from torchvision.transforms.v2.functional import normalize

    dataset = cifar10.load(data_dir=real_data, cache_dir=shared_cache, num_train=10)
    stored = dataset.train.inputs
    expected = normalize(stored.permute(0, 3, 1, 2).float() / 255, (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616))
    torch.testing.assert_close(dataset.train.batch(slice(0, 10))[0], expected, rtol=1e-5, atol=1e-5)


def test_a_torchvision_folder_is_read_where_there_is_no_parquet(tmp_path, monkeypatch):
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    pixels = (np.arange(2 * 3072) % 251).astype(np.uint8).reshape(2, 3072)
    for name, _ in [*CIFAR10.train_list, *CIFAR10.test_list]:
        (folder / name).write_bytes(pickle.dumps({"data": pixels, "labels": [3, 4]}))
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": list("abcdefghij")}))
    monkeypatch.setattr(
        "torchvision.datasets.cifar.check_integrity", lambda *_: True
    )  # the md5 sums are those of the real pictures
    dataset = cifar10.load(data_dir=tmp_path, cache_dir=tmp_path / "cache")
    assert len(dataset.train) == 10 and dataset.train.targets[:2].tolist() == [3, 4]
    assert dataset.train.inputs[0, 0, 0].tolist() == pixels[0].reshape(3, 32, 32)[:, 0, 0].tolist()


def test_no_data_and_no_network_is_one_sentence(tmp_path, monkeypatch):
    def no_network(*arguments, **keywords):
        raise OSError("Network is unreachable")

    monkeypatch.setattr("torchvision.datasets.cifar.download_and_extract_archive", no_network)
    with pytest.raises(UserError, match=r"expected CIFAR-10 under .* found none.*put train-\*\.parquet") as error:
        cifar10.load(data_dir=tmp_path, cache_dir=tmp_path / "cache")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("count", [0, 50_001])
def test_a_subset_that_does_not_exist_is_refused(real_data, shared_cache, count):
    with pytest.raises(UserError, match="expected num_train between 1 and 50000"):
        cifar10.load(data_dir=real_data, cache_dir=shared_cache, num_train=count)
