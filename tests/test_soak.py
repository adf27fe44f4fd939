"""A small part of each stage of the soak, against one study that nobody disturbed."""

import random
from dataclasses import replace

import pytest

from shell import warm_python
from soak import kills, mutations, races
from soak.study import undisturbed
from soak.tally import Tally

pytestmark = pytest.mark.timeout(600)  # five studies, on a machine that may be busy


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    return replace(undisturbed(tmp_path_factory.mktemp("soak") / "reference"), python=(warm_python(),))


@pytest.mark.long
def test_files_that_are_not_what_was_written_are_recognised(reference, tmp_path):
    tally = Tally()
    mutations.read_mutated(reference, tmp_path / "read", tally, times=330, seed=1)
    assert not tally.violations and tally.count("read") == 330


@pytest.mark.long
def test_a_study_without_room_killed_and_asked_for_twice_at_once_ends_in_the_same_bits(reference, tmp_path):
    tally, chance, place = Tally(), random.Random(2), tmp_path / "study"
    place.mkdir()
    ended = reference.run(reference.command("trunks", place), place, before="ulimit -f 8; ")
    assert ended.is_sentence and "room on the disk" in ended.text, ended.last_words
    for stage in ("branches", "study"):
        kills.kill(reference, place, stage, chance)
    races.race(reference, place, tally, processes=2)
    assert not tally.violations and tally.count("race") == 3


@pytest.mark.long
def test_a_study_with_damaged_files_mends_them(reference, tmp_path):
    tally = Tally()
    mutations.study_mutated(reference, tmp_path / "study", tally, files=6, seed=3)
    assert not tally.violations and tally.count("study") == 6
