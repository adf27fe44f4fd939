"""What a study was asked for: its config and overrides, which a report must repeat to find it."""

import json
import re
from typing import Any

from omegaconf import DictConfig

from lmc_lab.construct import plain
from lmc_lab.results.bundle import FOLDER_KEYS
from lmc_lab.values import override_text

_WITHOUT_EFFECT = r"[+~]*(hydra|logger|trainer|run\.(?!save_steps))\b"  # on what is measured


def asked(config: DictConfig) -> dict[str, Any]:
    """Returns what distinguishes a study from others of its name: its yaml, and the overrides that say what is measured."""
    overrides = [item for item in config.overrides if not re.match(_WITHOUT_EFFECT, item)]
    content: dict[str, Any] = json.loads(json.dumps({"study": plain(config.study), "overrides": overrides}))
    return content


def folder_overrides(config: DictConfig) -> list[str]:
    """Returns the overrides of the folders, and of `locks`, which depends on where they are."""
    return [
        *(f"{key}={override_text(config[key])}" for key in FOLDER_KEYS),
        *([] if config.locks else ["locks=false"]),
    ]
