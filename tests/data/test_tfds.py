"""Reads a data set that tfds itself has written, without TensorFlow."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from nas_jax.data import load, load_tfds
from nas_jax.errors import DataError

tfds = pytest.importorskip("tensorflow_datasets")
pytest.importorskip("array_record")


def png(value: int, size: int) -> io.BytesIO:
    """tfds stores an open PNG file as it is; encoding an array needs TensorFlow."""
    file = io.BytesIO()
    Image.new("RGB", (size, size), (value, 0, 0)).save(file, "PNG")
    file.seek(0)
    return file


def prepare(name: str, data_dir: Path, **options: Any) -> None:
    """Writes a data set of 6 training and 4 test images of two classes."""
    splits = options.get("splits", ("train", "test"))
    sizes = options.get("sizes", (4, 4))
    features = {
        "image": tfds.features.Image(shape=(None, None, 3)),
        "label": options.get("label", tfds.features.ClassLabel(names=["cat", "dog"])),
    }

    def info(self: Any) -> Any:
        return tfds.core.DatasetInfo(
            builder=self,
            features=tfds.features.FeaturesDict(features),
            supervised_keys=("image", "label"),
        )

    def examples(self: Any, count: int) -> Any:
        for number in range(count):
            size = sizes[number % 2]
            yield number, {"image": png(10 * number, size), "label": number % 2}

    def split_generators(self: Any, _: Any) -> Any:
        counts = zip(splits, (6, 4), strict=False)
        return {split: examples(self, count) for split, count in counts}

    body = {
        "VERSION": tfds.core.Version("1.0.0"),
        "_info": info,
        "_split_generators": split_generators,
        "_generate_examples": examples,
        # This class has no source file of its own, where tfds would seek checksums.
        "code_path": None,
    }
    with tfds.core.registered.skip_registration():
        builder = type(name, (tfds.core.GeneratorBasedBuilder,), body)
    builder(data_dir=data_dir, file_format="array_record").download_and_prepare()


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tfds")
    tfds.disable_progress_bar()
    prepare("good", folder)
    prepare("validated", folder, splits=("train", "validation"))
    prepare("untested", folder, splits=("train",))
    prepare("uneven", folder, sizes=(4, 6))
    prepare("unlabelled", folder, label=tfds.features.Scalar(np.int64))
    return folder


def test_a_prepared_data_set_is_read(data_dir: Path) -> None:
    dataset = load_tfds("good", str(data_dir))
    assert dataset.class_names == ("cat", "dog")
    assert dataset.image_shape == (4, 4, 3)
    # tfds shuffles on writing. Image k has the red value 10k and the label k mod 2.
    for images, labels, count in (
        (dataset.x_train, dataset.y_train, 6),
        (dataset.x_test, dataset.y_test, 4),
    ):
        red = images[:, 1, 2, 0]
        assert sorted(red) == [10 * number for number in range(count)]
        np.testing.assert_array_equal(labels, red // 10 % 2)


def test_load_takes_the_folder_from_path(data_dir: Path) -> None:
    dataset = load("tfds", name="good:1.0.0", path=str(data_dir))
    assert dataset.num_train == 6


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("untested", "'untested' has the splits train. It needs 'train' and one of"),
        ("uneven", "different sizes: .*source 'folder' with image_size"),
        ("unlabelled", "features image, label. It must have .* a class label"),
        ("nothing", r"'nothing' cannot be opened \(DatasetNotFoundError: [^\n]*\)"),
        ("mnist", "'mnist' is not prepared.*download_and_prepare.*set path"),
    ],
)
def test_what_cannot_be_read_is_refused(
    data_dir: Path, name: str, message: str
) -> None:
    with pytest.raises(DataError, match=message) as caught:
        load_tfds(name, str(data_dir))
    assert len(str(caught.value).splitlines()) == 1


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    tfds.disable_progress_bar()
    prepare("damaged", tmp_path)
    for file in tmp_path.glob("damaged/1.0.0/*train.array_record*"):
        content = file.read_bytes()
        file.write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match="split 'train' of .*'damaged' cannot be read"):
        load_tfds("damaged", str(tmp_path))


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    with pytest.raises(DataError, match="install tensorflow-datasets and array_record"):
        load_tfds("mnist")


def test_tensorflow_is_never_imported(data_dir: Path, repo_root: Path) -> None:
    code = (
        "import sys; from nas_jax import data; "
        "assert 'tensorflow_datasets' not in sys.modules; "
        f"data.load_tfds('good', {str(data_dir)!r}); "
        "assert 'tensorflow' not in sys.modules"
    )
    environment = os.environ | {"PYTHONPATH": str(repo_root)}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)
