import random

import numpy as np

from lmc_lab.data import mnist1d


def test_signals_are_those_of_the_package_and_the_global_generators_stay(tmp_path):
    np.random.seed(5), random.seed(5)
    expected = np.random.rand(), random.random()
    np.random.seed(5), random.seed(5)
    dataset = mnist1d.load(cache_dir=tmp_path)
    assert (np.random.rand(), random.random()) == expected
    assert dataset.train.batch(slice(0, 3))[0].shape == (3, 1, 40)
    assert len(dataset.train) == 4000 and len(dataset.test) == 1000
    assert dataset.digest == mnist1d.load(cache_dir=tmp_path / "again").digest


def test_a_subset_is_the_first_examples(tmp_path):
    whole = mnist1d.load(cache_dir=tmp_path)
    part = mnist1d.load(cache_dir=tmp_path, num_train=70)
    assert len(part.train) == 70
    assert (part.train.inputs == whole.train.inputs[:70]).all()
