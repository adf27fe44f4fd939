"""What a study consists of: its trunks, splits, branches and analyses, and what each analysis is asked of."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Annotated, Any

from hydra import compose
from omegaconf import DictConfig

from lmc_lab import schema
from lmc_lab.analyses.base import Analysis
from lmc_lab.analyses.onset import Onset
from lmc_lab.analyses.store import identity_settings
from lmc_lab.compose import build_analyses, build_experiment, split_steps, steps_on_the_way, with_branches
from lmc_lab.construct import plain
from lmc_lab.errors import UserError
from lmc_lab.results.bundle import FOLDER_KEYS
from lmc_lab.results.part import Part
from lmc_lab.runs.experiment import Experiment
from lmc_lab.studies.branches import BranchStage, branch_stages
from lmc_lab.studies.request import asked, folder_overrides
from lmc_lab.values import at_least, check_fields, overrides_of


@dataclass(frozen=True, kw_only=True)
class SearchSettings:
    """How the onset is searched where ``study.splits`` is ``search``.

    Args:
        ratio: of the first split that holds to the last that fails, at which the search ends.
        max_splits: that are measured at most.
        splits: that are measured in any case.
    """

    ratio: Annotated[float, at_least(1.01)] = 1.25
    max_splits: Annotated[int, at_least(2)] = 12
    splits: Sequence[int | str] = ()

    def __post_init__(self) -> None:
        """Raises UserError for a setting that cannot be."""
        check_fields(self, "study.search")


@dataclass(frozen=True)
class StudyPlan:
    """A study's yaml, and the overrides that every stage gets."""

    name: str
    given: tuple[str, ...]  # the overrides on the study's own command line
    asked: Mapping[str, Any]  # what distinguishes it from others of its name
    shared: tuple[str, ...]
    sweep: tuple[str, ...]
    trunks: tuple[int, ...]
    splits: tuple[int | str, ...]
    branches: int
    analyses: Mapping[str, Mapping[str, Any]]
    evaluation: Mapping[str, Any]  # of the loss at a point, for all analyses
    on_the_way: tuple[int | str, ...] = ()  # t: steps at which hulls are measured, too
    search: SearchSettings | None = None  # how splits are found, which are none before
    bracket: tuple[int, ...] = ()  # the splits between which the onset was found to lie

    @classmethod
    def of(cls, config: DictConfig, given: Sequence[str] = (), launcher: Sequence[str] = ()) -> "StudyPlan":
        """Returns the plan in the config of the entry point ``study``.

        Args:
            config: composed.
            given: the overrides on its command line, without Hydra's own.
            launcher: Hydra's own that are for the sweeps.

        Raises:
            UserError: a key of the study is what it cannot be.
        """
        schema.check(config)
        study = config.study
        _check_places([*study.overrides, *config.overrides])
        is_searched = study.splits == "search"
        return cls(
            name=study.name,
            given=tuple(given),
            asked=asked(config),
            shared=(*study.overrides, *config.overrides, *_lenience(config), *folder_overrides(config)),
            sweep=(*launcher, *config.sweep),
            trunks=tuple(study.trunks),
            splits=() if is_searched else tuple(study.splits),
            branches=study.branches,
            analyses=_analyses(study, is_searched=is_searched),
            evaluation=study.get("evaluation", {}),
            on_the_way=tuple(study.get("steps", [])),
            search=_search_settings(plain(study.get("search", {}))) if is_searched else None,
        )

    def with_splits(self, splits: Sequence[int]) -> "StudyPlan":
        """Returns the study with these splits."""
        return replace(self, splits=tuple(splits))

    @property
    def seeds(self) -> range:
        """Returns the seeds of the branches of each split."""
        return range(self.branches)

    @property
    def bracket_seeds(self) -> range:
        """Returns those of the splits at the bracket of the onset: 2P, of which many hulls of P can be made."""
        return range(2 * self.branches)

    @property
    def needs_bracket(self) -> bool:
        """Returns whether something is measured at the bracket of the onset alone."""
        return any(analysis.at_bracket for analysis in self.composed)

    @property
    def known_splits(self) -> list[int]:
        """Returns the splits that a search measures in any case."""
        return split_steps(self.experiment, list(self.search.splits)) if self.search else []

    @property
    def threshold(self) -> float:
        """Returns the `p_conv` that is called convex: that of the study's analysis `onset`."""
        return _threshold(self.analyses)

    def check_splits(self) -> None:
        """Refuses a split that is no step before T, and a search without what it looks at.

        Raises:
            UserError: there is one.
        """
        split_steps(self.experiment, list(self.splits))
        if self.search and "convex_mode" not in self.analyses:
            raise UserError(
                "expected convex_mode among study.analyses, by which splits are searched, found none; add "
                "+study.analyses.convex_mode={num_samples:100}"
            )
        key, steps = ("search.splits", self.known_splits) if self.search else ("splits", self.steps)
        if len(set(steps)) < len(steps):
            raise UserError(f"expected different steps in study.{key}, found {steps}; name each once")
        steps_on_the_way(self.experiment, list(self.on_the_way))

    def check_reads(self) -> None:
        """Refuses an analysis of results that the study does not measure.

        Raises:
            UserError: there is one.
        """
        for analysis in self.composed:
            if analysis.reads and not {*analysis.reads} & {each.name for each in self.composed}:
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
        if analysis.at_bracket:
            return analysis.subject.in_study(self.trunks, self.bracket, self.bracket_seeds)
        ends = analysis.subject.in_study(self.trunks, self.steps, self.seeds)
        on_the_way = self.steps_on_the_way if analysis.over_time else []
        return ends + [
            tuple(replace(part, step=step) for part in subject)
            for step in on_the_way
            for subject in ends
            if all(self.experiment.is_on_the_way(step, part.split_step or 0) for part in subject)
        ]

    @property
    def has_split(self) -> bool:
        """Returns whether a trunk has reached one of the splits."""
        of_trunks = (replace(self.experiment, trunk_seed=trunk) for trunk in self.trunks)
        return any(each.split_folder(step).manifest.exists() for each in of_trunks for step in self.steps)

    @cached_property
    def experiment(self) -> Experiment:
        """Returns what the study trains, of its first trunk; of the others only the seed differs."""
        return build_experiment(self._config)

    @cached_property
    def measured(self) -> list[Analysis]:
        """Returns the study's analyses with their settings.

        One of all states of a trunk is of those that the study saves, one of results of those that the study measures:
        what others left there is none of its own.
        """
        return [replace(each, **self.own_settings(each)) for each in self.composed]

    def experiment_of(self, analysis: Analysis) -> Experiment:
        """Returns what the study trains, with branches as an analysis wants them."""
        return self.with_branches(analysis.branch)

    def with_branches(self, branch: Mapping[str, Any]) -> Experiment:
        """Returns what the study trains, with these values of the node `branch`."""
        return with_branches(self.experiment, self._config, branch)

    @cached_property
    def training(self) -> dict[str, BranchStage]:
        """Returns the stages that train branches by name."""
        of_all = [each for each in self.composed if each.subject.has_branches and not each.at_bracket]
        return branch_stages(of_all, self.experiment.task)

    @cached_property
    def bracket_training(self) -> dict[str, BranchStage]:
        """Returns the same of the 2P branches at the bracket of the onset."""
        of_bracket = [analysis for analysis in self.composed if analysis.at_bracket]
        found = branch_stages(of_bracket, self.experiment.task)
        return {f"{name}-of-bracket": stage for name, stage in found.items()}

    def own_settings(self, analysis: Analysis) -> dict[str, Any]:
        """Returns the settings that restrict an analysis to the study's own states or results, where there may be others."""
        if analysis.reads:
            return self._own_results(analysis)
        if analysis.steps is not None or "steps" not in analysis.settings():
            return {}
        further = steps_of(self.composed, of_branches=False) or self.experiment.settings.save_steps
        return {"steps": sorted({0, *self.steps, *further, self.experiment.task.max_steps})}

    def _own_results(self, analysis: Analysis) -> dict[str, Any]:
        """Returns the settings of those of the study's analyses that `analysis` reads."""
        if analysis.results is not None:
            return {}
        read = [each for each in self.composed if each.name in analysis.reads]
        return {
            "results": {each.name: identity_settings(each, variant=self.experiment_of(each).variant) for each in read}
        }

    @cached_property
    def composed(self) -> list[Analysis]:
        """Returns the study's analyses as its yaml has them."""
        return build_analyses(self._config)

    @cached_property
    def _config(self) -> DictConfig:
        """Returns the config of all analyses of the study."""
        names = f"analysis=[{','.join(self.analyses)}]"
        config = compose("analyze", overrides=[*self.shared, names, *self.analysis_settings(self.analyses)])
        schema.check(config)
        return config

    def analysis_settings(self, names: Iterable[str]) -> list[str]:
        """Returns the study's settings of some analyses, as overrides."""
        of_analyses = [item for name in names for item in overrides_of(f"analysis.{name}", self.analyses[name])]
        return [*of_analyses, *overrides_of("evaluation", self.evaluation)]


def launcher_of(overrides: Iterable[str]) -> list[str]:
    """Returns those of Hydra's own overrides that say how sweeps run: ``hydra/launcher=slurm`` and what is below it."""
    return [item for item in overrides if re.match(r"[+~]*hydra[./](launcher|sweeper)\b", item)]


def _check_places(overrides: Sequence[str]) -> None:
    """Refuses the keys of folders among the overrides of a study's tasks: all of its commands have those of its own."""
    for item in overrides:
        key, _, value = item.lstrip("+").partition("=")
        if key in FOLDER_KEYS:
            raise UserError(
                f"expected {key} beside the study, found it among its overrides; leave it out there, and give the command "
                f"{key}={value}"
            )


def _analyses(study: DictConfig, *, is_searched: bool) -> dict[str, dict[str, Any]]:
    """Returns the analyses with their settings; in a search, `convex_mode` draws until its interval excludes the threshold."""
    analyses: dict[str, dict[str, Any]] = {name: settings or {} for name, settings in plain(study.analyses).items()}
    for name, settings in analyses.items():
        if not isinstance(settings, dict):
            raise UserError(
                f"expected settings of an analysis at study.analyses.{name}, found {settings}; write {{}} for none"
            )
    if is_searched and "convex_mode" in analyses:
        analyses["convex_mode"] = {"resolve": _threshold(analyses), **analyses["convex_mode"]}
    return analyses


def _threshold(analyses: Mapping[str, Mapping[str, Any]]) -> float:
    return float(analyses.get("onset", {}).get("threshold", Onset.threshold))


def _search_settings(given: Mapping[str, Any]) -> SearchSettings:
    names = [field.name for field in fields(SearchSettings)]
    if unknown := [key for key in given if key not in names]:
        raise UserError(f"expected study.search to have {', '.join(names)}, found {unknown[0]}; leave it out")
    return SearchSettings(**given)


def _lenience(config: DictConfig) -> list[str]:
    return ["allow_diverged=true"] if config.allow_diverged else []


def steps_of(analyses: Iterable[Analysis], *, of_branches: bool) -> list[int]:
    """Returns the steps at which analyses ask for states, of branches or of trunks."""
    asked = (analysis.steps or () for analysis in analyses if analysis.subject.has_branches is of_branches)
    return sorted({step for steps in asked for step in steps})
