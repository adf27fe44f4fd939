from pathlib import Path

from lmc_lab.runs.paths import RunPaths


def test_addresses_are_pinned():
    """Products of earlier versions must stay findable."""
    layout = RunPaths.of(Path("multirun"), "lenet", "0a1b2c3d")
    branch = layout.split(1, 2000).branch(7)
    assert {
        name: str(path)
        for name, path in {
            "trunk": layout.trunk(1).path,
            "step": layout.trunk(1).step(2000),
            "manifest": layout.split(1, 2000).manifest,
            "variant": layout.split(1, 2000, "-fresh_optimizer").path,
            "endpoint": branch.endpoint,
            "status": branch.status,
            "metrics": branch.metrics,
            "result": layout.result("convex_mode", "abc"),
        }.items()
    } == {
        "trunk": "multirun/lenet-0a1b2c3d/trunk-1",
        "step": "multirun/lenet-0a1b2c3d/trunk-1/step-2000.safetensors",
        "manifest": "multirun/lenet-0a1b2c3d/trunk-1/split-2000/split.json",
        "variant": "multirun/lenet-0a1b2c3d/trunk-1/split-2000-fresh_optimizer",
        "endpoint": "multirun/lenet-0a1b2c3d/trunk-1/split-2000/branch-7/endpoint.safetensors",
        "status": "multirun/lenet-0a1b2c3d/trunk-1/split-2000/branch-7/status.json",
        "metrics": "multirun/lenet-0a1b2c3d/trunk-1/split-2000/branch-7/metrics.csv",
        "result": "multirun/lenet-0a1b2c3d/results/convex_mode-abc.parquet",
    }


def test_only_whole_numbers_are_branches_of_a_mode(tmp_path):
    split = RunPaths.of(tmp_path, "lenet", "0").split(0, 5)
    for seed in (10, 2, "trunk"):
        split.branch(seed).path.mkdir(parents=True)
    assert split.branch_seeds() == [2, 10]
