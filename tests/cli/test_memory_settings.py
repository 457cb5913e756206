"""Lists of settings, random masks and the sizes of images, without a compiler."""

from __future__ import annotations

import zipfile
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas_jax.cli.memory_settings import overrides, random_mask, read_settings
from nas_jax.config import DataConfig, ExperimentConfig
from nas_jax.errors import ConfigError, DataError
from nas_jax.memory import Candidate
from nas_jax.run.memory_data import sized_images
from nas_jax.run.space import start_mask
from nas_jax.spaces import NONE, get_mask

START = get_mask("darts")


def flags(**given: list[str]) -> Any:
    names = ("kept", "mask", "remat", "dtype", "batch", "microbatches")
    return SimpleNamespace(**{**dict.fromkeys(names), **given})


def read(budget: bool = False, **given: list[str]) -> list[Candidate]:
    settings = read_settings(ExperimentConfig(), START, flags(**given), budget)
    assert all(mask.kept_fraction == c.kept for c, mask in settings.masks.items())
    assert set(settings.masks) == {*settings.asked, *settings.fallback}
    assert budget or not settings.fallback
    return settings.asked


def test_the_config_as_it_is_unpruned_and_pruned() -> None:
    config = ExperimentConfig()
    found = read()
    assert [(c.mask, c.kept) for c in found] == [("all", 1.0), ("random", 0.5)]
    assert {(c.remat, c.dtype, c.batch_size, c.microbatches) for c in found} == {
        (config.search.remat, "float32", 64, 1)
    }


def test_every_combination_masks_first() -> None:
    found = read(
        kept=["1", "0.25"],
        remat=["none", "cell", "none"],
        dtype=["bfloat16"],
        batch=["64", "32"],
        microbatches=["1", "4"],
    )
    assert len(found) == len(set(found)) == 16
    assert [c.kept for c in found] == [1.0] * 8 + [0.25] * 8
    assert found[1] == Candidate("all", 1.0, "none", "bfloat16", 64, 4)


def test_a_mask_file_and_a_share(tmp_path) -> None:
    file = tmp_path / "mask.json"
    mask = random_mask(START, 0.3, 7)
    file.write_text(mask.to_json())
    found = read(kept=["1"], mask=[str(file)])
    assert [c.mask for c in found] == ["all", str(file)]
    assert found[1].kept == mask.kept_fraction
    assert [c.mask for c in read(mask=[str(file)])] == [str(file)]


def test_the_configs_own_mask(tmp_path) -> None:
    file = tmp_path / "mask.json"
    file.write_text(random_mask(START, 0.25, 7).to_json())
    config = ExperimentConfig()
    config.space.mask = str(file)
    start = start_mask(config.space)
    (found,) = read_settings(config, start, flags(), False).asked
    assert (found.mask, found.kept) == (str(file), 1.0)
    # Shares are of what that mask has.
    (half,) = read_settings(config, start, flags(kept=["0.5"]), False).asked
    assert half.kept == 0.5
    assert overrides(config, half) == []


@pytest.mark.parametrize("name", ["s1", "s2", "s3"])
def test_shares_are_of_the_space_that_is_there(name: str) -> None:
    config = ExperimentConfig()
    config.space.name = name
    start = start_mask(config.space)
    settings = read_settings(config, start, flags(), False)
    whole, half = settings.asked
    assert (whole.mask, whole.kept) == ("all", 1.0)
    assert (half.mask, half.kept) == ("random", 0.5)
    assert settings.masks[half].num_kept == start.num_kept / 2


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"remat": ["waves"]}, "--remat is 'waves': it must be one of none, op, wave"),
        ({"dtype": ["float16"]}, "--dtype is 'float16': it must be one of float32"),
        ({"batch": ["many"]}, "--batch: 'many' is no number"),
        ({"batch": ["0"]}, "--batch is '0': it must be 1 or more"),
        ({"microbatches": ["3"]}, "3 microbatches do not divide a batch of 64"),
        ({"kept": ["half"]}, "--kept: 'half' is no number"),
        ({"kept": ["1.5"]}, "--kept is 1.5: it must be a share"),
        ({"kept": ["0.1"]}, "--kept is 0.1: it must be 0.125 or more"),
        ({"kept": ["nan"]}, "--kept is nan"),
    ],
)
def test_a_value_that_is_not_allowed(given: dict[str, list[str]], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        read(**given)


def test_a_budget_search_goes_through_more() -> None:
    found = read(budget=True)
    assert {c.kept for c in found} == {0.5}
    assert {c.remat for c in found} == {"none", "op", "wave", "cell"}
    assert {c.dtype for c in found} == {"float32", "bfloat16"}
    assert {c.microbatches for c in found} == {1, 2, 4, 8}
    assert {c.batch_size for c in found} == {64}
    settings = read_settings(ExperimentConfig(), START, flags(), True)
    assert sorted({c.kept for c in settings.fallback}) == [0.125, 0.25, 0.375]


def test_a_budget_search_keeps_to_what_is_given() -> None:
    found = read(budget=True, kept=["1"], microbatches=["2"], remat=["none"])
    assert {(c.kept, c.remat, c.microbatches) for c in found} == {(1.0, "none", 2)}


def test_microbatches_of_a_budget_search_divide_the_batch() -> None:
    assert {c.microbatches for c in read(budget=True, batch=["12"])} == {1, 2, 4}


def test_overrides_name_what_differs() -> None:
    config = ExperimentConfig()
    same = Candidate("random", 0.5, config.search.remat, "float32", 64, 1)
    assert overrides(config, same) == []
    other = Candidate("random", 0.375, "cell", "bfloat16", 32, 2)
    assert overrides(config, other) == [
        "--config.search.remat=cell",
        "--config.search.dtype=bfloat16",
        "--config.search.batch_size=32",
        "--config.search.microbatches=2",
        "--config.prune.level=0.625",
    ]
    mask = Candidate("mine.json", 0.4, config.search.remat, "float32", 64, 1)
    assert overrides(config, mask) == ["--config.space.mask=mine.json"]


@given(st.floats(0.125, 1), st.integers(0, 2**32 - 1))
def test_a_random_mask(kept: float, seed: int) -> None:
    mask = random_mask(START, kept, seed)
    assert mask.num_kept == round(kept * START.num_kept)
    for cell in START.space.cells:
        for edge in range(len(cell.edges)):
            assert set(mask.edge(cell.name, edge)) - {NONE}
    # `none` goes before everything else.
    nones = sum(NONE in ops for edges in mask.kept for ops in edges)
    assert nones == max(0, mask.num_kept - 7 * 28)


@given(st.floats(0.125, 1), st.floats(0.125, 1), st.integers(0, 99))
def test_random_masks_are_nested(one: float, other: float, seed: int) -> None:
    small, large = sorted((one, other))
    assert random_mask(START, small, seed) <= random_mask(START, large, seed)


def test_a_random_mask_follows_its_seed() -> None:
    assert random_mask(START, 0.5, 1) == random_mask(START, 0.5, 1)
    assert random_mask(START, 0.5, 1) != random_mask(START, 0.5, 2)
    assert random_mask(START, 1.0, 1) == START


def sizes(config: DataConfig, *given: Any) -> Any:
    """Height, width and channels; number of classes; number of training images."""
    images = sized_images(config, *(given or ("", 0, 0)))
    assert len(images.mean) == len(images.std) == images.image_shape[2]
    return images.image_shape, images.num_classes, images.num_train


@pytest.mark.parametrize("text", ["32x32", "32", "0x32x3", "32x32x3x1", "ax32x3"])
def test_no_image_shape(text: str) -> None:
    with pytest.raises(ConfigError, match="as in 32x32x3"):
        sizes(DataConfig(), text, 1, 1)


def test_sizes_of_a_tfds_data_set_are_known_or_given() -> None:
    config = DataConfig(source="tfds", name="cifar10:3.0.2")
    assert sizes(config) == ((32, 32, 3), 10, 50_000)
    # No memory is taken, however many there are.
    assert sizes(config, "64x48x1", 0, 10**9) == ((64, 48, 1), 10, 10**9)
    own = DataConfig(source="tfds", name="my_own")
    with pytest.raises(ConfigError, match="my_own.*--image_shape=32x32x3"):
        sizes(own, "8x8x1", 2, 0)
    assert sizes(own, "8x8x1", 2, 9) == ((8, 8, 1), 2, 9)


def test_sizes_of_images_that_are_made() -> None:
    config = DataConfig(source="synthetic", image_size=16, num_classes=3, num_train=20)
    assert sizes(config) == ((16, 16, 3), 3, 20)
    assert sizes(DataConfig()) == ((8, 8, 1), 10, 1437)


@pytest.mark.parametrize("shape", [(6, 8, 4, 3), (6, 8, 4)])
@pytest.mark.parametrize("names", [{}, {"classes": np.array(["a", "b", "c"])}])
def test_sizes_of_an_npz_file_whose_images_are_not_read(tmp_path, shape, names) -> None:
    path = tmp_path / "own.npz"
    np.savez(path, y_train=np.array([0, 1, 0, 1, 0, 1]), **names)
    with zipfile.ZipFile(path, "a") as archive, archive.open("x_train.npy", "w") as x:
        # A head without images.
        head = {"descr": "|u1", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(x, head)
    channels = shape[3] if len(shape) == 4 else 1
    expected = ((8, 4, channels), len(names.get("classes", "ab")), 6)
    assert sizes(DataConfig(source="npz", path=str(path))) == expected


def test_an_npz_file_that_is_damaged(tmp_path) -> None:
    path = tmp_path / "own.npz"
    path.write_bytes(b"PK")
    with pytest.raises(DataError, match="not a complete .npz"):
        sizes(DataConfig(source="npz", path=str(path)))
