"""For jobs that measure, which do without Lightning."""

from lmc_lab.process import heavy_imports, keep_large_pages

keep_large_pages()  # here, since a forked job has tensors from the start
with heavy_imports():
    import lmc_lab.analyses.store
    import lmc_lab.preload.task
    import lmc_lab.tasks.objective

__all__ = ["lmc_lab"]
