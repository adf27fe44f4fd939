"""What Weights & Biases writes offline, read back from its files, and what it is asked before anything starts."""

import json
import struct

import pytest
from wandb.proto import wandb_internal_pb2

from lmc_lab.errors import UserError
from lmc_lab.reporting import wandb_account
from shell import shell, succeed

SMALL = "task.max_steps=45 task.data.num_train=400 task.data.num_test=100 run.log_every=10"


def records(path):
    """Yields what is in a file of Weights & Biases: a log of LevelDB's, 32 kB a block, with seven bytes before the first."""
    content, place, whole = path.read_bytes(), 7, b""
    assert content[:4] == b":W&B"
    while place + 7 <= len(content):
        if (left := 32768 - place % 32768) < 7:  # no room for a header
            place += left
            continue
        length, kind = struct.unpack("<HB", content[place + 4 : place + 7])
        if kind == 0:
            return
        whole += content[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # all of a record, or its last part
            record = wandb_internal_pb2.Record()
            record.ParseFromString(whole)
            yield record
            whole = b""


def written(folder):
    """Returns the id, and what was logged, of each run below a folder."""
    found = []
    for path in sorted(folder.glob("wandb/offline-run-*/run-*.wandb")):
        own = list(records(path))
        (run_id,) = {record.run.run_id for record in own if record.WhichOneof("record_type") == "run"}
        histories = [record.history.item for record in own if record.WhichOneof("record_type") == "history"]
        rows = [
            {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in each} for each in histories
        ]
        found.append((run_id, rows))
    return found


def curve(rows, name="train_loss"):
    return [(row["trainer/global_step"], row[name]) for row in rows if name in row]


def test_a_run_is_known_by_its_address_and_tells_its_whole_curve_and_the_last_window(tmp_path, shared_cache):
    command = f"python -m lmc_lab.train {SMALL} logger=wandb output_dir={tmp_path} cache_dir={shared_cache}"
    succeed(f"{command} run.evaluate_every=10 split_step=20 seed=0", WANDB_MODE="offline")
    found = dict(written(tmp_path))
    assert len(found) == 2
    (trunk,) = [
        rows for run_id, rows in found.items() if run_id.startswith("mnist1d-") and "-trunk-0-split-20" not in run_id
    ]
    (branch,) = [rows for run_id, rows in found.items() if "-trunk-0-split-20-branch-0-" in run_id]
    assert [step for step, _ in curve(trunk)] == [10, 20]
    assert [step for step, _ in curve(branch)] == [30, 40, 45]
    assert [step for step, _ in curve(branch, "test_loss")] == [30, 40, 45]
    (metrics,) = tmp_path.rglob("branch-0/metrics.csv")
    told = [line.split(",")[:2] for line in metrics.read_text().splitlines()[1:]]
    assert [(int(step), float(loss)) for step, loss in told] == [(s, pytest.approx(v)) for s, v in curve(branch)]


def test_a_run_that_goes_on_offline_replaces_what_was_written_of_it(tmp_path, shared_cache):
    """The trunk is trained to its end, then again up to a new split, only to save its state there."""
    command = f"python -m lmc_lab.train {SMALL} logger=wandb run.evaluate_every=10 output_dir={tmp_path}"
    for which in ("'split_step=[20]'", "split_step=33 seed=0"):
        succeed(f"{command} {which} cache_dir={shared_cache}", WANDB_MODE="offline")
    (trunk,) = [rows for run_id, rows in written(tmp_path) if "split" not in run_id]
    assert [step for step, _ in curve(trunk)] == [10, 20, 30, 40, 45]
    assert [step for step, _ in curve(trunk, "test_loss")] == [10, 20, 30, 40, 45]


def test_branches_that_are_trained_together_tell_each_step_once(tmp_path, shared_cache):
    command = (
        f"python -m lmc_lab.train {SMALL} logger=wandb run.together=2 output_dir={tmp_path} cache_dir={shared_cache}"
    )
    succeed(f"{command} split_step=20 'seed=[0,1]'", WANDB_MODE="offline")
    branches = [rows for run_id, rows in written(tmp_path) if "branch" in run_id]
    assert len(branches) == 2 and all([step for step, _ in curve(rows)] == [30, 40, 45] for rows in branches)


def test_two_learning_rates_are_two_runs(tmp_path, shared_cache):
    command = (
        f"python -m lmc_lab.train {SMALL} logger=wandb output_dir={tmp_path} cache_dir={shared_cache} split_step=10"
    )
    succeed(f"{command} -m task.optimizer.lr=0.01,0.02", WANDB_MODE="offline")
    paths = tmp_path.glob("wandb/offline-run-*/run-*.wandb")
    first, second = [next(r.run for r in records(path) if r.WhichOneof("record_type") == "run") for path in paths]
    assert first.run_id != second.run_id and first.display_name != second.display_name
    assert first.run_group != second.run_group


@pytest.mark.parametrize("mode", ["disabled", "offline"])
def test_no_key_is_asked_for_where_none_is_needed(tmp_path, shared_cache, mode):
    command = f"python -m lmc_lab.train {SMALL} logger=wandb logger.mode={mode} split_step=10"
    succeed(f"{command} output_dir={tmp_path} cache_dir={shared_cache}", NETRC=str(tmp_path / "netrc"))
    assert bool(list(tmp_path.glob("wandb/*"))) == (mode == "offline")


@pytest.mark.parametrize("entry_point", ["train split_step=10", "study", "train split_step=10 -m seed=0,1"])
def test_without_a_key_one_is_told_before_anything_starts(tmp_path, shared_cache, entry_point):
    where = f"output_dir={tmp_path}/out cache_dir={shared_cache}"
    program, *rest = entry_point.split()
    failed = shell(
        f"python -m lmc_lab.{program} {' '.join(rest)} logger=wandb {where}",
        NETRC=str(tmp_path / "netrc"), WANDB_API_KEY="", WANDB_MODE="online",
    )  # fmt: skip
    assert failed.returncode == 1 and "expected a key of Weights & Biases to log online, found none" in failed.stderr
    assert "Traceback" not in failed.stderr and not list(tmp_path.rglob("*.safetensors"))


def test_auto_is_nothing_without_a_key_and_what_wandb_mode_says(monkeypatch):
    monkeypatch.delenv("WANDB_MODE", raising=False)
    monkeypatch.setattr(wandb_account, "_has_key", lambda: False)
    assert wandb_account.way_of("auto") is None and wandb_account.way_of("disabled") == "disabled"
    for mode, given in (("online", None), ("auto", "online")):
        if given:
            monkeypatch.setenv("WANDB_MODE", given)
        with pytest.raises(UserError, match="expected a key of Weights & Biases to log online, found none; run"):
            wandb_account.way_of(mode)
    monkeypatch.setenv("WANDB_MODE", "offline")
    assert wandb_account.way_of("auto") == "offline"
    monkeypatch.setenv("WANDB_MODE", "of")
    with pytest.raises(UserError, match="expected WANDB_MODE to be one of online, offline, disabled, found 'of'"):
        wandb_account.way_of("auto")
    monkeypatch.delenv("WANDB_MODE")
    monkeypatch.setattr(wandb_account, "_has_key", lambda: True)
    assert wandb_account.way_of("auto") == "online" == wandb_account.way_of("online")


def test_a_key_that_cannot_be_one_is_one_sentence(tmp_path, shared_cache):
    failed = shell(
        f"python -m lmc_lab.train logger=wandb split_step=10 output_dir={tmp_path} cache_dir={shared_cache}",
        WANDB_API_KEY="not a key", WANDB_MODE="online", NETRC=str(tmp_path / "netrc"),
    )  # fmt: skip
    assert failed.returncode == 1 and "Traceback" not in failed.stderr, failed.stderr
    assert "key of Weights & Biases" in failed.stderr


def test_auto_trains_without_a_key(tmp_path, shared_cache):
    command = (
        f"python -m lmc_lab.train {SMALL} logger=auto split_step=10 output_dir={tmp_path} cache_dir={shared_cache}"
    )
    succeed(command, NETRC=str(tmp_path / "netrc"), WANDB_API_KEY="")
    assert list(tmp_path.rglob("step-10.safetensors")) and not list(tmp_path.glob("wandb*"))


def test_tensorboard_has_the_curve(tmp_path, shared_cache):
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    command = f"python -m lmc_lab.train {SMALL} logger=tensorboard split_step=20 seed=0"
    succeed(f"{command} output_dir={tmp_path} cache_dir={shared_cache}")
    (folder,) = tmp_path.glob("tensorboard/mnist1d-*/trunk-0/split-20/branch-0")
    found = events.EventAccumulator(str(folder)).Reload().Scalars("train_loss")
    assert [event.step for event in found] == [30, 40, 45]
