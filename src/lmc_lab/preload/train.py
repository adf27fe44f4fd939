"""For jobs that train."""

from lmc_lab.process import heavy_imports

with heavy_imports():
    import lightning.pytorch
    import torchmetrics

    import lmc_lab.preload.task
    import lmc_lab.runs.branch
    import lmc_lab.runs.trunk

__all__ = ["lightning", "lmc_lab", "torchmetrics"]
