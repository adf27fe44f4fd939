"""Branches that are not plain ones: by keys of the command, and by an analysis that asks a study for them."""

import json
from textwrap import dedent

import pandas as pd
import pytest

from shell import shell, succeed

SMALL = "task.max_steps=40 task.data.num_train=400"
MODULE = """
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from lmc_lab.analyses.base import Measurement, ModeAnalysis


def moved(state, by):
    return {name: value + by if name.endswith("bias") else value for name, value in state.items()}


def first(train, count):
    import torch
    return torch.arange(count)


@dataclass(frozen=True, kw_only=True)
class Moved(ModeAnalysis):
    name: ClassVar[str] = "moved"
    by: float = 1.0

    @property
    def branch(self):
        return {"start": {"_target_": "own.moved", "by": self.by}}

    def measure(self, mode, task) -> Iterator[Measurement]:
        yield Measurement(quantity="moved", value=float((mode.endpoints.mean(0) - mode.training.at_split).abs().mean()))
"""


@pytest.fixture
def own(tmp_path):
    """A folder with an analysis of one's own, and a study of it."""
    (tmp_path / "own.py").write_text(MODULE)
    for group, name, text in (
        ("analysis", "moved", "# @package analysis.moved\n_target_: own.Moved\nby: 2.0\n"),
        ("study", "own", """
            name: own
            overrides: [task=mnist1d]
            trunks: [0]
            splits: [20]
            branches: 2
            analyses: {moved: {}, distances: {}}
         """),
    ):  # fmt: skip
        folder = tmp_path / "conf" / group
        folder.mkdir(parents=True)
        (folder / f"{name}.yaml").write_text(dedent(text))
    return tmp_path


def test_an_analysis_asks_for_branches_and_a_study_trains_them(own, shared_cache):
    overrides = json.dumps(SMALL.split())
    command = f"python -m lmc_lab.study study=own 'overrides={overrides}' cache_dir={shared_cache} --config-dir conf"
    printed = succeed(command, cwd=own)
    assert "missing" not in printed
    plain, varied = sorted(path.name for path in own.glob("multirun/*/trunk-0/split-20*"))
    assert plain == "split-20" and varied.startswith("split-20-varied_")
    rows = pd.concat(pd.read_parquet(path) for path in own.glob("multirun/*/results/*.parquet"))
    (value,) = rows[rows["quantity"] == "moved"]["value"]
    assert value > 0.02  # as far as the biases were moved; training alone does less
    assert "distances" in set(rows["analysis"])

    where = f"split_step=20 {SMALL} cache_dir={shared_cache} --config-dir conf"
    alone = shell(f"python -m lmc_lab.analyze 'analysis=[moved]' analysis.moved.by=3.0 {where}", cwd=own)
    assert alone.returncode == 1 and "branch.start={_target_:own.moved,by:3.0}" in alone.stderr
    command = alone.stderr.partition("train some: ")[2].splitlines()[0].replace("range(5)", "0,1")
    succeed(command, cwd=own)
    succeed(f"python -m lmc_lab.analyze 'analysis=[moved]' analysis.moved.by=3.0 {where}", cwd=own)


def test_an_analysis_compares_variations_and_a_study_trains_them_in_one_sweep(own, shared_cache):
    (own / "conf" / "study" / "beside.yaml").write_text(
        dedent("""
            name: beside
            overrides: [task=mnist1d]
            trunks: [0]
            splits: [20]
            branches: 2
            analyses:
              perturbed_branches: {sigmas: [0, 0.5], kinds: [gaussian]}
              noise_hulls: {kinds: [labels], num_samples: 5}
        """)
    )
    overrides = json.dumps(SMALL.split())
    command = f"python -m lmc_lab.study study=beside 'overrides={overrides}' cache_dir={shared_cache} --config-dir conf"
    printed = succeed(command, cwd=own)
    assert "missing" not in printed and printed.count("lmc_lab.train") == 4  # trunks, plain ones, variations
    assert len(list(own.glob("multirun/*/trunk-0/split-20-varied_*/branch-*/endpoint.safetensors"))) == 4 + 2
    (result,) = own.glob("multirun/*/results/perturbed_branches-*.parquet")
    rows = pd.read_parquet(result)
    distances = rows[rows["quantity"] == "gaussian_distance"].set_index("index")["value"]
    assert distances[0] == 0 and distances[1] > 0.1

    (of_noise,) = own.glob("multirun/*/results/noise_hulls-*.parquet")
    hulls = {name.partition("_noise_")[2] for name in pd.read_parquet(of_noise)["quantity"]}
    assert hulls == {"order", "labels", "order_and_labels"}

    where = f"split_step=20 {SMALL} cache_dir={shared_cache} analysis.perturbed_branches.kinds=[gaussian]"
    alone = f"python -m lmc_lab.analyze 'analysis=[perturbed_branches]' {where} analysis.perturbed_branches.sigmas"
    assert result.name in succeed(f"{alone}=[0,0.5]", cwd=own)
    said = shell(f"{alone}=[0,2]", cwd=own)
    assert said.returncode == 1 and "sigma:2.0,kind:gaussian,seed:1}" in said.stderr


def test_branches_see_what_the_plain_ones_of_a_study_have_right_or_not(own, shared_cache):
    (own / "conf" / "study" / "parts.yaml").write_text(
        dedent("""
            name: parts
            overrides: [task=mnist1d]
            trunks: [0]
            splits: [20]
            branches: 2
            analyses: {shared_examples: {num_endpoints: 2, ways: [unshared, random_unshared], num_samples: 5}}
        """)
    )
    overrides = json.dumps(SMALL.split())
    command = f"python -m lmc_lab.study study=parts 'overrides={overrides}' cache_dir={shared_cache} --config-dir conf"
    printed = succeed(command, cwd=own)
    assert "missing" not in printed and printed.count("lmc_lab.train") == 3  # trunks, plain branches, variations
    chosen = [json.loads(path.read_text())["index"] for path in own.glob("multirun/*/trunk-0/split-20-*/examples.json")]
    assert len(chosen) == 2 and 100 <= len(chosen[0]) == len(chosen[1]) and set(chosen[0]) != set(chosen[1])
    rows = pd.concat(pd.read_parquet(path) for path in own.glob("multirun/*/results/shared_examples-*.parquet"))
    values = rows.set_index("quantity")["value"]
    assert values["num_examples_on_unshared"] == len(chosen[0])
    assert 0 <= values["p_conv_on_random_unshared_own"] <= 1 and "p_conv_of_unshared" in values


def test_branches_of_some_examples_and_of_another_rate_have_folders_of_their_own(own, shared_cache):
    train = f"python -m lmc_lab.train split_step=20 {SMALL} cache_dir={shared_cache}"
    for varied in (
        "'branch.examples={_target_: own.first, count: 100}'",
        "+branch.overrides.optimizer.lr=0.001",
        "+branch.overrides.max_steps=25",
    ):
        succeed(f"{train} {varied} seed=0", cwd=own)
    assert len(list(own.glob("multirun/*/trunk-0/split-20-varied_*/branch-0/endpoint.safetensors"))) == 3
    assert len(list(own.glob("multirun/*/trunk-0"))) == 1


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("+branch.overrides.model.width=3", "expected branch.overrides to be of"),
        ("+branch.overrides.optimizer.rate=3", "rate"),
        ("+branch.overrides.max_steps=-1", "max_steps"),
        ("branch.start=3", "branch.start"),
        ("branch.noise={kind:dropuot}", "did you mean 'dropout'?"),
        ("+branch.noise.kind=dropout", "found dropout, and no layer of it draws numbers"),
        ("+branch.noise.share=0.2", "expected branch.noise.kind, one of order, augmentation"),
        ("branch.noise=dropout", "branch.noise"),
        ("'branch.examples={_target_: own.frist, count: 100}'", "own"),
        ("'branch.examples={_target_: own.first, cuont: 100}'", "did you mean 'count'"),
    ],
)
def test_what_branches_cannot_be_is_refused_in_a_sentence(own, override, said):
    found = shell(f"python -m lmc_lab.train split_step=20 seed=0 {SMALL} {override}", cwd=own)
    assert found.returncode == 1 and said in found.stderr and "Traceback" not in found.stderr
    assert len(found.stderr.strip().splitlines()) == 1
