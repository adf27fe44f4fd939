"""What the fork server of a sweep imports once, so that its workers start in milliseconds, not in the seconds that torch takes.

It is what all jobs share, and both kinds of task, which are small. What takes long and only some need, each worker imports
when it does: Lightning takes as long as torch, and who has nothing to train would wait for it.
"""

from lmc_lab.process import heavy_imports

with heavy_imports():  # what all workers share is then not looked at, nor its pages copied, by any of them
    import hydra_plugins.lmc_pool.launcher
    import lmc_lab.compose
    import lmc_lab.data.cache
    import lmc_lab.runs.branch
    import lmc_lab.tasks.classification
    import lmc_lab.tasks.regression

__all__ = ["hydra_plugins", "lmc_lab"]
