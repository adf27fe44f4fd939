"""For jobs that measure, which do without Lightning."""

from lmc_lab.process import heavy_imports, keep_freed_memory

keep_freed_memory()  # for all jobs: in a job of its own it would come after torch's first tensor
with heavy_imports():
    import lmc_lab.analyses.store
    import lmc_lab.preload.task
    import lmc_lab.tasks.objective

__all__ = ["lmc_lab"]
