"""Whether, how and under which id something is logged to Weights & Biases."""

import hashlib
import os
import re
import shutil
from collections.abc import Mapping
from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path
from typing import Literal, cast

import wandb

from lmc_lab.errors import UserError
from lmc_lab.values import check_value

Way = Literal["online", "offline", "disabled"]
Mode = Literal["auto", "online", "offline", "disabled"]  # auto: one of the others, or not at all, as `way_of` finds


def way_of(mode: Mode) -> Way | None:
    """Returns how is logged: ``auto`` as WANDB_MODE says, else online where there is a key; None for not at all.

    Raises:
        UserError: WANDB_MODE is something else, or nothing is to be logged online since there is no key.
    """
    given = os.environ.get("WANDB_MODE")
    if mode == "auto" and not given:
        return "online" if _has_key() else None
    way = given if mode == "auto" else mode
    check_value(way, Way, "WANDB_MODE")
    if way == "online" and not _has_key():
        raise UserError(
            "expected a key of Weights & Biases to log online, found none; run `wandb login`, set WANDB_API_KEY, or "
            "log offline (WANDB_MODE=offline)"
        )
    return cast("Way", way)


def _has_key() -> bool:
    """Returns whether there is a key of Weights & Biases; asks nobody, neither the user nor the server.

    Raises:
        UserError: it cannot be one.
    """
    try:
        with redirect_stderr(StringIO()):  # it would tell that it found none
            return wandb.login(prompt=False, verify=False)
    except wandb.errors.Error as error:
        raise UserError(
            f"expected a key of Weights & Biases, found one that it refuses ({error}); change it"
        ) from error


def id_of(run_address: str) -> str:
    """Returns the id of the run at an address, which can be read and is no other address's."""
    return f"{re.sub(r'[^A-Za-z0-9_-]+', '-', run_address)[:80]}-{hashlib.sha256(run_address.encode()).hexdigest()[:8]}"


def remove_offline(output_dir: Path, run_id: str) -> None:
    """Removes what was written of a run offline, which another is about to replace."""
    for folder in (output_dir / "wandb").glob(f"offline-run-*-{run_id}"):
        shutil.rmtree(folder)


def log_to_sweep(metrics: Mapping[str, float]) -> None:
    """Logs numbers to the run of which an agent of a sweep has started this process, if one has."""
    if "WANDB_SWEEP_ID" not in os.environ:
        return
    with wandb.init() as run:
        run.log(dict(metrics))
