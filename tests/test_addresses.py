"""What the shipped tasks and analyses are known by. A change here orphans what people have trained and measured."""

from dataclasses import dataclass
from types import SimpleNamespace
from typing import ClassVar, final

import pytest
from hydra import compose, initialize_config_dir

from conftest import REPOSITORY
from lmc_lab.analyses.base import ModeAnalysis
from lmc_lab.analyses.convex_mode import ConvexMode
from lmc_lab.analyses.hessian import BranchHessian
from lmc_lab.analyses.store import identity_settings, key_of
from lmc_lab.compose import build_analyses, fingerprint
from lmc_lab.tasks.evaluation_settings import EvaluationSettings

TASKS = {"lenet": "51c4eb06", "lenet_m": "e62de74c", "mnist1d": "8186c782", "resnet20": "22bec859", "siren": "41f40ab2"}
RESULTS = {
    "branch_collapse": "afa9d64ceddc",
    "branch_curves": "8b280da226e9",
    "branch_hessian": "3ec608ba8dce",
    "branch_kernel": "e235d31d2a49",
    "convex_mode": "fcb56c4a3b56",
    "distances": "14ef320f27da",
    "example_barriers": "7d26d18afffb",
    "feature_linearity": "102dfacb899e",
    "gap_terms": "c915b54cb18e",
    "hull_collapse": "ebc4bed007ef",
    "hulls": "89c9e162200d",
    "inter_alignment": "3e0fe174bc0f",
    "inter_collapse": "229dfc8a3dfa",
    "inter_kernel": "513cc7a9ac7d",
    "inter_mode": "4c1a5bb48685",
    "inter_star": "dded83e9a531",
    "layer_barriers": "3f559aa3892c",
    "noise_hulls": "0990304ed2ea",
    "onset": "cd69a741b233",
    "pairs": "08c7127ee9d8",
    "perturbed_branches": "ae74bae0c855",
    "plane": "43480b4b36c5",
    "predictions": "00b41c3851d4",
    "shared_examples": "48f93de59a7d",
    "spectrum": "36ad652797ae",
    "star": "946bd3d7b18c",
    "trunk_collapse": "73539a8397fc",
    "trunk_curve": "83e0344d5cfa",
    "trunk_hessian": "200819e4418f",
    "trunk_kernel": "321340d97ee5",
    "trunk_lyapunov": "1294b89c8824",
    "trunk_midpoint_gap": "3e7f3dad23e3",
}


def composed(name, *overrides):
    with initialize_config_dir(str(REPOSITORY / "conf"), version_base="1.3"):
        return compose(name, list(overrides))


@pytest.mark.parametrize(("task", "address"), TASKS.items())
def test_a_shipped_task_has_its_address(task, address):
    assert fingerprint(composed("train", f"task={task}")) == address


def test_dropout_is_another_task():
    assert fingerprint(composed("train", "+task.model.dropout=0.1")) != TASKS["mnist1d"]


def test_these_are_all_shipped_tasks_and_analyses():
    assert {path.stem for path in (REPOSITORY / "conf" / "task").glob("*.yaml")} == set(TASKS)
    assert {path.stem for path in (REPOSITORY / "conf" / "analysis").glob("*.yaml")} == set(RESULTS)


def key(analysis, *, variant="", digests=("b", "a")):
    subject = SimpleNamespace(parts=(), digests=digests)
    return key_of(analysis, identity_settings(analysis, variant=variant), subject)


def test_a_result_of_each_analysis_has_its_address():
    with initialize_config_dir(str(REPOSITORY / "conf"), version_base="1.3"):
        config = compose("analyze", [f"analysis=[{','.join(RESULTS)}]"])
        assert {analysis.name: key(analysis) for analysis in build_analyses(config)} == RESULTS


@final
@dataclass(frozen=True, kw_only=True)
class Renamed(ModeAnalysis):
    """`ConvexMode` as a later version might have it: another class, with a further field."""

    name: ClassVar[str] = "convex_mode"
    version: ClassVar[int] = 2
    num_samples: int
    seed: int = 0
    concentration: float = 1.0
    evaluation: EvaluationSettings = EvaluationSettings()
    further: tuple[int, ...] = ()

    def measure(self, mode, task):
        yield from ()


@final
@dataclass(frozen=True, kw_only=True)
class Changed(ModeAnalysis):
    """One that gives other rows for the same settings."""

    name: ClassVar[str] = "convex_mode"
    version: ClassVar[int] = 3
    num_samples: int

    def measure(self, mode, task):
        yield from ()


def test_a_further_field_and_another_class_orphan_nothing():
    assert key(Renamed(num_samples=7)) == key(ConvexMode(num_samples=7))
    assert key(Renamed(num_samples=7, further=(1,))) != key(ConvexMode(num_samples=7))


@pytest.mark.parametrize("given", [{"device": "cpu"}, {"memory": 0.5}])
def test_where_it_was_measured_names_no_other_result(given):
    own, plain = (ConvexMode(num_samples=7, evaluation=EvaluationSettings(**each)) for each in (given, {}))
    assert key(own) == key(plain) and own.settings() == plain.settings()
    assert not given.keys() & own.settings()["evaluation"].keys()
    assert key(BranchHessian(keep_graph=False)) == key(BranchHessian())


def test_a_result_is_known_by_what_is_not_default():
    own = ConvexMode(num_samples=7, evaluation=EvaluationSettings(bn_policy="keep"))
    assert identity_settings(own, variant="") == {"num_samples": 7, "evaluation": {"bn_policy": "keep"}}
    assert identity_settings(own, variant="-fresh_optimizer")["variant"] == "-fresh_optimizer"
    others = [
        key(ConvexMode(num_samples=8)),
        key(ConvexMode(num_samples=7), variant="-fresh_optimizer"),
        key(own),
        key(ConvexMode(num_samples=7), digests=("a",)),
        key(Changed(num_samples=7)),
    ]
    assert len({key(ConvexMode(num_samples=7)), *others}) == 6
