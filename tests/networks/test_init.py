from __future__ import annotations

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nas_jax.networks import (
    DerivedNetwork,
    Supernet,
    abstract_variables,
    init_alphas,
    init_variables,
    zero_alphas,
)
from nas_jax.spaces import Genotype, SpaceMask, darts_space

SPACE = darts_space(2)
IMAGES = jax.ShapeDtypeStruct((2, 8, 8, 3), jnp.float32)
SUPERNET = Supernet(SpaceMask.full(SPACE), 8, 3, 4)


def derived() -> DerivedNetwork:
    genes = [("sep_conv_3x3", 0), ("dil_conv_5x5", 1)] * 2
    text = f"Genotype(normal={genes}, reduce={genes})"
    return DerivedNetwork(Genotype.parse(SPACE, text), 4, 3, 4)


@functools.cache
def supernet_shapes() -> dict[str, object]:
    return abstract_variables(SUPERNET, IMAGES, zero_alphas(SPACE))


def named_leaves(tree: object) -> list[tuple[str, jax.Array]]:
    leaves = jax.tree_util.tree_flatten_with_path(tree)[0]
    return [(jax.tree_util.keystr(path), leaf) for path, leaf in leaves]


def bound(path: str, shape: tuple[int, ...]) -> float:
    """1 / sqrt(fan in), PyTorch's default."""
    if "depthwise" in path:
        return 1 / math.sqrt(shape[1] * shape[2])
    if "pointwise" in path:
        return 1 / math.sqrt(shape[1])
    return 1 / math.sqrt(math.prod(shape[:-1]))


def test_bounds_and_mean(key: jax.Array) -> None:
    variables = init_variables(key, supernet_shapes())
    scaled = []
    for path, leaf in named_leaves(variables):
        if path.endswith(("['bias']", "['shift']")):
            np.testing.assert_array_equal(leaf, 0)
        elif path.endswith("['scale']"):
            np.testing.assert_array_equal(leaf, 1)
        else:
            scaled.append(np.ravel(leaf) / bound(path, leaf.shape))
            assert np.abs(scaled[-1]).max() <= 1 + 1e-6, path
            if leaf.size > 100:
                # Wrong fan-ins would show as a maximum far below the bound.
                assert np.abs(scaled[-1]).max() > 0.9, path
    numbers = np.concatenate(scaled)
    assert numbers.size > 5000
    # The deviation of U(-1, 1) is 3 ** -0.5; its mean has 5 deviations of room.
    assert abs(numbers.mean()) < 5 * 3**-0.5 / math.sqrt(numbers.size)
    assert numbers.std() == pytest.approx(3**-0.5, rel=0.02)


def test_same_key_same_values(key: jax.Array) -> None:
    first, again = (init_variables(key, supernet_shapes()) for _ in range(2))
    other = init_variables(jax.random.key(1), supernet_shapes())
    jax.tree.map(np.testing.assert_array_equal, first, again)
    kernels = [v["params"]["classifier"]["kernel"] for v in (first, other)]
    assert not np.array_equal(*kernels)


def test_leaves_do_not_share_values(key: jax.Array) -> None:
    variables = init_variables(key, supernet_shapes())
    drawn = [np.ravel(leaf) for p, leaf in named_leaves(variables) if "wave" in p]
    firsts = [float(leaf[0]) for leaf in drawn]
    assert len(set(firsts)) == len(firsts)


def test_structure_is_the_one_of_flax(key: jax.Array) -> None:
    for network, arguments, options in (
        (SUPERNET, (zero_alphas(SPACE),), {}),
        (derived(), (), {"train": True}),
    ):
        abstract = abstract_variables(network, IMAGES, *arguments, **options)
        variables = init_variables(key, abstract)
        shapes = jax.tree.map(lambda x: (x.shape, x.dtype), variables)
        assert shapes == jax.tree.map(lambda x: (x.shape, x.dtype), abstract)


def test_running_statistics_start_at_mean_zero_and_variance_one(
    key: jax.Array,
) -> None:
    variables = init_variables(key, abstract_variables(derived(), IMAGES, train=True))
    statistics = named_leaves(variables["batch_stats"])
    assert statistics
    for path, leaf in statistics:
        np.testing.assert_array_equal(leaf, float(path.endswith("['variance']")))


def test_parameters_are_float32_whatever_computes(key: jax.Array) -> None:
    images = jax.ShapeDtypeStruct(IMAGES.shape, jnp.bfloat16)
    abstract = abstract_variables(SUPERNET, images, zero_alphas(SPACE))
    variables = init_variables(key, abstract)
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype("float32")}


def test_no_forward_pass_is_compiled(
    key: jax.Array, monkeypatch: pytest.MonkeyPatch
) -> None:
    abstract = supernet_shapes()

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the network was run")

    monkeypatch.setattr(Supernet, "__call__", refuse)
    monkeypatch.setattr(Supernet, "apply", refuse)
    monkeypatch.setattr(Supernet, "init", refuse)
    init_variables(key, abstract)


def test_alphas(key: jax.Array) -> None:
    space = darts_space()
    zeros, alphas = zero_alphas(space), init_alphas(space, key)
    for values in (zeros, alphas):
        assert {n: (a.shape, a.dtype.name) for n, a in values.items()} == {
            "normal": ((14, 8), "float32"),
            "reduce": ((14, 8), "float32"),
        }
    assert all(not a.any() for a in zeros.values())
    numbers = np.concatenate([np.ravel(a) for a in alphas.values()])
    assert numbers.std() == pytest.approx(1e-3, rel=0.2)
    assert len(np.unique(numbers)) == numbers.size


def test_draws_do_not_depend_on_the_precision(key: jax.Array) -> None:
    def draw() -> object:
        return init_variables(key, supernet_shapes()), init_alphas(SPACE, key)

    single = draw()
    with jax.enable_x64(True):
        double = draw()
    jax.tree.map(np.testing.assert_array_equal, single, double)
