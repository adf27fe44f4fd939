"""Pictures of 16 bits, which become those of 8 by one rule in all sources, and pictures that have no white."""

import io

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from data.test_sources import encoded_picture, load_folder, load_parquet, load_torch
from lmc_lab.data.picture import decode_picture
from lmc_lab.errors import UserError

VALUES = np.random.default_rng(0).integers(0, 2**16, (6, 5, 4), dtype=np.uint16)
VALUES[:, 0] = [0, 128, 129, 65535]  # round(128 / 257) is 0
LABELS = [0, 1, 2] * 2


def of_mode(mode, values):
    """Returns a picture of this mode: Pillow makes an array of uint16 one of I;16, and reads TIFFs of the others."""
    kind = {"I;16": "<u2", "I;16B": ">u2", "I": np.int32, "F": np.float32}[mode]
    picture = Image.fromarray(values.astype(kind))
    assert picture.mode == mode
    return picture


def eight_bits(values):
    return np.array([round(int(v) / 257) for v in values.flat], np.uint8).reshape(values.shape)


class Items(torch.utils.data.Dataset):
    def __init__(self, pictures):
        self.pictures = pictures

    def __len__(self):
        return len(self.pictures)

    def __getitem__(self, i):
        return self.pictures[i], LABELS[i]


def as_folder(path, pictures, suffix="png"):
    for i, picture in enumerate(pictures):
        place = path / "mine" / str(LABELS[i])
        place.mkdir(parents=True, exist_ok=True)
        picture.save(place / f"{i}.{suffix}")
    return load_folder(path, num_channels=1)


def as_parquet(path, pictures, suffix="png"):
    (path / "mine").mkdir()
    cells = [encoded_picture(picture, {"png": "PNG", "tif": "TIFF"}[suffix]) for picture in pictures]
    pd.DataFrame({"img": cells, "label": LABELS}).to_parquet(path / "mine" / "train-0.parquet")
    return load_parquet(path, num_channels=1, test_files=None)


def as_torch(path, pictures, suffix="png"):
    return load_torch(path, train=Items(pictures), test=None)


SOURCES = [as_folder, as_parquet, as_torch]


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("mode", ["I;16", "I;16B", "I"])
def test_sixteen_bits_are_scaled_to_eight(tmp_path, source, mode):
    pictures = [of_mode(mode, values) for values in VALUES]
    train = source(tmp_path, pictures, "png" if mode == "I;16" else "tif").train
    assert train.inputs.dtype == torch.uint8 and train.inputs.shape == (6, 5, 4, 1)
    expected = eight_bits(VALUES)[..., None]
    assert sorted(map(bytes, train.inputs.numpy())) == sorted(map(bytes, expected))
    assert train.inputs.max() == 255 and len(train.inputs.unique()) > 50


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("spoiled", [("F", VALUES[4] / 65535), ("I", VALUES[4] + 7e4), ("I", VALUES[4] * -1.0)])
def test_pictures_without_a_white_are_refused(tmp_path, source, spoiled):
    pictures = [of_mode("I;16", values) for values in VALUES]
    pictures[4] = of_mode(*spoiled)
    place = {
        as_folder: r"mine/1/4\.tif",
        as_parquet: r"row 4 of .*train-0\.parquet",
        as_torch: "item 4 of task.data.train",
    }
    with pytest.raises(
        UserError, match=f"expected a picture of 8 or 16 bits in .*{place[source]}, found one of"
    ) as error:
        source(tmp_path, pictures, "tif")
    assert "\n" not in str(error.value)


def test_colours_and_sizes_of_sixteen_bits():
    buffer = io.BytesIO()
    of_mode("I;16", np.full((8, 6), 30000)).save(buffer, "PNG")
    found = decode_picture(buffer.getvalue(), "mine", side=3)
    assert found.shape == (3, 3, 3) and (found == round(30000 / 257)).all()
