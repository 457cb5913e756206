from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nas_jax.data import load_folder
from nas_jax.errors import DataError

RED = (255, 0, 0)


def save(
    path: Path, colour: int | tuple[int, ...] = RED, size: tuple[int, int] = (4, 4)
) -> Path:
    """Writes one image of one colour; an integer makes it grayscale."""
    path.parent.mkdir(parents=True, exist_ok=True)
    modes = {3: "RGB", 4: "RGBA"}
    mode = "L" if isinstance(colour, int) else modes[len(colour)]
    Image.new(mode, size, colour).save(path)
    return path


@pytest.fixture
def classes(tmp_path: Path) -> Path:
    """`CLASS/*.png`: ten images of cats, five of dogs; the red value is the number."""
    for name, count in (("cat", 10), ("dog", 5)):
        for number in range(count):
            save(tmp_path / name / f"{number:02}.png", (number, 0, 0))
    return tmp_path


@pytest.fixture
def parts(tmp_path: Path) -> Path:
    """`train/CLASS/*` and `test/CLASS/*`, two classes, one test image."""
    save(tmp_path / "train" / "dog" / "a.png", (1, 2, 3))
    save(tmp_path / "train" / "cat" / "b.png", (4, 5, 6))
    save(tmp_path / "test" / "dog" / "c.png", (7, 8, 9))
    return tmp_path


def test_train_and_test_folders(parts: Path) -> None:
    dataset = load_folder(parts)
    # Classes in the order of their names: cat is 0, dog is 1.
    assert dataset.class_names == ("cat", "dog")
    np.testing.assert_array_equal(dataset.y_train, [0, 1])
    np.testing.assert_array_equal(dataset.y_test, [1])
    np.testing.assert_array_equal(dataset.x_train[:, 0, 0], [[4, 5, 6], [1, 2, 3]])
    np.testing.assert_array_equal(dataset.x_test[0, 3, 3], [7, 8, 9])


def test_class_folders_are_split_class_by_class(classes: Path) -> None:
    dataset = load_folder(classes, test_fraction=0.2)
    # A fifth of ten cats and of five dogs: two and one.
    np.testing.assert_array_equal(np.bincount(dataset.y_test), [2, 1])
    np.testing.assert_array_equal(np.bincount(dataset.y_train), [8, 4])
    for label, count in enumerate((10, 5)):
        numbers = [
            image[0, 0, 0]
            for x, y in (
                (dataset.x_train, dataset.y_train),
                (dataset.x_test, dataset.y_test),
            )
            for image in x[y == label]
        ]
        assert sorted(numbers) == list(range(count))


@pytest.mark.parametrize("suffix", ["png", "jpg", "JPEG", "bmp", "webp", "gif"])
def test_every_format_is_read(parts: Path, suffix: str) -> None:
    (parts / "train" / "dog" / "a.png").unlink()
    save(parts / "train" / "dog" / f"a.{suffix}", (200, 40, 90))
    pixel = load_folder(parts).x_train[1, 2, 2]
    # JPEG and WebP are lossy; a flat colour loses a few levels only.
    np.testing.assert_allclose(pixel, [200, 40, 90], atol=5)


def test_all_grayscale_gives_one_channel(tmp_path: Path) -> None:
    for part in ("train", "test"):
        save(tmp_path / part / "cat" / "a.png", 10)
        save(tmp_path / part / "dog" / "b.png", 20)
    # One bit a pixel is grayscale too: white is 255.
    Image.new("1", (4, 4), 1).save(tmp_path / "train" / "dog" / "c.png")
    dataset = load_folder(tmp_path)
    assert dataset.image_shape == (4, 4, 1)
    np.testing.assert_array_equal(dataset.x_train[:, 1, 1, 0], [10, 20, 255])


def test_one_colour_image_makes_all_of_them_rgb(parts: Path) -> None:
    save(parts / "train" / "cat" / "a.png", 77)
    np.testing.assert_array_equal(load_folder(parts).x_train[0, 0, 0], [77, 77, 77])


def test_transparency_is_dropped(parts: Path) -> None:
    save(parts / "train" / "cat" / "a.png", (9, 8, 7, 0))
    # Two half transparent colours: Pillow warns of such palettes, and tests make that
    # an error.
    two_colours = Image.new("RGB", (4, 4), (51, 102, 153))
    two_colours.putpixel((3, 3), RED)
    palette = two_colours.quantize()
    palette.save(parts / "train" / "cat" / "c.png", transparency=bytes([128, 64]))
    pixels = load_folder(parts).x_train[:3, 0, 0]
    np.testing.assert_array_equal(pixels, [[9, 8, 7], [4, 5, 6], [51, 102, 153]])


def save_alpha(path: Path, colour: int, alpha: np.ndarray) -> None:
    """Writes an image of one grey whose content is its alpha channel."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.full((*alpha.shape, 4), colour, np.uint8)
    pixels[..., 3] = alpha
    Image.fromarray(pixels).save(path)


def test_images_whose_content_is_transparency_are_refused(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for number in range(6):
        for name in ("cat", "dog"):
            alpha = rng.integers(0, 256, (4, 4))
            save_alpha(tmp_path / name / f"{number}.png", 0, alpha)
    said = (
        r"all 9 training images are equal, because their content lies in the alpha "
        r"channel, which is dropped: 12 of 12 images are partly transparent\. Flatten"
    )
    with pytest.raises(DataError, match=said):
        load_folder(tmp_path)


def test_transparent_images_are_counted_and_opaque_ones_are_not(
    parts: Path, caplog: pytest.LogCaptureFixture
) -> None:
    opaque = np.full((4, 4), 255)
    save_alpha(parts / "train" / "cat" / "opaque.png", 9, opaque)
    load_folder(parts)
    assert not caplog.records
    opaque[0, 0] = 254
    save_alpha(parts / "train" / "cat" / "hole.png", 9, opaque)
    # A single colour that is transparent, without an alpha channel.
    keyed = Image.new("RGB", (4, 4), (1, 1, 1))
    keyed.save(parts / "train" / "cat" / "keyed.png", transparency=(1, 1, 1))
    dataset = load_folder(parts)
    np.testing.assert_array_equal(dataset.x_train[1, 0, 0], [9, 9, 9])
    (record,) = caplog.records
    assert "2 of 6 images are partly transparent" in record.getMessage()
    assert "magick mogrify" in record.getMessage()


def test_a_rotated_photograph_is_turned_upright(tmp_path: Path) -> None:
    # Orientation 6 of EXIF: the top row is the right-hand column of the upright image.
    photograph = Image.new("RGB", (8, 4), (0, 0, 0))
    photograph.paste(RED, (0, 0, 8, 2))
    exif = Image.Exif()
    exif[0x0112] = 6
    for part in ("train", "test"):
        for name in ("cat", "dog"):
            (tmp_path / part / name).mkdir(parents=True)
            photograph.save(tmp_path / part / name / "a.png", exif=exif)
    # Not all training images may be equal.
    save(tmp_path / "train" / "dog" / "b.png", size=(4, 8))
    dataset = load_folder(tmp_path)
    assert dataset.image_shape == (8, 4, 3)
    assert (dataset.x_train[0, :, 2:] == RED).all()
    assert (dataset.x_train[0, :, :2] == 0).all()


def test_images_are_resized_to_a_square(parts: Path) -> None:
    save(parts / "train" / "cat" / "a.png", (50, 60, 70), size=(9, 5))
    dataset = load_folder(parts, image_size=6)
    assert dataset.image_shape == (6, 6, 3)
    # A flat colour stays what it is.
    assert (dataset.x_train[0] == (50, 60, 70)).all()


def test_hidden_files_and_notes_beside_the_classes_are_skipped(parts: Path) -> None:
    (parts / "train" / "cat" / ".DS_Store").write_bytes(b"x")
    (parts / "train" / ".cache").mkdir()
    (parts / "train" / "README.txt").write_text("notes")
    assert load_folder(parts).num_train == 2


def replace_cat(parts: Path, name: str, content: bytes) -> None:
    (parts / "train" / "cat" / name).write_bytes(content)


def make_16_bit(parts: Path) -> None:
    Image.fromarray(np.full((4, 4), 4096, np.uint16)).save(
        parts / "train" / "cat" / "deep.png"
    )


def remove_test(parts: Path) -> None:
    (parts / "test").rename(parts / "val")


def remove_dogs(parts: Path) -> None:
    (parts / "train" / "dog").rename(parts / "train" / ".dog")


BAD_FOLDERS: dict[str, tuple[Callable[[Path], object], str]] = {
    "text in a class folder": (
        lambda parts: replace_cat(parts, "labels.csv", b"1,2"),
        r"cat.labels\.csv is not an image file.*\.bmp, \.gif, .*remove it",
    ),
    "text named as an image": (
        lambda parts: replace_cat(parts, "a.png", b"not an image"),
        r"cat.a\.png cannot be read as an image.*none of BMP, GIF.*remove it",
    ),
    "an empty class folder": (
        lambda parts: (parts / "train" / "bird").mkdir(),
        r"the class folder .*train.bird is empty",
    ),
    "more than 8 bits": (make_16_bit, r"deep\.png has more than 8 bits.*convert"),
    "another size": (
        lambda parts: save(parts / "test" / "dog" / "wide.png", size=(6, 4)),
        # Pillow's size is (width, height): 4 rows of 6 pixels.
        r"wide\.png has 4x6 .*a.*\.png has 4x4 .*image_size=0.*set image_size",
    ),
    "an image beside the class folders": (
        lambda parts: save(parts / "train" / "stray.png"),
        r"stray\.png lies beside the class folders.*PATH/CLASS",
    ),
    "no test folder": (remove_test, r"class folders in train/ but not in test/.*val/"),
    "one class": (remove_dogs, r"train needs at least 2 class folders; found: cat"),
    "a class that is never trained on": (
        lambda parts: save(parts / "test" / "fish" / "a.png"),
        r"class folders that train/ lacks: fish.*Allowed are cat, dog",
    ),
}


@pytest.mark.parametrize(("spoil", "message"), BAD_FOLDERS.values(), ids=BAD_FOLDERS)
def test_wrong_folders_are_refused(
    parts: Path, spoil: Callable[[Path], object], message: str
) -> None:
    load_folder(parts)
    spoil(parts)
    with pytest.raises(DataError, match=message):
        load_folder(parts)


@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp", "webp", "gif"])
def test_a_truncated_image_is_refused(parts: Path, suffix: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    path = parts / "train" / "cat" / f"noise.{suffix}"
    Image.fromarray(noise).save(path)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match=rf"noise\.{suffix} cannot be read as an image"):
        load_folder(parts, image_size=4)


def test_a_class_of_one_image_cannot_be_split(classes: Path) -> None:
    save(classes / "fish" / "only.png")
    with pytest.raises(DataError, match="fish has only 1 image.*at least 2"):
        load_folder(classes)


def test_a_missing_folder_and_a_file_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="none does not exist.*PATH/train/CLASS"):
        load_folder(tmp_path / "none")
    file = save(tmp_path / "a.png")
    with pytest.raises(DataError, match=r"a\.png is not a folder"):
        load_folder(file)


def test_a_negative_size_is_refused(parts: Path) -> None:
    with pytest.raises(DataError, match="image_size=-1.*0 .*or a number of pixels"):
        load_folder(parts, image_size=-1)
