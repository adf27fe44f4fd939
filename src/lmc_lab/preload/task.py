"""For whatever job: torch, and how a config becomes a task."""

from lmc_lab.process import heavy_imports

with heavy_imports():  # the objects that all jobs share are then not looked at, nor their pages copied, by any of them
    import torch
    from hydra.core.plugins import Plugins

    import hydra_plugins.lmc_pool.launcher
    import lmc_lab.compose
    import lmc_lab.data.cache
    import lmc_lab.tasks.classification
    import lmc_lab.tasks.regression

    Plugins.instance()

__all__ = ["hydra_plugins", "lmc_lab", "torch"]
