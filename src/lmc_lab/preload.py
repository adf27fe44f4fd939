"""What the fork server of a sweep imports once, so that its workers start in milliseconds, not in the seconds that torch takes.

Lightning is not among it: it takes as long again, which a job without anything to train would wait for.
"""

from lmc_lab.process import heavy_imports, keep_large_pages

keep_large_pages()  # here, since a forked worker has tensors from the start
with heavy_imports():  # what all workers share is then not looked at, nor its pages copied, by any of them
    import hydra_plugins.lmc_pool.launcher
    import lmc_lab.analyses.store
    import lmc_lab.compose
    import lmc_lab.data.cache
    import lmc_lab.runs.branch
    import lmc_lab.tasks.classification
    import lmc_lab.tasks.objective
    import lmc_lab.tasks.regression

__all__ = ["hydra_plugins", "lmc_lab"]
