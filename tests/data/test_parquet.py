import io

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from lmc_lab.data import cifar10
from lmc_lab.errors import UserError

SIDE = 32


def picture(seed=0, side=SIDE):
    buffer = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


GOOD = [picture(seed) for seed in range(4)]


def write(folder, *, image="img", label="label", pictures=None, labels=(0, 1, 2, 3), plain=False, subset="train"):
    """Writes a parquet file, and returns its path."""
    pictures = GOOD if pictures is None else pictures
    cells = pictures if plain else [None if item is None else {"bytes": item, "path": None} for item in pictures]
    (folder / "cifar10").mkdir(parents=True, exist_ok=True)
    path = folder / "cifar10" / f"{subset}-0.parquet"
    pd.DataFrame({image: cells, label: list(labels)}).to_parquet(path)
    return path


def load(folder, **keywords):
    return cifar10.load(data_dir=folder, cache_dir=folder / "cache", **keywords)


@pytest.mark.parametrize(
    ("written", "asked"),
    [
        ({}, {}),
        ({"image": "image"}, {}),
        ({"image": "image", "plain": True}, {}),
        ({"plain": True}, {}),
        ({"image": "photo", "label": "fine_label"}, {"image_column": "photo", "label_column": "fine_label"}),
    ],
)
def test_the_columns_are_found_or_named(tmp_path, written, asked):
    for subset in ("train", "test"):
        write(tmp_path, subset=subset, **written)
    train = load(tmp_path, **asked).train
    expected = np.stack([np.asarray(Image.open(io.BytesIO(item))) for item in GOOD])
    assert np.array_equal(train.inputs, expected) and train.targets.tolist() == [0, 1, 2, 3]


def test_another_column_is_another_data_set(tmp_path):
    path = write(tmp_path)
    pd.read_parquet(path).assign(coarse=[1, 1, 0, 0]).to_parquet(path)
    path.with_name("test-0.parquet").write_bytes(path.read_bytes())
    datasets = [load(tmp_path), load(tmp_path, label_column="coarse")]
    assert datasets[0].digest != datasets[1].digest and datasets[1].train.targets.tolist() == [1, 1, 0, 0]


def spoiled(value):
    return [*GOOD[:2], value, GOOD[3]]


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ({"image": "photo"}, r"expected a column img or image in .*, found the columns photo, label; .*image_column=…"),
        ({"label": "class"}, r"expected a column label in .*, found the columns img, class; .*label_column=…"),
        ({"pictures": spoiled(None)}, "expected a picture in row 2 of .*, found null"),
        ({"pictures": spoiled(None), "plain": True}, "expected a picture in row 2 of .*, found null"),
        ({"pictures": spoiled(b"")}, "expected a picture in row 2 of .*, found no bytes"),
        ({"pictures": spoiled(b"no picture")}, "expected a picture in row 2 of .*, found a damaged one"),
        ({"pictures": spoiled(picture()[:300])}, "expected a picture in row 2 of .*, found a damaged one"),
        ({"pictures": spoiled(picture(side=28))}, "of 32 x 32 pixels in row 2 of .*, found 28 x 28"),
        ({"pictures": [], "labels": []}, "expected rows in .*, found none"),
        ({"labels": (0, 1, None, 3)}, "expected whole numbers in the column label of .*, found double"),
        ({"labels": pd.array([0, 1, None, 3], "Int64")}, "expected a label in row 2 of .*, found null"),
        ({"labels": ("cat", "dog", "cat", "dog")}, "expected whole numbers in the column label of .*, found .*string"),
        (
            {"pictures": ["a", "b", "c", "d"], "plain": True},
            "expected encoded pictures .* in the column img of .*string",
        ),
    ],
)
def test_what_cannot_be_used_is_one_sentence_with_the_file(tmp_path, written, expected):
    write(tmp_path, subset="test")
    path = write(tmp_path, **written)
    with pytest.raises(UserError, match=expected) as error:
        load(tmp_path)
    assert str(path) in str(error.value) and "\n" not in str(error.value)


def test_a_column_of_structs_without_bytes_is_refused(tmp_path):
    path = write(tmp_path)
    write(tmp_path, subset="test")
    pq.write_table(pa.table({"img": [{"path": "a"}] * 4, "label": [0, 1, 2, 3]}), path)
    with pytest.raises(UserError, match="expected encoded pictures"):
        load(tmp_path)


@pytest.mark.parametrize("content", [b"", b"no parquet", b"PAR1" + bytes(100) + b"PAR1"])
def test_what_is_no_parquet_file_is_one_sentence(tmp_path, content):
    write(tmp_path, subset="test")
    path = write(tmp_path)
    path.write_bytes(content)
    with pytest.raises(UserError, match="expected a parquet file at .*train-0.parquet, found a damaged one"):
        load(tmp_path)


def test_a_parquet_file_is_refused_wherever_it_is_cut(tmp_path):
    write(tmp_path, subset="test")
    path = write(tmp_path)
    whole = path.read_bytes()
    for size in range(0, len(whole), 997):
        path.write_bytes(whole[:size])
        with pytest.raises(UserError, match="found a damaged one"):
            load(tmp_path)


def test_negative_labels_are_refused(tmp_path):
    write(tmp_path, subset="test")
    write(tmp_path, labels=(0, 1, -1, 2))
    with pytest.raises(UserError, match="found -1 at example 2"):
        load(tmp_path)
