"""What the jobs of a sweep are called: by the overrides that the user did not write word for word."""

import re
from collections.abc import Collection, Iterable, Sequence


def job_name(overrides: Sequence[str], given: Collection[str], part: str = "") -> str:
    """Returns the name of a job, ``split_step=20 seed=range(0,5)``, or of a part of it, ``split_step=20 seed=3``.

    Args:
        overrides: of the job.
        given: by the user, for the whole sweep.
        part: of the job; as ``split_step=20 seed=3`` it takes the place of the overrides of the same keys.
    """
    of_job = [item for item in overrides if item not in given] or list(overrides)
    if not part:
        return " ".join(map(_short, of_job))
    keys = {item.partition("=")[0] for item in part.split()}
    return " ".join([*(_short(item) for item in of_job if item.partition("=")[0] not in keys), part])


def num_branches_of(overrides: Iterable[str]) -> int:
    """Returns how many branches a job has, two for ``seed=[0,1]``; 0 for a job that trains none."""
    values = {key: _items(value) for key, _, value in (item.partition("=") for item in overrides)}
    splits, trunks = (max(1, len(values.get(key, []))) for key in ("split_step", "trunk_seed"))
    return len(values.get("seed", [])) * splits * trunks


def _items(value: str) -> list[str]:
    return [item for item in value.strip("[]").split(",") if item not in ("", "null")]


def _short(override: str) -> str:
    """Returns the override with a long list of evenly spaced numbers as a range."""
    match = re.fullmatch(r"(?P<key>[^=]+)=\[(?P<items>\d+(,\d+){2,})\]", override)
    if match is None:
        return override
    numbers = [int(item) for item in match["items"].split(",")]
    first, end, step = numbers[0], numbers[-1] + 1, numbers[1] - numbers[0]
    if step < 1 or numbers != list(range(first, end, step)):
        return override
    return f"{match['key']}=range({first},{end}{f',{step}' if step > 1 else ''})"
