"""What a study consists of: the commands of its stages, and where its branches lie."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hydra import compose
from hydra.utils import get_class
from omegaconf import DictConfig, OmegaConf

from lmc_lab import schema, stages
from lmc_lab.analyses.base import Analysis, JointAnalysis, ModeAnalysis, TrunkAnalysis
from lmc_lab.analyses.store import Result, read_results, settings_text
from lmc_lab.compose import build_analyses, build_experiment, layout_of, split_steps
from lmc_lab.runs.layout import Layout, RunFolder

_SHARED_KEYS = ("data_dir", "cache_dir", "output_dir")


@dataclass(frozen=True)
class StudyPlan:
    """A study's yaml, and the overrides that every stage gets."""

    name: str
    given: tuple[str, ...]  # the overrides on the study's own command line
    shared: tuple[str, ...]
    sweep: tuple[str, ...]
    trunks: tuple[int, ...]
    splits: tuple[int | str, ...]
    branches: int
    analyses: Mapping[str, Mapping[str, Any]]
    evaluation: Mapping[str, Any]  # of the loss at a point, for all analyses

    @classmethod
    def of(cls, config: DictConfig, given: Sequence[str] = ()) -> "StudyPlan":
        """Returns the plan in the config of the entry points ``study`` and ``report``, which take the same overrides.

        Raises:
            UserError: a key of the study is what it cannot be.
        """
        schema.check(config)
        study = config.study
        return cls(
            name=study.name,
            given=tuple(given),
            shared=(*study.overrides, *config.overrides, *places(config)),
            sweep=tuple(config.sweep),
            trunks=tuple(study.trunks),
            splits=tuple(study.splits),
            branches=study.branches,
            analyses=OmegaConf.to_container(study.analyses),  # type: ignore[arg-type]
            evaluation=study.get("evaluation", {}),
        )

    def commands(self) -> dict[str, list[str]]:
        """Returns the command of each stage, in their order."""
        trunks, splits = f"trunk_seed={_list(self.trunks)}", f"split_step={_list(self.splits)}"
        logger = [item for item in self.given if item.startswith("logger")]
        on_the_way = [step for step in self._steps(ModeAnalysis) if step < self.task_config().task.max_steps]
        stages_of = {
            "trunks": self._sweep(
                "train", f"split_step=[{_list(self.splits)}]", trunks, *_saving(self._steps(TrunkAnalysis)), *logger
            ),
            "branches": self._sweep(
                "train", trunks, splits, f"seed=range({self.branches})", *_saving(on_the_way), *logger
            ),
            "modes": self._analyses(ModeAnalysis, trunks, splits),
            "trunk-states": self._analyses(TrunkAnalysis, trunks),
            "across-trunks": self._analyses(JointAnalysis, f"trunks=[{_list(self.trunks)}]", splits)
            if len(self.trunks) > 1
            else [],
            "report": stages.command("report", *self.given),
        }
        return {name: command for name, command in stages_of.items() if command}

    def _steps(self, kind: type[Analysis]) -> list[int]:
        """Returns the steps whose states the analyses of one kind of subject ask for."""
        kinds = self._kinds().items()
        asked = (self.analyses[name].get("steps") or () for name, subject in kinds if issubclass(subject, kind))
        return sorted({step for steps in asked for step in steps})

    def _analyses(self, kind: type[Analysis], *where: str) -> list[str]:
        """Returns the command of the analyses of one kind of subject, or nothing if there are none."""
        names = [name for name, subject in self._kinds().items() if issubclass(subject, kind)]
        if not names:
            return []
        return self._sweep("analyze", f"analysis=[{_list(names)}]", *self._analysis_settings(names), *where)

    def _analysis_settings(self, names: Iterable[str]) -> list[str]:
        own = [f"analysis.{name}.{key}={_value(value)}" for name in names for key, value in self.analyses[name].items()]
        return [*own, *(f"evaluation.{key}={_value(value)}" for key, value in self.evaluation.items())]

    def _kinds(self) -> dict[str, type[Analysis]]:
        nodes = compose("analyze", overrides=[f"analysis=[{_list(self.analyses)}]"]).analysis
        return {name: get_class(nodes[name]._target_) for name in self.analyses}

    def results(self) -> list[Result]:
        """Returns the study's own results: those with its settings, whatever else was measured on its endpoints."""
        overrides = [f"analysis=[{_list(self.analyses)}]", *self._analysis_settings(self.analyses)]
        config = compose("analyze", overrides=[*self.shared, *overrides])
        variant = build_experiment(config).variant
        settings = {settings_text(analysis, variant=variant, trunks=self.trunks) for analysis in build_analyses(config)}
        return read_results(self.layout(), settings)

    def _sweep(self, entry_point: str, *overrides: str) -> list[str]:
        return stages.command(entry_point, *self.shared, *overrides, *self.sweep, multirun=True)

    def task_config(self) -> DictConfig:
        """Returns the training config of the study's task."""
        return compose("train", overrides=list(self.shared))

    def layout(self) -> Layout:
        """Returns where the study's files lie."""
        return layout_of(self.task_config())

    def branch_folders(self) -> list[RunFolder]:
        """Returns the folders of all branches of the study."""
        experiment = build_experiment(self.task_config())
        steps = split_steps(experiment, list(self.splits))
        return [
            experiment.layout.split(trunk, step, experiment.variant).branch(seed)
            for trunk in self.trunks
            for step in steps
            for seed in range(self.branches)
        ]


def places(config: DictConfig) -> list[str]:
    """Returns the overrides that say where things are."""
    return [f"{key}={_quoted(config[key])}" for key in _SHARED_KEYS]


def _saving(steps: Sequence[int]) -> list[str]:
    return [f"run.save_steps=[{_list(steps)}]"] if steps else []


def _list(values: Any) -> str:
    return ",".join(str(value) for value in values)


def _value(value: Any) -> str:
    return f"[{_list(value)}]" if isinstance(value, list) else "null" if value is None else str(value)


def _quoted(path: str) -> str:
    """Returns a path so that Hydra takes it as one string whatever is in it."""
    escaped = str(path).replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'" if any(c in str(path) for c in " ,=()[]{}':\"\\") else str(path)
