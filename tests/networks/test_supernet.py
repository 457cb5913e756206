from __future__ import annotations

import functools
import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nas_jax.errors import MaskError
from nas_jax.networks import (
    Supernet,
    Variables,
    abstract_variables,
    init_variables,
    mixture_weights,
    num_parameters,
    zero_alphas,
)
from nas_jax.networks.backbone import places
from nas_jax.networks.cell import Remat
from nas_jax.networks.operations import CONV_OPS
from nas_jax.networks.plan import plan_supernet
from nas_jax.spaces import DARTS_OPS, SpaceMask, darts_space

OPS = ("none", "max_pool_3x3", "skip_connect", "sep_conv_3x3", "dil_conv_3x3")
SPACE = darts_space(2, OPS)
FULL = SpaceMask.full(SPACE)
DROPPED = [
    ("normal", 0, "sep_conv_3x3"),
    ("normal", 1, "none"),
    ("normal", 3, "skip_connect"),
    ("normal", 4, "dil_conv_3x3"),
    ("reduce", 0, "max_pool_3x3"),
    ("reduce", 1, "sep_conv_3x3"),
    ("reduce", 2, "skip_connect"),
    ("reduce", 4, "sep_conv_3x3"),
]
PRUNED = FULL.drop(DROPPED)
IMAGES = np.random.default_rng(0).normal(size=(2, 8, 8, 2)).astype(np.float32)


def alphas() -> dict[str, jax.Array]:
    rng = np.random.default_rng(1)
    return {
        c.name: jnp.asarray(rng.normal(size=(5, 5)), "float32") for c in SPACE.cells
    }


def supernet(mask: SpaceMask, remat: Remat = "none", layers: int = 3) -> Supernet:
    return Supernet(mask, channels=2, layers=layers, num_classes=3, remat=remat)


def shapes(mask: SpaceMask) -> Variables:
    return abstract_variables(
        supernet(mask), jnp.asarray(IMAGES), zero_alphas(mask.space)
    )


@functools.cache
def full_variables() -> Variables:
    return init_variables(jax.random.key(3), shapes(FULL))


def subset(params: dict[str, Any], mask: SpaceMask) -> dict[str, Any]:
    """The parameters of a full supernet that one with a mask has as well.

    A parameter stacks one layer for each operation of its kind, in the plan's order: so
    the layers that stay are those of kept operations.
    """
    result: dict[str, Any] = {}
    for cell, modules in params.items():
        if not cell.startswith("cell_"):
            result[cell] = modules
            continue
        place = places(2, 3)[int(cell.removeprefix("cell_"))]
        result[cell] = {}
        for name, leaf in modules.items():
            if name.startswith("preprocess"):
                result[cell][name] = leaf
                continue
            ops = plan_supernet(FULL, place.name).named(name, place.reduction)
            assert leaf.shape[0] == len(ops)
            kept = [mask.keeps(place.name, o.edge, o.op) for o in ops]
            if any(kept):
                result[cell][name] = leaf[np.array(kept)]
    return result


def test_static_mask_equals_masked_weights() -> None:
    weights = mixture_weights(alphas(), PRUNED.arrays())
    dropped = np.logical_not(np.concatenate(list(PRUNED.arrays().values())))
    assert (np.concatenate(list(weights.values()))[dropped] == 0).all()
    params = full_variables()["params"]
    small = subset(params, PRUNED)
    assert jax.tree.map(jnp.shape, small) == jax.tree.map(
        jnp.shape, shapes(PRUNED)["params"]
    )
    assert num_parameters({"params": small}) < num_parameters({"params": params})
    logits = [
        jax.jit(supernet(mask).apply)({"params": p}, IMAGES, weights)
        for mask, p in ((FULL, params), (PRUNED, small))
    ]
    assert logits[0].shape == (2, 3)
    assert np.std(logits[0]) > 1e-3
    np.testing.assert_allclose(logits[0], logits[1], rtol=1e-4, atol=1e-5)


def test_entries_of_pruned_operations_are_not_read() -> None:
    weights = mixture_weights(alphas(), PRUNED.arrays())
    broken = {
        name: jnp.where(PRUNED.arrays()[name], value, 7.0)
        for name, value in weights.items()
    }
    params = subset(full_variables()["params"], PRUNED)
    apply = jax.jit(supernet(PRUNED).apply)
    np.testing.assert_array_equal(
        apply({"params": params}, IMAGES, weights),
        apply({"params": params}, IMAGES, broken),
    )


def program(mask: SpaceMask) -> str:
    weights = zero_alphas(mask.space)
    text = jax.jit(supernet(mask).apply).lower(shapes(mask), IMAGES, weights).as_text()
    return str(text)


def pointwise_products(mask: SpaceMask) -> int:
    """1x1 convolutions that the plan calls for: one product for a stack.

    Each stage of a wave's convolutions is one product. A factorised reduction is two.
    """
    total = 0
    for place in places(2, 3):
        total += 3 if place.reduce_first else 2
        for index, ops in enumerate(plan_supernet(mask, place.name).waves):
            names = {o.op for o in ops}
            total += any(n in CONV_OPS and CONV_OPS[n].twice for n in names)
            total += any(n in CONV_OPS for n in names)
            if "skip_connect" in names and place.reduction and index == 0:
                total += 2
    return total


def without(*ops: str) -> SpaceMask:
    return FULL.drop([o for o in SPACE.operations() if o[2] in ops])


@pytest.mark.parametrize(
    ("mask", "expected"),
    [
        # Preprocessing 2 + 2 + 3; two waves in each of 3 cells with 2 products each;
        # factorised reductions of skip connections in 2 reduction cells.
        (FULL, 7 + 12 + 4),
        (without("sep_conv_3x3"), 7 + 6 + 4),
        (without("dil_conv_3x3"), 7 + 12 + 4),
        (without("sep_conv_3x3", "dil_conv_3x3"), 7 + 4),
        (without("sep_conv_3x3", "dil_conv_3x3", "skip_connect"), 7),
    ],
)
def test_pruned_convolutions_are_not_in_the_program(
    mask: SpaceMask, expected: int
) -> None:
    # Only 1x1 convolutions are products over a stack; mixing sums are not batched.
    found = re.findall(r"stablehlo\.dot_general.*batching_dims = \[0\]", program(mask))
    assert len(found) == pointwise_products(mask) == expected


@pytest.mark.parametrize(
    ("op", "size"), [("sep_conv_3x3", "3x3"), ("dil_conv_3x3", "3x3")]
)
def test_a_pruned_operation_has_no_parameter(op: str, size: str) -> None:
    leaves = jax.tree_util.tree_flatten_with_path(shapes(without(op)))[0]
    assert not [path for path, _ in leaves if op in jax.tree_util.keystr(path)]
    full = jax.tree_util.tree_flatten_with_path(shapes(FULL))[0]
    assert [path for path, _ in full if op in jax.tree_util.keystr(path)]


def test_no_5x5_kernel_is_left_where_5x5_convolutions_are_pruned() -> None:
    space = darts_space(2)
    full = SpaceMask.full(space)
    fives = [o for o in space.operations() if o[2].endswith("5x5")]
    images = jnp.asarray(IMAGES)

    def kernels(mask: SpaceMask) -> set[tuple[int, ...]]:
        leaves = jax.tree.leaves(
            abstract_variables(supernet(mask), images, zero_alphas(space))
        )
        return {leaf.shape[1:3] for leaf in leaves if leaf.ndim == 4 and leaf.size}

    assert (5, 5) in kernels(full)
    pruned = kernels(full.drop(fives))
    assert (5, 5) not in pruned
    assert (3, 3) in pruned


def test_masked_softmax_by_hand() -> None:
    # exp(ln 1), exp(ln 3) and exp(ln 4) of which the second is not alive: 1/5 and 4/5.
    alpha = jnp.log(jnp.asarray([[1.0, 3.0, 4.0], [1.0, 3.0, 4.0]]))
    live = np.array([[1, 0, 1], [1, 1, 1]])
    weights = mixture_weights({"normal": alpha}, {"normal": live})["normal"]
    expected = [[0.2, 0, 0.8], [0.125, 0.375, 0.5]]
    np.testing.assert_allclose(weights, expected, rtol=1e-6)
    assert weights[0, 1] == 0


def test_masked_softmax_of_extreme_alphas() -> None:
    alpha = jnp.asarray([[1e4, -1e4, 0.0]])
    weights = mixture_weights({"n": alpha}, {"n": np.array([[0, 1, 1]])})["n"]
    np.testing.assert_array_equal(weights, [[0, 0, 1]])


@pytest.mark.parametrize(
    ("live", "message"),
    [
        (
            {"n": np.array([[0.2, 0.3, 0.5]])},
            "live of 'n' holds 0.2; it must hold 0 an",
        ),
        ({"n": np.array([[0, 2, 1]])}, "live of 'n' holds 2; it must hold 0 and 1"),
        ({"n": np.array([[0, 0, 0]])}, "live of 'n' has no operation on edge 0"),
        ({"n": np.ones(3)}, r"have shape \(1, 3\), and live has \(3,\); both must be"),
        ({"n": np.ones((2, 1, 3))}, r"shape \(1, 3\), and live has \(2, 1, 3\)"),
        ({"m": np.ones((1, 3))}, r"cells \['n'\], and live of \['m'\]; they must be"),
    ],
)
def test_what_is_no_live_array_is_refused(live: Any, message: str) -> None:
    with pytest.raises(MaskError, match=message):
        mixture_weights({"n": jnp.zeros((1, 3))}, live)


def test_live_that_is_traced_is_not_looked_at() -> None:
    # Shapes are known all the same.
    one = {"n": jnp.zeros((1, 3))}
    live = {"n": jnp.array([[[0, 1, 1]], [[1, 0, 0]]])}
    weights = jax.jit(jax.vmap(lambda live: mixture_weights(one, live)))(live)
    np.testing.assert_array_equal(weights["n"], [[[0, 0.5, 0.5]], [[1, 0, 0]]])
    with pytest.raises(MaskError, match=r"live has \(2, 1, 3\)"):
        jax.jit(lambda live: mixture_weights(one, live))(live)


def test_gradient_to_pruned_alphas_is_exactly_zero() -> None:
    live = PRUNED.arrays()

    def loss(alphas: dict[str, jax.Array]) -> jax.Array:
        weights = mixture_weights(alphas, live)
        return sum(
            (
                jnp.sum(jnp.cos(jnp.arange(25.0).reshape(5, 5)) * w)
                for w in weights.values()
            ),
            start=jnp.zeros(()),
        )

    gradients = jax.grad(loss)(alphas())
    for name, gradient in gradients.items():
        assert (np.asarray(gradient)[~live[name]] == 0).all()
        assert np.abs(np.asarray(gradient)[live[name]]).min() > 0
        # A softmax does not change where all live alphas grow alike.
        np.testing.assert_allclose(gradient.sum(-1), 0, atol=1e-6)


def test_traced_candidates_share_one_program() -> None:
    live = {name: jnp.asarray(array) for name, array in FULL.arrays().items()}
    mixed = jax.jit(mixture_weights)(alphas(), live)
    for name, weights in mixture_weights(alphas(), FULL.arrays()).items():
        np.testing.assert_allclose(mixed[name], weights, rtol=1e-6)


SMALL = FULL.drop(
    [o for o in SPACE.operations() if o[2] in ("max_pool_3x3", "dil_conv_3x3")]
)


@functools.cache
def small_params() -> dict[str, Any]:
    """Of one (reduction) cell: enough to compare programs, and quick to compile."""
    network = supernet(SMALL, layers=1)
    abstract = abstract_variables(network, jnp.asarray(IMAGES), zero_alphas(SPACE))
    return dict(init_variables(jax.random.key(0), abstract)["params"])


def test_remat_changes_nothing() -> None:
    params = small_params()
    results = []
    for remat in ("none", "op", "wave", "cell"):
        network = supernet(SMALL, remat, layers=1)

        def loss(
            p: Any, a: dict[str, jax.Array], network: Supernet = network
        ) -> jax.Array:
            weights = mixture_weights(a, SMALL.arrays())
            return jnp.mean(jnp.square(network.apply({"params": p}, IMAGES, weights)))

        results.append(jax.jit(jax.value_and_grad(loss, (0, 1)))(params, alphas()))
    largest = [float(jnp.abs(g).max()) for g in jax.tree.leaves(results[0][1])]
    assert sorted(largest)[len(largest) // 2] > 1e-3
    for other in results[1:]:
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5),
            results[0],
            other,
        )


@pytest.mark.parametrize("remat", ["wave", "cell"])
def test_remat_computes_again(remat: Remat) -> None:
    def text(network: Supernet) -> str:
        variables = shapes(SMALL)
        weights = zero_alphas(SPACE)
        return str(jax.make_jaxpr(network.apply)(variables, IMAGES, weights))

    # JAX has named the primitive both ways.
    again = re.compile(r"\b(remat2?|checkpoint)\[")
    found = len(again.findall(text(supernet(SMALL, remat))))
    # Each of three cells; or two waves and two projections in each of them.
    assert found == (3 if remat == "cell" else 3 * (2 + 2))
    assert not again.findall(text(supernet(SMALL)))


def test_second_call_does_not_trace_again() -> None:
    traces = 0

    @functools.partial(jax.jit, static_argnums=0)
    def logits(network: Supernet, variables: Variables, weights: Any) -> jax.Array:
        nonlocal traces
        traces += 1
        return network.apply(variables, IMAGES, weights)

    params = small_params()
    results = []
    for scale in (1.0, -1.0):
        # Another network object with an equal mask; other values.
        mask = SpaceMask.from_json(SPACE, SMALL.to_json())
        scaled = {name: scale * alpha for name, alpha in alphas().items()}
        weights = mixture_weights(scaled, SMALL.arrays())
        results.append(logits(supernet(mask, layers=1), {"params": params}, weights))
    assert traces == 1
    assert not np.allclose(*results)


def test_identity_norm_is_homogeneous() -> None:
    # Without normalisation and bias every operation scales with its input.
    network = Supernet(SMALL, 2, 1, 3, norm="identity")
    params = jax.tree.map(jnp.abs, small_params())
    weights = mixture_weights(alphas(), SMALL.arrays())
    apply = jax.jit(network.apply)
    one, two = (
        apply({"params": params}, factor * np.abs(IMAGES), weights) for factor in (1, 2)
    )
    np.testing.assert_allclose(2 * one, two, rtol=1e-4)


def test_all_operations_of_the_space_are_known() -> None:
    from nas_jax.networks import NETWORK_OPS

    assert sorted(NETWORK_OPS) == sorted(DARTS_OPS)
