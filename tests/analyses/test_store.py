import pytest

from lmc_lab.analyses.convex_mode import ConvexMode
from lmc_lab.analyses.distances import Distances
from lmc_lab.analyses.store import SCHEMA, all_rows, ensure_rows, read_results
from lmc_lab.files import read_json
from lmc_lab.runs.branch import train_branch
from lmc_lab.runs.endpoints import load_mode
from lmc_lab.tasks.objective import EvaluationSettings
from tiny import tiny_experiment


@pytest.fixture
def experiment(tmp_path):
    experiment = tiny_experiment(tmp_path)
    for seed in range(3):
        train_branch(experiment, 13, seed)
    return experiment


def test_rows_are_tidy_and_say_where_they_come_from(experiment):
    path = ensure_rows(experiment, load_mode(experiment, 13), ConvexMode(num_samples=20))
    rows = all_rows(read_results(experiment.layout))
    assert list(rows.columns) == list(SCHEMA)
    assert rows[["task", "trunk", "split_step", "num_endpoints", "bn_policy"]].drop_duplicates().values.tolist() == [
        ["tiny", 0, 13, 3, "reestimate"]
    ]
    p_conv = rows[(rows["quantity"] == "p_conv") & (rows["subset"] == "train")].iloc[0]
    assert p_conv["num_samples"] == 20 and p_conv["low"] <= p_conv["value"] <= p_conv["high"]
    manifest = read_json(experiment.layout.manifest)
    assert manifest[path.name]["versions"]["torch"] and manifest[path.name]["config"] == {"task": "tiny"}


def test_losses_of_endpoints_are_those_of_a_plain_evaluation(experiment):
    import torch

    mode = load_mode(experiment, 13)
    ensure_rows(experiment, mode, ConvexMode(num_samples=5, evaluation=EvaluationSettings(bn_policy="keep")))
    rows = (
        all_rows(read_results(experiment.layout))
        .query("quantity == 'branch_loss' and subset == 'test'")
        .set_index("branch")
    )
    module = experiment.task.initialise(0).eval()
    inputs, targets = experiment.task.dataset.test.batch(slice(None))
    for i, seed in enumerate(mode.seeds):
        buffers = {name: values[i] for name, values in mode.buffers.items()}
        module.load_state_dict(mode.layout.unflatten(mode.endpoints[i]) | buffers)
        with torch.no_grad():
            loss = torch.nn.functional.cross_entropy(module(inputs), targets)
        assert rows.loc[seed, "value"] == pytest.approx(loss.item(), rel=1e-5)


def test_more_endpoints_or_other_settings_are_another_file_and_the_newest_of_a_mode_is_read(experiment):
    first = ensure_rows(experiment, load_mode(experiment, 13, seeds=[0, 1]), Distances(num_samples=9))
    second = ensure_rows(experiment, load_mode(experiment, 13), Distances(num_samples=9))
    other = ensure_rows(experiment, load_mode(experiment, 13), Distances(num_samples=8))
    assert len({first, second, other}) == 3
    rows = all_rows(read_results(experiment.layout))
    assert set(rows["num_endpoints"]) == {3} and rows["settings"].nunique() == 2


def test_a_mode_cut_down_on_purpose_never_passes_for_the_whole(experiment):
    ensure_rows(experiment, load_mode(experiment, 13), Distances(num_samples=9))
    ensure_rows(experiment, load_mode(experiment, 13, seeds=[0, 1]), Distances(num_samples=9), seeds=[0, 1])
    assert set(all_rows(read_results(experiment.layout))["num_endpoints"]) == {2, 3}


def test_distances_are_euclidean(experiment):
    mode = load_mode(experiment, 13)
    found = {m.quantity: m.value for m in Distances(num_samples=9).measure(mode, experiment.task)}
    points = mode.endpoints.double()
    assert found["endpoint_start"] == pytest.approx((points - mode.at_start).norm(dim=1).mean().item())
    assert found["split_start"] == pytest.approx((mode.at_split.double() - mode.at_start).norm().item())
    assert found["hull_radius"] == pytest.approx((points - points.mean(0)).norm(dim=1).mean().item())
    assert found["path_length"] >= found["endpoint_start"]
