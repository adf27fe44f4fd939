import pytest
from lightning.pytorch import Callback

from lmc_lab.runs.callbacks import CallbackGroup, Heartbeat


class Stateful(Callback):
    """Has what a group passes on."""

    state_key = "stateful"

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        """Is passed on."""

    def state_dict(self):
        return {"a": 1}


@pytest.mark.parametrize("hook", ["on_before_optimizer_step", "on_validation_end", "setup", "on_save_checkpoint"])
def test_a_group_refuses_a_callback_with_a_hook_that_it_would_drop(hook):
    Other = type("Other", (Stateful,), {hook: lambda self, *given: None})
    with pytest.raises(TypeError, match=f"found Other with {hook}; pass it on there"):
        CallbackGroup(Heartbeat({}, name="run"), Other())


def test_a_group_passes_on_what_its_parts_have():
    group = CallbackGroup(Stateful(), Heartbeat({}, name="run"))
    assert group.state_dict()["stateful"] == {"a": 1}


def test_a_group_has_the_hooks_that_lightning_calls():
    """By their names: a hook that Lightning has renamed would never be called."""
    own = {name for name in vars(CallbackGroup) if not name.startswith("_")}
    assert own <= vars(Callback).keys() and len(own) == 8
