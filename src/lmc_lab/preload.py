"""What the fork server of a sweep imports once, so that a job starts in milliseconds, not in the seconds that torch takes."""

import gc

import lightning.pytorch
import torch
import torchmetrics
from hydra.core.plugins import Plugins

import hydra_plugins.lmc_pool.launcher
import lmc_lab.compose
import lmc_lab.data.cache
import lmc_lab.tasks.classification
import lmc_lab.tasks.regression
import lmc_lab.train

__all__ = ["hydra_plugins", "lightning", "lmc_lab", "torch", "torchmetrics"]

Plugins.instance()
gc.freeze()  # a job's collections then leave the pages alone that all jobs share
