"""Which keys of Lightning's Trainer a user may give, and what to use in place of the others."""

from collections.abc import Mapping
from typing import Any

from lmc_lab.errors import UserError, nearest

# They change where a run computes, when it stops and what it tells, but not which steps it takes.
PASSED_ON = frozenset(
    [
        "accelerator",
        "benchmark",
        "deterministic",
        "detect_anomaly",
        "devices",
        "enable_autolog_hparams",
        "inference_mode",
        "limit_val_batches",
        "max_time",
        "num_nodes",
        "num_sanity_val_steps",
        "profiler",
        "strategy",
    ]
)

_OWN = "which lmc_lab sets itself"
_NO_EPOCHS = "but a run here counts steps in one endless epoch"
_NOT_DONE = "which nothing here does"
_ORDER = "but the batch of step t is a function of seed and t"

# key -> why it is refused, and what to use instead.
REFUSED: dict[str, tuple[str, str]] = {
    "accumulate_grad_batches": (_ORDER, "raise task.batch_size"),
    "barebones": (_OWN, "drop it"),
    "callbacks": ("but what changes weights belongs to the task", "use task.callbacks"),
    "check_val_every_n_epoch": (_NO_EPOCHS, "use run.evaluate_every"),
    "default_root_dir": (_OWN, "use output_dir"),
    "enable_checkpointing": (_OWN, "use run.save_steps and run.resume_seconds"),
    "enable_model_summary": (_OWN, "drop it"),
    "enable_progress_bar": (_OWN, "drop it"),
    "fast_dev_run": ("which would pass for a whole run", "use task.max_steps=1"),
    "gradient_clip_algorithm": ("but what changes weights belongs to the task", "use task.gradient_clip_algorithm"),
    "gradient_clip_val": ("but what changes weights belongs to the task", "use task.gradient_clip_val"),
    "limit_predict_batches": (_NOT_DONE, "drop it"),
    "limit_test_batches": (_NOT_DONE, "drop it"),
    "limit_train_batches": (_ORDER, "use task.data.num_train for fewer examples"),
    "log_every_n_steps": (_OWN, "use run.log_every"),
    "logger": (_OWN, "use logger=wandb"),
    "max_epochs": (_NO_EPOCHS, "use task.max_steps"),
    "max_steps": ("but how long a run is belongs to the task", "use task.max_steps"),
    "min_epochs": (_NO_EPOCHS, "use task.max_steps"),
    "min_steps": (_NO_EPOCHS, "use task.max_steps"),
    "model_registry": (_NOT_DONE, "drop it"),
    "overfit_batches": (_ORDER, "use task.data.num_train for fewer examples"),
    "plugins": (_OWN, "use task.precision for a precision"),
    "precision": ("but what changes weights belongs to the task", "use task.precision"),
    "reload_dataloaders_every_n_epochs": (_NO_EPOCHS, "drop it"),
    "sync_batchnorm": ("but a run has one device", "drop it"),
    "use_distributed_sampler": (_OWN, "drop it"),
    "val_check_interval": (_OWN, "use run.evaluate_every"),
}

_OF_THE_TASK = frozenset(["callbacks", "gradient_clip_algorithm", "gradient_clip_val", "max_steps", "precision"])
_ONE_DEVICE = {"num_nodes": (1,), "strategy": ("auto", "single_device")}


def check_trainer(settings: Mapping[str, Any]) -> None:
    """Refuses settings of the Trainer that would break a promise of this package, or that it makes itself.

    Args:
        settings: by key, without what Hydra adds.

    Raises:
        UserError: there is one.
    """
    for key, value in settings.items():
        if key in REFUSED:
            why, instead = REFUSED[key]
            raise UserError(f"expected no trainer.{key}, found '{value}', {why}; {instead}")
        if key not in PASSED_ON:
            raise UserError(f"expected keys of Lightning's Trainer, found trainer.{key}; {nearest(key, PASSED_ON)}")
        if value not in _ONE_DEVICE.get(key, (value,)) or (key == "devices" and not _is_one_device(value)):
            raise UserError(
                f"expected one device a run, found trainer.{key}={value}; give each device runs of its own, as a sweep does"
            )


def check_task(task: Mapping[str, Any]) -> None:
    """Refuses keys of the Trainer among those of a task, where they would change the address and do nothing.

    Raises:
        UserError: there is one.
    """
    for key, value in task.items():
        if key in PASSED_ON:
            raise UserError(f"expected no task.{key}, found '{value}', which is not the task's; use trainer.{key}")
        if key in REFUSED and key not in _OF_THE_TASK:
            why, instead = REFUSED[key]
            raise UserError(f"expected no task.{key}, found '{value}', {why}; {instead}")


def _is_one_device(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return len(value) == 1
    return str(value) == "1" or (isinstance(value, str) and value.endswith(",") and value.count(",") == 1)
