import torch

from lmc_lab.data.examples import Examples


def test_drawn_examples_are_spread_and_the_rest_is_the_rest():
    examples = Examples(torch.arange(1000), -torch.arange(1000), lambda inputs: inputs)
    drawn, others = examples.draw(100), examples.undrawn(100)
    assert torch.equal(torch.cat([drawn.inputs, others.inputs]).sort().values, examples.inputs)
    assert drawn.inputs.equal(drawn.inputs.sort().values) and drawn.targets.equal(-drawn.inputs)
    assert drawn.inputs.equal(examples.draw(100).inputs)  # once and for all
    assert 400 < drawn.inputs.double().mean() < 600
    assert examples.draw(2000).inputs.equal(examples.inputs)  # all, if there are fewer
