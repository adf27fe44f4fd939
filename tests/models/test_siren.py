import math
import os
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from lmc_lab.data.waveform import load
from lmc_lab.models.siren import Sine, Siren

DATA_DIR = Path(os.environ.get("LMC_DATA_DIR", Path(__file__).parents[3] / "shared" / "data"))


def test_has_five_layers_and_their_parameters():
    model = Siren()
    assert [(layer.in_features, layer.out_features) for layer in model.layers if isinstance(layer, nn.Linear)] == [
        (1, 256),
        (256, 256),
        (256, 256),
        (256, 256),
        (256, 1),
    ]
    assert [layer.omega for layer in model.layers if isinstance(layer, Sine)] == [3000, 30, 30, 30]
    assert sum(parameter.numel() for parameter in model.parameters()) == 198_145


def test_weights_fill_the_bounds_of_the_paper():
    first, *others = (layer for layer in Siren().layers if isinstance(layer, nn.Linear))
    for layer, bound in [(first, 1.0), *((layer, math.sqrt(6 / 256) / 30) for layer in others)]:
        assert 0.95 * bound < layer.weight.abs().max() <= bound


def test_hidden_features_keep_their_distribution():
    """The arcsine distribution of a sine's values, with deviation 1 / sqrt(2), in every layer (section 3.2)."""
    torch.manual_seed(0)
    features = torch.linspace(-1, 1, 2000).unsqueeze(1)
    for layer in Siren().layers[:-1]:
        features = layer(features)
        if isinstance(layer, Sine):
            assert features.std().item() == pytest.approx(0.5**0.5, abs=0.05)


def test_sine_multiplies_by_omega():
    x = torch.linspace(-1, 1, 11)
    assert torch.equal(Sine(30)(x), torch.sin(30 * x))


@pytest.mark.skipif(not (DATA_DIR / "bach" / "gt_bach.wav").exists(), reason="the Bach clip is not in LMC_DATA_DIR")
def test_learns_a_second_of_the_bach_clip(tmp_path):
    clip = load(data_dir=DATA_DIR, cache_dir=tmp_path, duration=1.0).train
    torch.manual_seed(0)
    model = Siren()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-5)
    for _ in range(150):
        times, amplitudes = clip.batch(torch.randint(len(clip), (2048,)))
        loss = F.mse_loss(model(times), amplitudes)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        error = F.mse_loss(model(clip.inputs), clip.targets)
    assert error < clip.targets.var() / 10
