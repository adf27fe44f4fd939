"""All points by one call of each operation, as a GPU wants them."""

from functools import partial
from typing import final

import torch
from torch import Tensor, nn

from lmc_lab.errors import one_line
from lmc_lab.inputs import Inputs, device_of, each
from lmc_lab.landscape.parameters import States
from lmc_lab.stacked.copies import Copies, stack
from lmc_lab.stacked.graph import UnsupportedModel
from lmc_lab.stacked.moments import batch_moments
from lmc_lab.tasks.device import PassSizes
from lmc_lab.tasks.forward import Forward, InputParts, Outputs, changes_inputs, padded


@final
class Vectorised(Forward):
    """All points by one call of each operation (`stacked.copies`): on a GPU, where calls are what a small network costs.

    Every pass is on equally many examples, the last one with copies of its last example: the kernels that are chosen, and
    where in memory the numbers of a point begin, are then the same for all chunks.

    Args:
        model: to be evaluated, in eval mode.
        inputs: an example of what it takes, (B, ...).
        sizes: of a pass.

    Raises:
        UnsupportedModel: `torch.func` cannot make several of the model.
    """

    method = "vectorised"

    def __init__(self, model: nn.Module, inputs: Inputs, sizes: PassSizes) -> None:
        self.device = device_of(inputs)
        self.num_models, self.num_examples = sizes.num_models, sizes.num_examples
        self._model = model
        self._copies = Copies(model, shares_arguments=True)
        self._try(inputs)

    def at(self, states: States) -> Outputs:
        """Returns what runs all points at once.

        Their tensors have memory of their own: of views of larger ones a product's last bit may depend on where they begin.
        """
        copies = {name: values.clone(memory_format=torch.contiguous_format) for name, values in states.items()}
        return partial(self._run, copies)

    def inputs(self, inputs: Inputs) -> InputParts:
        """Returns as many inputs as every pass has."""
        return [each(lambda tensor: padded(tensor.to(self.device), self.num_examples), inputs)]

    def targets(self, targets: Tensor) -> Tensor:
        """Returns as many targets."""
        return padded(targets.to(self.device), self.num_examples)

    def moments(self, states: States, inputs: Inputs) -> dict[str, Tensor]:
        """Returns the moments (n, C), of one point after another: a batch of 2,048 keeps a GPU busy."""
        return batch_moments(self._model, states, inputs)

    def _run(self, states: States, inputs: InputParts) -> Tensor:
        return self._copies(states, *inputs)

    def _try(self, inputs: Inputs) -> None:
        if changes_inputs(self._model, inputs):
            raise UnsupportedModel("one that changes its inputs in place")
        tensors = dict(self._model.named_parameters()) | dict(self._model.named_buffers())
        try:
            with torch.no_grad():
                self._run(stack(tensors, 2), [inputs])
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # whatever torch.func cannot do with a module of the user's
            raise UnsupportedModel(f"one that torch.func cannot vectorise ({one_line(error)})") from error
