"""What a report has no rows of: what was not measured, and what analyses left out, each with the reason."""

from collections.abc import Mapping, Sequence

import pandas as pd

from lmc_lab.results.folder import Result
from lmc_lab.results.manifest import StudyRecord
from lmc_lab.results.part import subject_text
from lmc_lab.results.study_results import StudyResults


def missing_table(record: StudyRecord | None, collected: StudyResults) -> pd.DataFrame:
    """Returns a line for each trunk or mode with analyses that the study asked for and that are not there, or in part.

    Without a study nothing is missing.
    """
    names: dict[tuple[str, str], list[str]] = {}
    for reason, items in (("not measured", collected.missing), ("not of all branches", collected.partial)):
        for item in items:
            names.setdefault((subject_text(item.subject), reason), []).append(item.analysis)
    lines = [
        {"study": record.name, "missing": ", ".join(analyses), "of": subject, "why": "; ".join(why)}
        for (subject, reason), analyses in names.items()
        if record
        for why in [record.obstacles.get(subject) or [reason]]
    ]
    return pd.DataFrame(lines, columns=["study", "missing", "of", "why"])


def unanswered_table(results: Mapping[str, Sequence[Result]]) -> pd.DataFrame:
    """Returns a line for each part of an answer that an analysis left out, with the reason, and of what it did.

    Args:
        results: of each study, those without rows, too.
    """
    lines = []
    for name, found in results.items():
        subjects: dict[tuple[str, str], list[str]] = {}
        for entry in (result.entry for result in found):
            for what in entry.left_out:
                subjects.setdefault((entry.analysis, what), []).append(subject_text(entry.subject))
        for (analysis, what), texts in subjects.items():
            is_of_all = len(texts) == sum(result.entry.analysis == analysis for result in found)
            of = "all" if is_of_all else "; ".join(texts)
            lines.append({"task": name, "analysis": analysis, "left out": what, "of": of})
    return pd.DataFrame(lines, columns=["task", "analysis", "left out", "of"])
