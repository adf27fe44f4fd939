"""Where everything lies: the only file that spells a path. An address follows from what a thing is."""

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

TRUNK = "trunk"  # the seed of the branch that continues in the trunk's own order

Seed = int | str


def address_of(path: Path) -> str:
    """Returns what a file of a run is by its address, wherever the output folder lies: ``lenet-0a1b2c3d/trunk-0/step-20``.

    Of a result, or a file that lies in no run's folder, it is the name alone: a folder of results may be copied elsewhere.
    """
    parts = path.absolute().parts
    anchors = [i for i, part in enumerate(parts[:-1]) if re.fullmatch(r"trunk-\d+|results", part)]
    is_of_run = bool(anchors) and parts[anchors[-1]] != "results"
    start = anchors[-1] - 1 if is_of_run else len(parts) - 1
    return "/".join((*parts[start:-1], path.name.removesuffix(".safetensors")))


@dataclass(frozen=True)
class RunFolder:
    """The files of one trunk or one branch."""

    path: Path

    @property
    def config(self) -> Path:
        """The resolved config of the run."""
        return self.path / "config.yaml"

    @property
    def metrics(self) -> Path:
        """The training loss curve."""
        return self.path / "metrics.csv"

    @property
    def status(self) -> Path:
        """How far the run is; written last."""
        return self.path / "status.json"

    @property
    def lock(self) -> Path:
        """Held by the one process that computes this run."""
        return self.path / ".lock"

    @property
    def resume(self) -> Path:
        """The state from which a killed run goes on; removed when the run is finished."""
        return self.path / "resume.safetensors"

    @property
    def endpoint(self) -> Path:
        """Weights and buffers at step T of a branch."""
        return self.path / "endpoint.safetensors"

    def step(self, step: int) -> Path:
        """The whole training state at a step."""
        return self.path / f"step-{step}.safetensors"

    def saved_steps(self) -> set[int]:
        """Returns the steps whose state is on disk."""
        matches = (re.fullmatch(r"step-(\d+)\.safetensors", path.name) for path in self.path.glob("step-*.safetensors"))
        return {int(match[1]) for match in matches if match}


@dataclass(frozen=True)
class SplitFolder:
    """One split of one trunk and its branches."""

    path: Path

    @property
    def manifest(self) -> Path:
        """What the split is: `runs.split.Split` as JSON."""
        return self.path / "split.json"

    @property
    def examples(self) -> Path:
        """Which training examples its branches see, if not all."""
        return self.path / "examples.json"

    @property
    def examples_lock(self) -> Path:
        """Held by whoever chooses them."""
        return self.path / ".examples.lock"

    def branch(self, seed: Seed) -> RunFolder:
        """The branch with this data-order seed."""
        return RunFolder(self.path / f"branch-{seed}")

    def branch_seeds(self) -> list[int]:
        """Returns the integer seeds whose branches exist, finished or not, in order; `branch-trunk` is not one of them."""
        matches = (re.fullmatch(r"branch-(\d+)", path.name) for path in self.path.glob("branch-*"))
        return sorted(int(match[1]) for match in matches if match)


@dataclass(frozen=True)
class RunPaths:
    """The files of one task."""

    root: Path  # <output_dir>/<task>-<fingerprint>

    @classmethod
    def of(cls, output_dir: Path, task: str, fingerprint: str) -> "RunPaths":
        """Returns the paths of the task with this fingerprint below `output_dir`."""
        return cls(output_dir / f"{task}-{fingerprint}")

    def trunk(self, trunk_seed: int) -> RunFolder:
        """The trunk with this seed."""
        return RunFolder(self.root / f"trunk-{trunk_seed}")

    def split(self, trunk_seed: int, step: int, variant: str = "") -> SplitFolder:
        """The split at `step`; `variant` names branches that are made otherwise than by default."""
        return SplitFolder(self.trunk(trunk_seed).path / f"split-{step}{variant}")

    def program(self, addresses: Sequence[str]) -> Path:
        """The state from which a program of the runs at these addresses goes on; `programs` finds it."""
        digest = hashlib.sha256(json.dumps(sorted(addresses)).encode()).hexdigest()[:12]
        return self.root / f"together-{digest}.safetensors"

    def run_at(self, address: str) -> RunFolder:
        """The run whose state to resume from has this address."""
        return RunFolder((self.root.parent / address).parent)

    def programs(self) -> list[Path]:
        """Returns the states of programs that were ended."""
        return sorted(self.root.glob("together-*.safetensors"))

    @property
    def results(self) -> Path:
        """The folder of all measurement rows of this task."""
        return self.root / "results"

    def result(self, analysis: str, key: str) -> Path:
        """The rows of one analysis of one subject."""
        return self.results / f"{analysis}-{key}.parquet"


def reports(output_dir: Path, study: str) -> Path:
    """The folder of a study's figures and page."""
    return output_dir / "reports" / study


def logs(output_dir: Path) -> Path:
    """The folder of what the stages of a study print."""
    return output_dir / "logs"
