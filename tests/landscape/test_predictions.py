from itertools import combinations, product

import numpy as np
import pytest
import torch
from torch import Tensor

from landscape.slow_references import correct_sets, intersection, mean_intersection_size
from lmc_lab.landscape.predictions import (
    SharedCorrect,
    draw_examples,
    equal_count_control,
    inter_mode,
    intra_mode,
    pack_mask,
    shrinkage,
    unpack_mask,
)


def random_masks(*shape: int, seed: int = 0, p: float = 0.7) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) < p


def as_set(mask: Tensor) -> set[int]:
    return set(mask.nonzero().flatten().tolist())


@pytest.mark.parametrize("num_examples", [1, 7, 8, 9, 64, 1001])
def test_packing_is_undone_by_unpacking_and_is_numpys(num_examples: int) -> None:
    mask = random_masks(num_examples)
    packed = pack_mask(mask)
    assert packed.dtype == torch.uint8
    assert packed.tolist() == np.packbits(mask.numpy(), bitorder="little").tolist()
    assert torch.equal(unpack_mask(packed, num_examples), mask)


def test_masks_of_all_endpoints_are_packed_at_once() -> None:
    masks = random_masks(2, 5, 13)
    assert pack_mask(masks).shape == (2, 5, 2)
    assert torch.equal(unpack_mask(pack_mask(masks), 13), masks)


def test_what_cannot_be_packed_or_unpacked_is_refused() -> None:
    with pytest.raises(ValueError, match="torch.bool"):
        pack_mask(torch.ones(4))
    with pytest.raises(ValueError, match="for 17 examples"):
        unpack_mask(torch.zeros(2, dtype=torch.uint8), 17)


def test_intra_and_inter_mode_are_section_4s_sets() -> None:
    modes = [random_masks(4, 200, seed=j, p=0.8) for j in range(3)]
    intra = [intersection(correct_sets(masks)) for masks in modes]
    assert [as_set(intra_mode(masks)) for masks in modes] == intra
    assert as_set(inter_mode([intra_mode(masks) for masks in modes])) == intersection(intra)


def test_shrinkage_is_the_mean_over_all_choices() -> None:
    masks = random_masks(6, 50)
    sets = correct_sets(masks)
    expected = [float(mean_intersection_size(sets, p) / 50) for p in range(1, 7)]
    assert shrinkage(masks).tolist() == pytest.approx(expected, rel=1e-14)
    assert float(shrinkage(masks)[-1]) == float(intra_mode(masks).double().mean())


def test_shrinkage_of_many_endpoints_never_grows_and_stays_a_share() -> None:
    curve = shrinkage(random_masks(300, 2000, p=0.99))
    assert float(curve[0]) == pytest.approx(0.99, abs=0.01)
    assert bool((curve.diff() <= 0).all())
    assert shrinkage(torch.ones(5, 10, dtype=torch.bool)).tolist() == [1.0] * 5
    assert shrinkage(torch.zeros(5, 10, dtype=torch.bool)).tolist() == [0.0] * 5
    with pytest.raises(ValueError, match="P, N"):
        shrinkage(torch.ones(0, 10, dtype=torch.bool))


def test_the_control_is_the_mean_over_all_even_choices() -> None:
    modes = [random_masks(4, 60, seed=j, p=0.8) for j in range(2)]
    pairs = [combinations(correct_sets(masks), 2) for masks in modes]
    sizes = [len(intersection([*left, *right])) / 60 for left, right in product(*(list(p) for p in pairs))]
    control = equal_count_control(modes, generator=torch.Generator().manual_seed(0), num_draws=2000)
    assert control.num_endpoints == 4
    assert control.draws.shape == (2000,)
    assert set(control.draws.tolist()) == set(sizes)
    assert control.mean == pytest.approx(sum(sizes) / len(sizes), abs=0.005)
    assert control.mean == pytest.approx(float(control.draws.mean()))


def test_the_control_of_one_mode_is_its_intra_mode_set() -> None:
    masks = random_masks(5, 40)
    control = equal_count_control([masks], generator=torch.Generator().manual_seed(0), num_draws=3)
    assert control.draws.tolist() == [float(intra_mode(masks).double().mean())] * 3


def test_a_remainder_goes_to_modes_in_turn() -> None:
    # An endpoint of mode j is wrong on its own example only: the size says how many endpoints were intersected.
    modes = [~torch.eye(15, dtype=torch.bool)[5 * j : 5 * j + 5] for j in range(3)]
    control = equal_count_control(modes, generator=torch.Generator().manual_seed(0), num_draws=20)
    assert control.draws.tolist() == pytest.approx([10 / 15] * 20)


def test_modes_of_other_examples_are_refused() -> None:
    generator = torch.Generator()
    with pytest.raises(ValueError, match="equal N"):
        equal_count_control([random_masks(2, 10), random_masks(2, 11)], generator=generator)
    with pytest.raises(ValueError, match="equal N"):
        equal_count_control([], generator=generator)
    with pytest.raises(ValueError, match="num_draws"):
        equal_count_control([random_masks(2, 10)], generator=generator, num_draws=0)


def test_shared_correct_holds_the_masks_and_what_follows_from_them() -> None:
    masks = random_masks(5, 40)
    shared = SharedCorrect(masks)
    assert torch.equal(shared.intra_mode, masks.all(dim=0))
    assert torch.equal(shared.shares, shrinkage(masks)) and len(shared.shares) == 5


def test_examples_are_drawn_of_those_that_all_and_that_not_all_have_right() -> None:
    masks = random_masks(4, 300, p=0.9)
    drawn = draw_examples(masks, 20, generator=torch.Generator().manual_seed(0))
    shared = intra_mode(masks)[drawn]
    assert shared.tolist() == [True] * 20 + [False] * 20
    assert all(len(half.unique()) == 20 and half.equal(half.sort().values) for half in drawn.split(20))
    every = draw_examples(masks, 300, generator=torch.Generator().manual_seed(0))
    assert sorted(every.tolist()) == list(range(300)) and int(intra_mode(masks)[every].int().diff().abs().sum()) == 1
    alike = masks.clone()
    alike[0, drawn[0]] = False
    others = draw_examples(alike, 20, generator=torch.Generator().manual_seed(0))
    assert len(set(others.tolist()) & set(drawn.tolist())) >= 38
    assert not len(draw_examples(masks, 0, generator=torch.Generator().manual_seed(0)))
