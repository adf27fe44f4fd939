import os
from dataclasses import dataclass

import pytest

from hydra_plugins.lmc_pool import launcher


@pytest.mark.parametrize(("num_jobs", "share"), [(1, "6"), (2, "3"), (9, "1")])
def test_a_job_has_its_share_of_the_cores(monkeypatch, num_jobs, share):
    @dataclass
    class Ask:
        index: int
        overrides: list[str]

        def __call__(self) -> str | None:
            return os.environ["OMP_NUM_THREADS"]  # what a job returns is why it failed

    monkeypatch.setattr(launcher, "_num_cores", lambda: 6)
    jobs = [Ask(number, [f"seed={number}", "task=lenet"]) for number in range(num_jobs)]
    assert set(launcher.run_jobs(jobs, num_workers=4).values()) == {share}
