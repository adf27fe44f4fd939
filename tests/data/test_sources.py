"""Data sets by config alone: each source gives the examples that its files hold, once decoded, and names what is wrong."""

import io
import json
import os

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torchvision.datasets import ImageFolder

from lmc_lab.data import array_file, folder, map_style, parquet
from lmc_lab.errors import UserError

GENERATOR = np.random.default_rng(0)
PIXELS = GENERATOR.integers(0, 256, (12, 6, 5, 3), dtype=np.uint8)
LABELS = np.arange(12) % 3
CLASSES = ("ant", "bee", "cat")


def write_npz(path, **changes):
    arrays = {"x_train": PIXELS, "y_train": LABELS, "x_test": PIXELS[:4], "y_test": LABELS[:4]} | changes
    np.savez(path / "mine.npz", **{name: array for name, array in arrays.items() if array is not None})


def write_safetensors(path):
    arrays = {"train_inputs": PIXELS, "train_targets": LABELS, "test_inputs": PIXELS[:4], "test_targets": LABELS[:4]}
    save_file(
        {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in arrays.items()},
        path / "mine.safetensors",
    )


def write_folder(path, subsets=("train", "test")):
    for subset, count in zip(subsets, (12, 4), strict=False):
        for i in range(count):
            place = path / "mine" / subset / CLASSES[LABELS[i]]
            place.mkdir(parents=True, exist_ok=True)
            Image.fromarray(PIXELS[i]).save(place / f"{i:02}.png")


def encoded(pixels):
    return encoded_picture(Image.fromarray(pixels))


def encoded_picture(picture, kind="PNG"):
    buffer = io.BytesIO()
    picture.save(buffer, kind)
    return {"bytes": buffer.getvalue(), "path": None}


def write_parquet(path, **columns):
    (path / "mine").mkdir()
    parts = [("train-0", slice(0, 7)), ("train-1", slice(7, 12)), ("test-0", slice(0, 4))]
    for name, rows in parts:
        table = pd.DataFrame({"img": list(map(encoded, PIXELS[rows])), "label": LABELS[rows]} | columns)
        table.to_parquet(path / "mine" / f"{name}.parquet", row_group_size=3)


class Pairs(torch.utils.data.Dataset):
    def __init__(self, count=12, noise=False, shift=0):
        self.count, self.noise, self.shift = count, noise, shift

    def __len__(self):
        return self.count

    def __getitem__(self, i):
        pixels = Image.fromarray(PIXELS[i]) if not self.noise else torch.rand(3, 2, 2)
        return pixels, int(LABELS[i] + self.shift) % 3


class Named(Pairs):
    classes = tuple("abcdefghijkl")


def load_npz(path, **keywords):
    return array_file.load(data_dir=path, cache_dir=path / "cache", path="mine.npz", **keywords)


def load_safetensors(path, **keywords):
    return array_file.load(data_dir=path, cache_dir=path / "cache", path="mine.safetensors", **keywords)


def load_folder(path, **keywords):
    return folder.load(data_dir=path, cache_dir=path / "cache", path="mine", **keywords)


def load_parquet(path, **keywords):
    return parquet.load(data_dir=path, cache_dir=path / "cache", path="mine", **keywords)


def load_torch(path, **keywords):
    return map_style.load(data_dir=path, cache_dir=path / "cache", **({"train": Pairs(), "test": Pairs(4)} | keywords))


SOURCES = [
    (write_npz, load_npz),
    (write_safetensors, load_safetensors),
    (write_folder, load_folder),
    (write_parquet, load_parquet),
    (lambda path: None, load_torch),
]


def same_order(examples):
    """Returns pictures and labels, sorted by content: a folder has its own order."""
    pairs = zip(map(bytes, examples.inputs.numpy()), examples.targets.tolist(), strict=True)
    return sorted(pairs)


@pytest.mark.parametrize(("write", "load"), SOURCES)
def test_each_source_gives_the_same_pictures(tmp_path, write, load):
    write(tmp_path)
    dataset = load(tmp_path)
    assert same_order(dataset.train) == sorted(zip(map(bytes, PIXELS), LABELS.tolist(), strict=True))
    assert same_order(dataset.test) == sorted(zip(map(bytes, PIXELS[:4]), LABELS[:4].tolist(), strict=True))
    assert dataset.train.inputs.dtype == torch.uint8 and dataset.train.targets.dtype == torch.int64


@pytest.mark.parametrize(("write", "load"), SOURCES)
def test_pictures_are_normalised_by_the_training_set_or_as_given(tmp_path, write, load):
    write(tmp_path)
    inputs, _ = load(tmp_path).train.batch(slice(None))
    assert inputs.shape == (12, 3, 6, 5) and inputs.dtype == torch.float32
    torch.testing.assert_close(inputs.mean(dim=(0, 2, 3)), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(inputs.std(dim=(0, 2, 3), correction=0), torch.ones(3), atol=1e-5, rtol=0)
    given = load(tmp_path, mean=[0.1, 0.2, 0.3], deviation=0.5).train
    expected = (given.inputs.permute(0, 3, 1, 2) / 255 - torch.tensor([0.1, 0.2, 0.3]).view(3, 1, 1)) / 0.5
    torch.testing.assert_close(given.batch(slice(None))[0], expected, atol=1e-5, rtol=0)
    with pytest.raises(
        UserError, match="expected task.data.mean to be one number or one for each of 3 channels, found 2"
    ):
        load(tmp_path, mean=[0.1, 0.2])


@pytest.mark.parametrize(("write", "load"), SOURCES[:1] + SOURCES[2:])
def test_a_share_becomes_the_test_set(tmp_path, write, load):
    write(tmp_path)
    with pytest.raises(UserError, match="expected task.data.test_share=null beside a test set, found 0.25"):
        load(tmp_path, test_share=0.25)
    without = {load_npz: {}, load_folder: {}, load_parquet: {"test_files": None}, load_torch: {"test": None}}[load]
    if load is load_npz:
        write_npz(tmp_path, x_test=None)
    if load is load_folder:
        (tmp_path / "mine" / "test").rename(tmp_path / "test")
    assert load(tmp_path, **without).test is None
    dataset = load(tmp_path, test_share=0.25, **without)
    assert len(dataset.train) == 9 and len(dataset.test) == 3
    both = same_order(dataset.train) + same_order(dataset.test)
    assert sorted(both) == sorted(zip(map(bytes, PIXELS), LABELS.tolist(), strict=True))
    other = load(tmp_path, test_share=0.25, test_seed=1, **without)
    assert same_order(other.test) != same_order(dataset.test) and other.digest != dataset.digest
    with pytest.raises(UserError, match="found 0.01 of 12"):
        load(tmp_path, test_share=0.01, **without)


def test_examples_are_mapped_and_some_of_them_drawn(tmp_path):
    write_folder(tmp_path)
    dataset = load_folder(tmp_path)
    assert len(load_folder(tmp_path, num_train=6).train.targets.unique()) > 1  # not the first class alone
    assert dataset.digest == load_folder(tmp_path, num_train=6).digest
    with pytest.raises(UserError, match="expected task.data.num_test between 1 and 4, found 5"):
        load_folder(tmp_path, num_test=5)


@pytest.mark.parametrize(("write", "load"), SOURCES[:1] + SOURCES[2:4])
def test_the_digest_is_of_the_content_and_no_file_is_decoded_twice(tmp_path, monkeypatch, write, load):
    write(tmp_path)
    digest = load(tmp_path).digest
    with monkeypatch.context() as patch:
        patch.setattr("lmc_lab.data.source._write_subset", lambda *_: pytest.fail("decoded again"))
        assert load(tmp_path).digest == digest
    for path in filter(os.path.isfile, [tmp_path / "mine.npz", *(tmp_path / "mine").rglob("*")]):
        os.utime(path, ns=(1, 1))
    assert load(tmp_path).digest == digest  # copied, not changed


@pytest.mark.parametrize(
    ("write", "load", "expected"),
    [
        (write_npz, load_npz, "3 classes"),
        (write_folder, load_folder, "3 classes: ant, bee, cat"),
        (write_parquet, load_parquet, "3 classes"),
        (
            lambda path: None,
            lambda path: load_torch(path, train=Named()),
            "12 classes: a, b, c, d, e, f, g, h, i, j, …",
        ),
        (lambda path: write_npz(path, y_train=LABELS + 1, y_test=None), load_npz, "3 labels from 1 to 3"),
        (lambda path: write_npz(path, y_test=[0, 2, 0, 2]), load_npz, "3 classes, none of 1 in the test set"),
        (lambda path: write_npz(path, y_train=LABELS / 2, y_test=None), load_npz, "targets float32 (1,)"),
    ],
)
def test_what_was_decoded_is_told_once(tmp_path, capsys, write, load, expected):
    write(tmp_path)
    test = load(tmp_path).test
    counts = f"12 training{'' if test is None else ' and 4 test'} examples"
    assert capsys.readouterr().out == f"data: {counts}, uint8 (6, 5, 3), {expected}\n"
    load(tmp_path)
    assert capsys.readouterr().out == ""


def test_the_names_of_classes_in_a_parquet_file_are_told(tmp_path, capsys):
    write_parquet(tmp_path)
    features = {"info": {"features": {"label": {"names": list(CLASSES), "_type": "ClassLabel"}}}}
    for path in (tmp_path / "mine").glob("*.parquet"):
        table = pq.read_table(path)
        pq.write_table(table.replace_schema_metadata({"huggingface": json.dumps(features)}), path)
    load_parquet(tmp_path)
    assert capsys.readouterr().out.endswith(", 3 classes: ant, bee, cat\n")


def test_a_changed_file_is_other_data(tmp_path):
    write_npz(tmp_path)
    before = load_npz(tmp_path).digest
    write_npz(tmp_path, x_train=PIXELS[::-1])
    assert load_npz(tmp_path).digest != before
    assert load_torch(tmp_path).digest != load_torch(tmp_path, train=Pairs(shift=1)).digest


def test_floating_point_inputs_and_values(tmp_path):
    inputs, values = GENERATOR.normal(3.0, 2.0, (50, 4, 7)), GENERATOR.normal(size=50)
    np.savez(tmp_path / "mine.npz", a=inputs, b=values)
    dataset = load_npz(tmp_path, train=["a", "b"])
    found, targets = dataset.train.batch(slice(None))
    mean, deviation = inputs.mean(axis=(0, 2), keepdims=True), inputs.std(axis=(0, 2), keepdims=True)
    torch.testing.assert_close(found, torch.from_numpy((inputs - mean) / deviation).float(), atol=1e-5, rtol=0)
    assert targets.shape == (50, 1) and dataset.test is None
    as_it_is = load_npz(tmp_path, train=["a", "b"], mean=0, deviation=1)
    assert torch.equal(as_it_is.train.batch(slice(None))[0], torch.from_numpy(inputs).float())


def test_a_constant_channel_stays_finite(tmp_path):
    np.savez(tmp_path / "mine.npz", x=np.stack([np.arange(9.0), np.full(9, 5.0)], axis=1), y=np.arange(9) % 2)
    assert load_npz(tmp_path).train.batch(slice(None))[0][:, 1].eq(0).all()


def test_pictures_are_cut_and_resized(tmp_path):
    write_folder(tmp_path)
    Image.fromarray(np.full((40, 20, 3), 7, np.uint8)).save(tmp_path / "mine" / "train" / "ant" / "wide.png")
    with pytest.raises(UserError, match=r"as the first, in .*wide\.png, found .*task.data.side"):
        load_folder(tmp_path)
    dataset = load_folder(tmp_path, side=8, num_channels=1)
    assert dataset.train.inputs.shape == (13, 8, 8, 1)
    assert (dataset.train.inputs == 7).flatten(1).all(dim=1).sum() == 1


@pytest.mark.parametrize(
    ("write", "load", "keywords", "expected"),
    [
        (lambda path: None, load_npz, {}, r"expected data at .*mine\.npz, found none; set data_dir"),
        (lambda path: (path / "mine.npz").write_bytes(b"PK no"), load_npz, {}, r"expected arrays in .*mine\.npz, found a file"),
        (lambda path: (path / "mine.safetensors").write_bytes(b"no"), load_safetensors, {}, r"mine\.safetensors, found a file"),
        (lambda path: write_npz(path, x_train=None), load_npz, {}, r"expected arrays train_inputs and .*found y_train"),
        (write_npz, load_npz, {"train": ["x_trian", "y_train"]}, r"expected an array x_trian .*did you mean 'x_train'"),
        (write_npz, load_npz, {"train": ["x_train"]}, "expected task.data.train to name inputs and targets, found 1 names"),
        (write_npz, load_npz, {"train": ["x_train", "y_test"]}, r"expected y_test of .*to have a target for each input"),
        (lambda path: write_npz(path, y_train=np.array(CLASSES)[LABELS]), load_npz, {}, r"in y_train of .*npz, found texts"),
        (lambda path: write_npz(path, y_train=LABELS.astype(object)), load_npz, {}, r"in y_train of .*npz, found objects"),
        (lambda path: write_npz(path, x_train=PIXELS[:0]), load_npz, {}, r"examples in x_train of .*mine\.npz, found 0"),
        (lambda path: np.savez(path / "mine.npz"), load_npz, {}, r"in .*mine\.npz, found none"),
        (lambda path: write_npz(path, x_train=PIXELS.astype(complex)), load_npz, {}, "found type complex128"),
        (lambda path: write_npz(path, x_train=PIXELS[:, 0, 0]), load_npz, {}, r"pictures .*found \(3,\) in row 0 of x_train"),
        (lambda path: (path / "mine").mkdir(), load_folder, {}, "expected pictures in folders below"),
        (lambda path: (path / "mine/train/dog").mkdir(parents=True), load_folder, {}, "expected pictures in folders below"),
        (lambda path: (path / "mine").mkdir(), load_parquet, {}, r"expected files train-\*\.parquet in"),
        (write_parquet, load_parquet, {"image_column": "pixels"}, r"expected a column pixels in .*train-0\.parquet"),
        (lambda path: write_parquet(path, label=None), load_parquet, {}, "expected whole numbers in the column label"),
        (lambda path: write_parquet(path, label="ant"), load_parquet, {}, "found .*string; number the classes 0 … K - 1, or"),
        (lambda path: write_parquet(path, label=True), load_parquet, {}, "found bool; number the classes 0 … K - 1, or"),
        (lambda path: write_parquet(path, label=0.5), load_parquet, {}, "found double; number the classes 0 … K - 1, or"),
        (lambda path: None, load_torch, {"train": Pairs(noise=True)}, "expected item 0 of task.data.train to be the same"),
        (lambda path: None, load_torch, {"train": [1, 2]}, "expected a pair of input and target in item 0 of task.data.train"),
        (lambda path: None, load_torch, {"train": iter("ab")}, "expected task.data.train to be a data set with __len__"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_with_its_name(tmp_path, write, load, keywords, expected):
    write(tmp_path)
    with pytest.raises(UserError, match=expected) as error:
        load(tmp_path, **keywords)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("content", [b"", b"\x89PNG half"])
def test_a_damaged_picture_is_named(tmp_path, content):
    write_folder(tmp_path)
    (tmp_path / "mine" / "train" / "bee" / "broken.png").write_bytes(content)
    with pytest.raises(UserError, match=r"expected a picture in .*bee/broken\.png, found a damaged one"):
        load_folder(tmp_path)
    assert not list((tmp_path / "cache").glob("folder-*"))


class Broken(Pairs):
    def __getitem__(self, i):
        if i == 5:
            raise ValueError("no such row")
        return super().__getitem__(i)


def test_an_item_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(ValueError, match="no such row") as error:
        load_torch(tmp_path, train=Broken())
    assert error.value.__notes__ == ["in item 5 of task.data.train"]
    write_folder(tmp_path)
    (tmp_path / "mine" / "train" / "bee" / "99.png").write_bytes(b"no picture")
    pictures = ImageFolder(tmp_path / "mine" / "train")
    with pytest.raises(
        UserError, match=r"expected item 8 of task\.data\.train, found UnidentifiedImageError \(.*99\.png"
    ):
        load_torch(tmp_path, train=pictures)


def test_a_class_of_the_test_set_alone_is_refused(tmp_path):
    write_folder(tmp_path)
    (tmp_path / "mine" / "test" / "ant").rename(tmp_path / "mine" / "test" / "dog")
    with pytest.raises(UserError, match=r"expected classes of .*mine/train in .*mine/test, found dog"):
        load_folder(tmp_path)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("Train", "Test"), r"found Train/ and Test/; rename Train/ to train/, rename Test/ to test/$"),
        (("training", "testing"), r"found training/ and testing/; rename training/ to train/, rename testing/ to test/$"),
        (("train", "val"), r"found train/ and val/; rename val/ to test/$"),
        (("train", "Test"), r"found train/ and Test/; rename Test/ to test/$"),
        (("Train", "test"), r"found Train/ and test/; rename Train/ to train/$"),
        (("Train",), r"found Train/; rename Train/ to train/$"),
        (("test",), r"found test/; put the training pictures into train/<class>/…, or set task\.data\.path to .*mine/test$"),
    ],
)  # fmt: skip
def test_subsets_by_other_names_are_no_classes(tmp_path, names, expected):
    write_folder(tmp_path, names)
    with pytest.raises(UserError, match=f"to be called train/ and test/, {expected}") as error:
        load_folder(tmp_path)
    assert "\n" not in str(error.value)


def test_a_class_may_be_called_like_a_subset(tmp_path):
    write_folder(tmp_path)
    (tmp_path / "mine" / "train").rename(tmp_path / "classes")
    (tmp_path / "classes" / "bee").rename(tmp_path / "classes" / "Train")
    dataset = folder.load(data_dir=tmp_path, cache_dir=tmp_path / "cache", path="classes")
    assert len(dataset.train) == 12 and dataset.test is None and dataset.train.targets.unique().tolist() == [0, 1, 2]


def test_a_validation_set_beside_both_is_left_where_it_is(tmp_path):
    write_folder(tmp_path)
    (tmp_path / "mine" / "val").mkdir()
    assert len(load_folder(tmp_path).test) == 4


@pytest.mark.parametrize("load", [load_folder, load_parquet])
def test_a_file_in_place_of_a_folder(tmp_path, load):
    (tmp_path / "mine").write_bytes(b"PK")
    with pytest.raises(UserError, match=r"expected a folder at .*/mine, found a file; set task\.data\.path"):
        load(tmp_path)


def test_a_folder_in_place_of_a_file(tmp_path):
    (tmp_path / "mine.npz").mkdir()
    with pytest.raises(UserError, match=r"expected a file at .*/mine\.npz, found a folder; set task\.data\.path"):
        load_npz(tmp_path)


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"x_test": PIXELS[:4, :3]}, r"shape \(6, 5, 3\) and type uint8, as the first, in .*, found \(3, 5, 3\)"),
        ({"y_test": LABELS[:4].astype(np.float32)}, r"expected a target of shape \(\) and type int64"),
    ],
)
def test_a_test_set_of_another_shape_or_type_is_refused(tmp_path, changes, found):
    write_npz(tmp_path, **changes)
    with pytest.raises(UserError, match=found):
        load_npz(tmp_path)


def test_a_constant_channel_has_the_deviation_1(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (300, 16, 16, 3), dtype=np.uint8)
    pixels[..., 2] = 77
    write_npz(tmp_path, x_train=pixels, y_train=np.arange(300) % 3, x_test=None, y_test=None)
    inputs, _ = load_npz(tmp_path).train.batch(slice(0, 20))
    assert inputs[:, 2].abs().max() < 1e-6 and inputs[:, :2].std().item() == pytest.approx(1, abs=0.1)
