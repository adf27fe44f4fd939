import torch

from lmc_lab.landscape.mixtures import alone, between_kinds, mixtures


def test_a_mixture_has_half_of_its_corners_of_the_first_kind():
    found = mixtures("a", ["b", "c"], 5)
    assert list(found) == ["a_and_b", "a_and_c", "mixed"]
    assert found["a_and_c"] == [("a", 0), ("a", 1), ("c", 2), ("c", 3), ("c", 4)]
    assert found["mixed"] == [("a", 0), ("b", 1), ("c", 2), ("a", 3), ("b", 4)]
    assert alone("b", 3) == [("b", 0), ("b", 1), ("b", 2)]


def test_all_kinds_are_mixed_where_there_are_more_than_two_and_corners_for_them():
    assert list(mixtures("a", ["b"], 6)) == ["a_and_b"]
    assert list(mixtures("a", ["b", "c"], 2)) == ["a_and_b", "a_and_c"]
    assert mixtures("a", [], 4) == {}


def test_pairs_of_different_kinds_are_those_of_a_mixture():
    different = between_kinds([("a", 0), ("b", 1), ("b", 2)])
    assert torch.equal(different, torch.tensor([[0, 1, 1], [1, 0, 0], [1, 0, 0]], dtype=torch.bool))
    assert not between_kinds(alone("a", 3)).any()
