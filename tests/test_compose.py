import pytest
import torch
from hydra import compose, initialize_config_dir

from conftest import REPOSITORY
from lmc_lab.compose import build_experiment
from lmc_lab.errors import UserError


def experiment(*overrides):
    with initialize_config_dir(str(REPOSITORY / "conf"), version_base="1.3"):
        return build_experiment(compose("train", list(overrides)))


def test_callbacks_of_the_task_are_lightnings():
    own = "task.callbacks=[{_target_: lightning.pytorch.callbacks.EMAWeightAveraging},{_target_: torch.nn.ReLU}]"
    with pytest.raises(UserError, match=r"expected task.callbacks\[1\] to make a lightning\.\S*Callback, found a ReLU"):
        experiment(own).task.make_callbacks()
    (callback,) = experiment(f"{own.partition(',{')[0]}]").task.make_callbacks()
    assert type(callback).__name__ == "EMAWeightAveraging"


@pytest.mark.parametrize(
    ("trainer", "is_there", "expected"),
    [("auto", True, "cuda"), ("auto", False, "cpu"), ("cpu", True, "cpu"), ("gpu", True, "cuda")],
)
def test_auto_takes_a_gpu_where_there_is_one(monkeypatch, trainer, is_there, expected):
    """As Lightning's Trainer is told, too."""
    given = {}
    monkeypatch.setattr(torch.cuda, "is_available", lambda: is_there)
    monkeypatch.setattr("lightning.pytorch.Trainer.__init__", lambda self, **arguments: given.update(arguments))
    own = experiment(f"trainer={trainer}")
    own.make_trainer(max_steps=1)
    assert own.device == expected and given["accelerator"] == ("gpu" if trainer == "gpu" else expected)
    assert experiment().device == ("cuda" if is_there else "cpu")  # auto is the default


def test_nothing_is_given_outside_of_a_command():
    assert experiment().given == ()
