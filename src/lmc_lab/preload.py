"""What the fork server of a sweep imports once, so that a job starts in milliseconds, not in the seconds that torch takes.

The entry points are not among them: each job runs its own as its main module, and runpy warns of one that is there already.
"""

from lmc_lab.process import heavy_imports

with heavy_imports():  # the objects that all jobs share are then not looked at, nor their pages copied, by any of them
    import lightning.pytorch
    import torch
    import torchmetrics
    from hydra.core.plugins import Plugins

    import hydra_plugins.lmc_pool.launcher
    import lmc_lab.compose
    import lmc_lab.data.cache
    import lmc_lab.runs.branch
    import lmc_lab.runs.trunk
    import lmc_lab.tasks.classification
    import lmc_lab.tasks.regression

    Plugins.instance()

__all__ = ["hydra_plugins", "lightning", "lmc_lab", "torch", "torchmetrics"]
