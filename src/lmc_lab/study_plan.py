"""What a study consists of: the commands of its stages, and where its branches lie."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from hydra import compose
from omegaconf import DictConfig, OmegaConf

from lmc_lab import schema, stages
from lmc_lab.analyses.base import Analysis, override_value
from lmc_lab.analyses.store import identity_settings
from lmc_lab.compose import build_analyses, build_experiment, build_experiment_of, split_steps, steps_on_the_way
from lmc_lab.errors import UserError
from lmc_lab.results.part import Part
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
    on_the_way: tuple[int | str, ...] = ()  # t: steps at which hulls are measured, too

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
            on_the_way=tuple(study.get("steps", [])),
        )

    def commands(self) -> dict[str, list[str]]:
        """Returns the command of each stage, in their order."""
        trunks, splits = f"trunk_seed={_list(self.trunks)}", f"split_step={_list(self.splits)}"
        logger = [item for item in self.given if item.startswith("logger")]
        stages_of = {
            "trunks": self._sweep(
                "train",
                f"split_step=[{_list(self.splits)}]",
                trunks,
                *_saving(_steps(self.measured, of_branches=False)),
                *logger,
            ),
            **{
                stage: self._sweep(
                    "train",
                    trunks,
                    splits,
                    f"seed=range({self.branches})",
                    *(analyses[0].branch_overrides if analyses else []),
                    *self._saving_on_the_way(analyses),
                    *logger,
                )
                for stage, analyses in self._training.items()
            },
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
        steps_on_the_way(self.experiment, list(self.on_the_way))

    def check_reads(self) -> None:
        """Refuses an analysis of results that the study does not measure.

        Raises:
            UserError: there is one.
        """
        for analysis in self._composed:
            if analysis.reads and not {*analysis.reads} & {each.name for each in self._composed}:
                raise UserError(
                    f"expected {' or '.join(analysis.reads)} among study.analyses, which {analysis.name} reads, found "
                    f"neither; add one: +study.analyses.{analysis.reads[0]}={{}}"
                )

    @cached_property
    def steps(self) -> list[int]:
        """Returns the split steps."""
        return split_steps(self.experiment, list(self.splits))

    @cached_property
    def steps_on_the_way(self) -> list[int]:
        """Returns the steps t at which hulls are measured besides their end."""
        return sorted(set(steps_on_the_way(self.experiment, list(self.on_the_way))))

    def subjects_of(self, analysis: Analysis) -> list[tuple[Part, ...]]:
        """Returns the parts of each subject that the study asks an analysis of."""
        ends = analysis.subject.in_study(self.trunks, self.steps, self.seeds)
        on_the_way = self.steps_on_the_way if analysis.over_time else []
        return ends + [
            tuple(replace(part, step=step) for part in subject)
            for step in on_the_way
            for subject in ends
            if all(step > (part.split_step or 0) for part in subject)
        ]

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

    def experiment_of(self, analysis: Analysis) -> Experiment:
        """Returns what the study trains, with branches as an analysis wants them."""
        return build_experiment_of(self._config, analysis) if analysis.branch else self.experiment

    @cached_property
    def _training(self) -> dict[str, list[Analysis]]:
        """Returns each stage that trains branches, with the analyses that want them made so; the first needs none."""
        stages_of: dict[str, list[Analysis]] = {"branches": []}
        for analysis in (each for each in self._composed if each.subject.has_branches):
            alike = (name for name, others in stages_of.items() if others and others[0].branch == analysis.branch)
            name = next(alike, f"branches-of-{analysis.name}") if analysis.branch else "branches"
            stages_of.setdefault(name, []).append(analysis)
        return stages_of

    def _saving_on_the_way(self, analyses: Sequence[Analysis]) -> list[str]:
        last = self.experiment.task.max_steps
        of_hulls = self.steps_on_the_way if any(analysis.over_time for analysis in analyses) else []
        steps = {*_steps(analyses, of_branches=True), *of_hulls}
        return _saving(sorted(step for step in steps if step < last))

    def _own(self, analysis: Analysis) -> dict[str, Any]:
        """Returns the settings that the study adds to an analysis of what may be there from others."""
        if analysis.reads:
            return self._own_results(analysis)
        if analysis.steps is not None or "steps" not in analysis.settings():
            return {}
        further = _steps(self._composed, of_branches=False) or self.experiment.settings.save_steps
        return {"steps": sorted({0, *self.steps, *further, self.experiment.task.max_steps})}

    def _own_results(self, analysis: Analysis) -> dict[str, Any]:
        """Returns the settings of those of the study's analyses that `analysis` reads."""
        if analysis.results is not None:
            return {}
        read = [each for each in self._composed if each.name in analysis.reads]
        return {
            "results": {each.name: identity_settings(each, variant=self.experiment_of(each).variant) for each in read}
        }

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
            f"analysis.{each.name}.{key}={override_value(value)}"
            for each in analyses
            for key, value in self._own(each).items()
        ]
        steps = self.steps_on_the_way if any(analysis.over_time for analysis in analyses) else []
        on_the_way = [f"steps=[{_list(steps)}]"] if steps else []
        return self._sweep(
            "analyze", f"analysis=[{_list(names)}]", *self._analysis_settings(names), *own, *on_the_way, *where
        )

    def _analysis_settings(self, names: Iterable[str]) -> list[str]:
        own = [
            f"analysis.{name}.{key}={override_value(value)}"
            for name in names
            for key, value in self.analyses[name].items()
        ]
        return [*own, *(f"evaluation.{key}={override_value(value)}" for key, value in self.evaluation.items())]

    def _sweep(self, entry_point: str, *overrides: str) -> list[str]:
        return stages.command(entry_point, *self.shared, *overrides, *self.sweep, multirun=True)

    def branch_folders(self, stage: str = "branches") -> list[RunFolder]:
        """Returns the folders of the branches that a stage trains, none if it does not."""
        if stage not in self._training:
            return []
        analyses = self._training[stage]
        experiment = self.experiment_of(analyses[0]) if analyses else self.experiment
        return [
            experiment.paths.split(trunk, step, experiment.variant).branch(seed)
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
