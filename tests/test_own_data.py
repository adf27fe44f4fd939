"""Data and recipes by config alone: one yaml, no code, through the shell."""

import numpy as np
import pandas as pd
import pytest
import yaml

from data.test_sources import write_folder, write_npz, write_parquet, write_safetensors
from lmc_lab.files import read_json
from shell import shell, succeed

PICTURES = [{"_target_": "torch.nn.Flatten"}, {"_target_": "torch.nn.LazyLinear", "out_features": 3}]
SEQUENCES = [
    {"_target_": "torch.nn.Embedding", "num_embeddings": 256, "embedding_dim": 4},
    {"_target_": "torch.nn.Linear", "in_features": 4, "out_features": 256},
]


def write_text(folder):
    (folder / "mine.txt").write_text("to be or not to be, that is the question\n" * 5)


def write_task(folder, source, data, *, layers=PICTURES, num_classes=3):
    """Writes a task with these data to the folder's configs."""
    task = {
        "defaults": [{"data": source}, {"optimizer": "adam"}, {"module": "classification"}, "_self_"],
        "name": "mine",
        "model": {"_target_": "torch.nn.Sequential", "_args_": layers},
        "data": data,
        "module": {"num_classes": num_classes},
        "optimizer": {"lr": 0.01},
        "batch_size": 4,
        "max_steps": 6,
        "precision": "32-true",
    }
    (folder / "task").mkdir()
    (folder / "task" / "mine.yaml").write_text(yaml.safe_dump(task, sort_keys=False))


TRAIN = "python -m lmc_lab.train --config-dir . task=mine data_dir=. split_step=2 'seed=[0,1]'"
DATASET = {"_target_": "torchvision.datasets.ImageFolder", "root": "mine/train"}
SOURCES = {
    "npz": (write_npz, {"path": "mine.npz"}),
    "safetensors": (write_safetensors, {"path": "mine.safetensors"}),
    "folder": (write_folder, {"path": "mine"}),
    "parquet": (write_parquet, {"path": "mine"}),
    "torch": (write_folder, {"train": DATASET, "test_share": 0.25}),
}


@pytest.mark.parametrize("source", SOURCES)
def test_branches_of_pictures_of_ones_own(tmp_path, source):
    write, data = SOURCES[source]
    write(tmp_path)
    write_task(tmp_path, source, data)
    succeed(TRAIN, cwd=tmp_path)
    assert len(list(tmp_path.glob("multirun/mine-*/trunk-0/split-2/branch-*/endpoint.safetensors"))) == 2


def test_a_mode_of_next_token_prediction(tmp_path):
    write_text(tmp_path)
    data = {"path": "mine.txt", "length": 8, "test_share": 0.2}
    write_task(tmp_path, "tokens", data, layers=SEQUENCES, num_classes=256)
    succeed(TRAIN, cwd=tmp_path)
    analyze = "python -m lmc_lab.analyze --config-dir . task=mine data_dir=. split_step=2 'analysis=[convex_mode,predictions]'"
    succeed(analyze, cwd=tmp_path)
    rows = pd.concat(map(pd.read_parquet, tmp_path.glob("multirun/mine-*/results/*.parquet")))
    losses = rows.query("quantity == 'endpoint_loss' and subset == 'train'")["value"]
    assert len(losses) and np.isfinite(losses).all() and (losses < 6).all()


def test_a_recipe_by_keys_alone(tmp_path):
    write_folder(tmp_path)
    write_task(tmp_path, "folder", {"path": "mine"})
    recipe = (
        "+task/scheduler=cosine task.scheduler.warm_up_steps=2 task.module.label_smoothing=0.1 "
        "task.decay_norms_and_biases=false '+task.optimizer.weight_decay=0.1' "
        "'task.augmentation=[{_target_: torchvision.transforms.v2.RandomHorizontalFlip}]'"
    )
    succeed(f"{TRAIN} {recipe}", cwd=tmp_path)
    plain = shell(f"{TRAIN} task.scheduler=cosine", cwd=tmp_path)
    assert "expected task.scheduler to be a mapping of keys to values or null, found 'cosine'" in plain.stderr
    (status,) = tmp_path.glob("multirun/mine-*/trunk-0/split-2/branch-0/status.json")
    assert read_json(status)["state"] == "finished"


def test_a_damaged_file_is_named_by_the_command(tmp_path):
    (tmp_path / "mine.npz").write_bytes(b"PK no")
    write_task(tmp_path, "npz", {"path": "mine.npz"})
    found = shell(TRAIN, cwd=tmp_path)
    assert found.returncode == 1 and "expected arrays in mine.npz, found a file that cannot be read" in found.stderr
    assert "Traceback" not in found.stderr
