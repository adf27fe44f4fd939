"""The study that is provoked, and what it must end in: the same bits as one that nobody disturbed."""

import shlex
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from lmc_lab.runs import checkpoint
from shell import environment

CONF = Path(__file__).parent / "conf"
_TIME_COLUMNS = ["seconds", "created", "time"]


def study_command(place):
    """Returns the command of the study whose files lie in the folder `place`."""
    places = [f"output_dir={place}/out", f"cache_dir={place}/cache"]
    return ["python", "-m", "lmc_lab.study", "study=soak", *places, "--config-dir", str(CONF)]


@dataclass(frozen=True)
class Products:
    """What a study ends in."""

    digests: dict[str, str]  # of endpoints and of tensors beside rows, by address
    rows: pd.DataFrame
    figures: frozenset[str]

    @classmethod
    def of(cls, place):
        out = place / "out"
        paths = [*out.glob("*/trunk-*/split-*/branch-*/endpoint.safetensors"), *out.glob("*/results/*.safetensors")]
        rows = pd.concat([pd.read_parquet(path) for path in sorted(out.glob("*/results/*.parquet"))])
        rows = rows.drop(columns=_TIME_COLUMNS, errors="ignore")
        report = out / "reports" / "soak"
        return cls(
            {str(path.relative_to(out)): checkpoint.load(path).digest for path in paths},
            rows.sort_values([*rows.columns]).reset_index(drop=True),
            frozenset(path.name for path in report.iterdir() if path.stat().st_size),
        )


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    text: str

    @property
    def has_succeeded(self):
        return self.code == 0 and "Traceback" not in self.text

    @property
    def is_sentence(self):
        """Whether it failed with one sentence and no traceback."""
        last = (self.text.strip().splitlines() or [""])[-1]
        return self.code == 1 and last.startswith("lmc_lab: ") and "Traceback" not in self.text

    @property
    def last_words(self):
        lines = [line for line in self.text.strip().splitlines() if not line.startswith("$ ")]
        place = next((i for i, line in enumerate(lines) if "Traceback" in line), len(lines) - 1)
        return f"exit code {self.code}: {' / '.join(lines[max(place - 1, 0) :][:3] + lines[-1:])[:600]}"


@dataclass(frozen=True)
class Reference:
    """An undisturbed study: its products, its stages' commands and how many seconds each took.

    What runs to its end may have a `python` of another folder, see `shell.warm_python`.
    """

    place: Path
    products: Products
    commands: dict[str, list[str]]
    seconds: dict[str, float]
    python: tuple[Path, ...] = ()

    def command(self, stage, place):
        """Returns the command of a stage, or of the whole study, for another folder."""
        return [item.replace(str(self.place), str(place)) for item in self.commands[stage]]

    def run(self, command, place, *, before=""):
        """Runs a command, a shell's words `before` it; the text is what it and the stages of a study printed."""
        done = subprocess.run(
            ["bash", "-c", f"{before}exec {shlex.join(command)}"], capture_output=True, text=True, cwd=place, timeout=900,
            env=environment(*self.python),
        )  # fmt: skip
        logs = "".join(path.read_text(errors="replace") for path in sorted(place.glob("out/logs/*.log")))
        return Ended(done.returncode, logs + done.stdout + done.stderr)

    def difference(self, place):
        """Returns how the study in `place` differs, or None."""
        try:
            found = Products.of(place)
        except Exception as error:
            return f"its products cannot be read: {type(error).__name__}: {error}"
        if found.digests != self.products.digests:
            names = {name for name, _ in found.digests.items() ^ self.products.digests.items()}
            return f"other tensors: {', '.join(sorted(names))}"
        if not found.rows.equals(self.products.rows):
            return f"other rows ({len(found.rows)}, not {len(self.products.rows)}, or other values)"
        if found.figures != self.products.figures:
            return f"other figures: {', '.join(sorted(found.figures ^ self.products.figures))}"
        leftovers = [str(path.relative_to(place)) for path in place.rglob(".*.tmp")]
        return f"temporary files left: {', '.join(leftovers)}" if leftovers else None


STAGES = ("trunks", "branches", "modes", "trunk-states", "report")


def undisturbed(place):
    """Runs the study in `place` and returns it."""
    place.mkdir(parents=True)
    started = time.monotonic()
    begins, lines = [], []
    with subprocess.Popen(
        study_command(place), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=place, env=environment()
    ) as process:
        for line in process.stdout:
            lines.append(line)
            if line.startswith("$ python"):
                begins.append((time.monotonic(), shlex.split(line)[1:]))
    assert process.returncode == 0 and len(begins) == len(STAGES), "".join(lines)
    ends = [moment for moment, _ in begins[1:]] + [time.monotonic()]
    seconds = {stage: end - begin for stage, (begin, _), end in zip(STAGES, begins, ends, strict=True)}
    commands = {stage: command for stage, (_, command) in zip(STAGES, begins, strict=True)}
    return Reference(
        place,
        Products.of(place),
        commands | {"study": study_command(place)},
        seconds | {"study": time.monotonic() - started},
    )


def finish(reference, place, stage="study"):
    """Gives the command of a stage until it ends; returns what is wrong, or None."""
    ended = reference.run(reference.command(stage, place), place)
    return None if ended.has_succeeded else f"the command given again fails: {ended.last_words}"
