"""The stages of a study that train branches: plain ones first, then those that its analyses want made otherwise."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lmc_lab.analyses.base import Analysis
from lmc_lab.tasks.task import Task
from lmc_lab.values import override_text, overrides_of


@dataclass(frozen=True)
class BranchStage:
    """One sweep over branches.

    Args:
        ways: of making them, each as values of the config's node `branch`; one or more.
        analyses: that want them made so.
    """

    ways: Sequence[Mapping[str, Any]]
    analyses: Sequence[Analysis]

    @property
    def overrides(self) -> list[str]:
        """Returns the overrides that describe how the branches are made; several ways are a sweep."""
        if len(self.ways) == 1:
            return overrides_of("branch", self.ways[0])
        return [f"branch={','.join(map(override_text, self.ways))}"]


def branch_stages(analyses: Iterable[Analysis], task: Task) -> dict[str, BranchStage]:
    """Returns the stages of some analyses of a task: ``branches``, ``branches-of-<analysis>``, ``variations-of-<analysis>``."""
    stages: dict[str, BranchStage] = {}
    for name, ways, analysis in sorted(_wanted(analyses, task), key=lambda each: each[0] != "branches"):
        alike = next((other for other, stage in stages.items() if stage.ways == ways), name)
        others = stages[alike].analyses if alike in stages else ()
        stages[alike] = BranchStage(ways, [*others, analysis])
    return stages


def _wanted(analyses: Iterable[Analysis], task: Task) -> Iterable[tuple[str, list[Mapping[str, Any]], Analysis]]:
    for analysis in analyses:
        yield f"branches-of-{analysis.name}" if analysis.branch else "branches", [analysis.branch], analysis
        ways: list[Mapping[str, Any]] = [{**analysis.branch, **each} for each in analysis.variations_of(task)]
        if ways:
            yield f"variations-of-{analysis.name}", ways, analysis
