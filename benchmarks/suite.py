"""The suite as it is used: experiments composed from conf/, and its entry points as processes."""

import shlex
import subprocess
from pathlib import Path

import torch
from hydra import compose, initialize_config_dir

from lmc_lab.compose import build_experiment
from lmc_lab.configs import config_dir
from lmc_lab.runs.experiment import Experiment
from lmc_lab.stages import command
from lmc_lab.tasks.task import Task


def build(*overrides: str) -> Experiment:
    """Returns the experiment that `python -m lmc_lab.train` would make of these overrides; from now on one thread."""
    torch.set_num_threads(1)
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        return build_experiment(compose("train", list(overrides)))


def decode(task: Task) -> None:
    """Decodes the task's data if nobody has, so that no time includes it."""
    len(task.dataset.train)


def run(entry_point: str, *overrides: str, multirun: bool = False) -> None:
    """Runs a command as a user does, through the shell; see `shell`."""
    shell(shlex.join(command(entry_point, *overrides, multirun=multirun)))


def shell(script: str) -> str:
    """Runs a script in the shell and returns what it printed.

    Raises:
        RuntimeError: it failed; with all that it printed.
    """
    result = subprocess.run(script, shell=True, capture_output=True, text=True)
    if result.returncode != 0:
        raise RuntimeError(f"expected success of {script}\nfound {result.stdout}{result.stderr}")
    return result.stdout


def output_in(folder: Path | str) -> str:
    """Returns the override that puts all products into `folder`."""
    return f"output_dir={folder}"
