"""What a study consists of: the commands of its stages, and where its branches lie."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from hydra import compose
from omegaconf import DictConfig, OmegaConf

from lmc_lab import schema, stages
from lmc_lab.analyses.base import Analysis, SplitsAnalysis
from lmc_lab.analyses.store import identity_settings
from lmc_lab.compose import build_analyses, build_experiment, split_steps
from lmc_lab.errors import UserError
from lmc_lab.runs.experiment import Experiment
from lmc_lab.runs.paths import RunFolder
from lmc_lab.runs.subject import Subject
from lmc_lab.study_request import asked, places


@dataclass(frozen=True)
class StudyPlan:
    """A study's yaml, and the overrides that every stage gets."""

    name: str
    given: tuple[str, ...]  # the overrides on the study's own command line
    asked: Mapping[str, Any]  # what tells it from others of its name
    shared: tuple[str, ...]
    sweep: tuple[str, ...]
    trunks: tuple[int, ...]
    splits: tuple[int | str, ...]
    branches: int
    analyses: Mapping[str, Mapping[str, Any]]
    evaluation: Mapping[str, Any]  # of the loss at a point, for all analyses

    @classmethod
    def of(cls, config: DictConfig, given: Sequence[str] = ()) -> "StudyPlan":
        """Returns the plan in the config of the entry point ``study``.

        Raises:
            UserError: a key of the study is what it cannot be.
        """
        schema.check(config)
        study = config.study
        return cls(
            name=study.name,
            given=tuple(given),
            asked=asked(config),
            shared=(*study.overrides, *config.overrides, *_lenience(config), *places(config)),
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
        on_the_way = [step for step in _steps(self.measured, of_branches=True) if step < self.experiment.task.max_steps]
        stages_of = {
            "trunks": self._sweep(
                "train",
                f"split_step=[{_list(self.splits)}]",
                trunks,
                *_saving(_steps(self.measured, of_branches=False)),
                *logger,
            ),
            "branches": self._sweep(
                "train", trunks, splits, f"seed=range({self.branches})", *_saving(on_the_way), *logger
            ),
            **{kind.stage: self._analyses(kind) for kind in self._kinds()},
            "report": stages.command("report", *self.given),
        }
        return {name: command for name, command in stages_of.items() if command}

    @property
    def seeds(self) -> range:
        """Returns the seeds of the branches of each split."""
        return range(self.branches)

    def check_splits(self) -> None:
        """Refuses a split that is no step before T.

        Raises:
            UserError: there is one.
        """
        split_steps(self.experiment, list(self.splits))

    def check_reads(self) -> None:
        """Refuses an analysis of results that the study does not measure.

        Raises:
            UserError: there is one.
        """
        for analysis in self._composed:
            if isinstance(analysis, SplitsAnalysis) and not {*analysis.reads} & {each.name for each in self._composed}:
                raise UserError(
                    f"expected {' or '.join(analysis.reads)} among study.analyses, which {analysis.name} reads, found "
                    f"neither; add one: +study.analyses.{analysis.reads[0]}={{}}"
                )

    @cached_property
    def steps(self) -> list[int]:
        """Returns the split steps."""
        return split_steps(self.experiment, list(self.splits))

    @property
    def has_split(self) -> bool:
        """Returns whether a trunk has reached one of the splits."""
        of_trunks = (replace(self.experiment, trunk_seed=trunk) for trunk in self.trunks)
        return any(each.split_folder(step).manifest.exists() for each in of_trunks for step in self.steps)

    @cached_property
    def experiment(self) -> Experiment:
        """Returns what the study trains, which each trunk is a variation of."""
        return build_experiment(self._config)

    @cached_property
    def measured(self) -> list[Analysis]:
        """Returns the study's analyses with their settings.

        One of all states of a trunk is of those that the study saves, one of results of those that the study measures:
        what others left there is none of its own.
        """
        return [replace(each, **self._own(each)) for each in self._composed]

    def _own(self, analysis: Analysis) -> dict[str, Any]:
        """Returns the settings that the study adds to an analysis of what may be there from others."""
        if isinstance(analysis, SplitsAnalysis):
            return self._own_results(analysis)
        if analysis.steps is not None or "steps" not in analysis.settings():
            return {}
        further = _steps(self._composed, of_branches=False) or self.experiment.settings.save_steps
        return {"steps": sorted({0, *self.steps, *further, self.experiment.task.max_steps})}

    def _own_results(self, analysis: SplitsAnalysis) -> dict[str, Any]:
        """Returns the settings of those of the study's analyses that `analysis` reads."""
        if analysis.results is not None:
            return {}
        read = [each for each in self._composed if each.name in analysis.reads]
        return {"results": {each.name: identity_settings(each, variant=self.experiment.variant) for each in read}}

    @cached_property
    def _composed(self) -> list[Analysis]:
        """Returns the study's analyses as its yaml has them."""
        return build_analyses(self._config)

    @cached_property
    def _config(self) -> DictConfig:
        """Returns the config of all analyses of the study."""
        names = f"analysis=[{_list(self.analyses)}]"
        return compose("analyze", overrides=[*self.shared, names, *self._analysis_settings(self.analyses)])

    def _kinds(self) -> list[type[Subject]]:
        """Returns the kinds of subjects that are measured, those made of results last."""
        return sorted(dict.fromkeys(each.subject for each in self._composed), key=lambda kind: not kind.has_tensors)

    def _analyses(self, kind: type[Subject]) -> list[str]:
        """Returns the command of the analyses of one kind of subject, or nothing if the study has no such subject."""
        analyses = [analysis for analysis in self._composed if analysis.subject is kind]
        if not kind.in_study(self.trunks, self.steps, self.seeds):
            return []
        where = kind.sweep(_list(self.trunks), _list(self.splits), _list(self.seeds))
        names = [analysis.name for analysis in analyses]
        own = [
            f"analysis.{each.name}.{key}={_value(value)}" for each in analyses for key, value in self._own(each).items()
        ]
        return self._sweep("analyze", f"analysis=[{_list(names)}]", *self._analysis_settings(names), *own, *where)

    def _analysis_settings(self, names: Iterable[str]) -> list[str]:
        own = [f"analysis.{name}.{key}={_value(value)}" for name in names for key, value in self.analyses[name].items()]
        return [*own, *(f"evaluation.{key}={_value(value)}" for key, value in self.evaluation.items())]

    def _sweep(self, entry_point: str, *overrides: str) -> list[str]:
        return stages.command(entry_point, *self.shared, *overrides, *self.sweep, multirun=True)

    def branch_folders(self) -> list[RunFolder]:
        """Returns the folders of all branches of the study."""
        return [
            self.experiment.paths.split(trunk, step, self.experiment.variant).branch(seed)
            for trunk in self.trunks
            for step in self.steps
            for seed in self.seeds
        ]


def _lenience(config: DictConfig) -> list[str]:
    return ["allow_diverged=true"] if config.allow_diverged else []


def _steps(analyses: Iterable[Analysis], *, of_branches: bool) -> list[int]:
    """Returns the steps at which analyses ask for states, of branches or of trunks."""
    asked = (analysis.steps or () for analysis in analyses if analysis.subject.has_branches is of_branches)
    return sorted({step for steps in asked for step in steps})


def _saving(steps: Sequence[int]) -> list[str]:
    return [f"run.save_steps=[{_list(steps)}]"] if steps else []


def _list(values: Any) -> str:
    return ",".join(str(value) for value in values)


def _value(value: Any) -> str:
    """Returns a setting as an override has it."""
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{key}:{_value(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return f"[{','.join(map(_value, value))}]"
    return "null" if value is None else str(value)
