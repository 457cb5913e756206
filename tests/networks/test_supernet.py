"""Supernets of both families: what a mask leaves, and what is computed again."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nas_jax.errors import ConfigError, MaskError
from nas_jax.networks import (
    Candidates,
    Size,
    Supernet,
    abstract_variables,
    family_of,
    from_edges,
    init_variables,
    mixture_weights,
    num_parameters,
    to_edges,
    zero_alphas,
)
from nas_jax.networks.engines.weights import check_weights
from nas_jax.proxies.layerwise import masked
from nas_jax.spaces import SpaceMask, darts_space, get_mask, nasbench201_space

FAST = {"xla_backend_optimization_level": 0}
IMAGES = jnp.asarray(np.random.default_rng(0).normal(size=(2, 8, 8, 2)), jnp.float32)
SMALL = darts_space(2, ("none", "max_pool_3x3", "skip_connect", "sep_conv_3x3"))
SPACES = {"darts": SMALL, "nasbench201": nasbench201_space()}
SIZE = Size(2, 2)


def pruned(space: Any) -> SpaceMask:
    """Every third operation goes, and something stays on each edge."""
    full = SpaceMask.full(space)
    operations = [*space.operations()]
    return full.drop([o for i, o in enumerate(operations) if i % 3 == 1])


def some_weights(mask: SpaceMask) -> dict[str, jax.Array]:
    rng = np.random.default_rng(1)
    alphas = {
        n: jnp.asarray(rng.normal(size=a.shape), jnp.float32)
        for n, a in mask.arrays().items()
    }
    return mixture_weights(alphas, mask.arrays())


def variables(network: Any) -> Any:
    return init_variables(jax.random.key(3), abstract_variables(network, IMAGES))


def apply(network: Any) -> Any:
    return jax.jit(network.apply, compiler_options=FAST)


@pytest.mark.parametrize("name", SPACES)
def test_entries_of_pruned_operations_are_not_read(name: str) -> None:
    mask = pruned(SPACES[name])
    network = family_of(mask.space).supernet(mask, SIZE, 3)
    weights = some_weights(mask)
    broken = {n: jnp.where(mask.arrays()[n], w, 7.0) for n, w in weights.items()}
    run, values = apply(network), variables(network)
    np.testing.assert_array_equal(
        run(values, IMAGES, weights), run(values, IMAGES, broken)
    )


def test_a_static_mask_is_a_dynamic_one() -> None:
    mask = pruned(SMALL)
    whole, part = (Supernet(m, *SIZE, 3) for m in (SpaceMask.full(SMALL), mask))
    params = variables(whole)["params"]
    small = from_edges(
        part, abstract_variables(part, IMAGES)["params"], to_edges(whole, params)
    )
    assert num_parameters({"params": small}) < num_parameters({"params": params})
    weights = some_weights(mask)
    found = [
        apply(network)({"params": p}, IMAGES, weights)
        for network, p in ((whole, params), (part, small))
    ]
    assert np.std(found[0]) > 1e-3
    np.testing.assert_allclose(*found, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", SPACES)
def test_a_pruned_operation_has_no_parameter(name: str) -> None:
    space = SPACES[name]
    op = next(o for o in space.cells[0].ops if "conv" in o)
    full = SpaceMask.full(space)
    without = full.drop([o for o in space.operations() if o[2] == op])

    def names(mask: SpaceMask) -> set[str]:
        network = family_of(space).supernet(mask, SIZE, 3)
        specs = abstract_variables(network, IMAGES)
        paths = jax.tree_util.tree_leaves_with_path(specs)
        return {key.key for path, _ in paths for key in path}

    assert op in names(full) and op not in names(without)


@pytest.mark.parametrize("name", SPACES)
def test_remat_changes_nothing(name: str) -> None:
    space = SPACES[name]
    kept = ("none", "skip_connect", *[o for o in space.cells[0].ops if "conv" in o][:1])
    mask = SpaceMask.full(space).drop(
        [o for o in space.operations() if o[2] not in kept]
    )
    size, weights = Size(2, 1), some_weights(mask)
    results = []
    for remat in ("none", "op", "wave", "cell"):
        network = family_of(mask.space).supernet(mask, size, 3, remat=remat)

        def loss(p: Any, w: Any, network: Any = network) -> jax.Array:
            return jnp.mean(jnp.square(network.apply(p, IMAGES, w)))

        run = jax.jit(jax.value_and_grad(loss, (0, 1)), compiler_options=FAST)
        results.append(run(variables(network), weights))
    largest = [float(jnp.abs(g).max()) for g in jax.tree.leaves(results[0][1])]
    assert sorted(largest)[len(largest) // 2] > 1e-3
    for other in results[1:]:
        for a, b in zip(*map(jax.tree.leaves, (results[0], other)), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)


def test_second_derivatives() -> None:
    """What grasp and second-order DARTS need: the gradient of a gradient's product."""
    mask = SpaceMask.full(darts_space(1, ("none", "skip_connect", "sep_conv_3x3")))
    weights = some_weights(mask)
    results = []
    for remat in ("none", "op"):
        network = Supernet(mask, 2, 1, 3, remat=remat)

        def product(p: Any, w: Any, network: Any = network) -> jax.Array:
            def loss(p: Any, w: Any) -> jax.Array:
                return jnp.mean(jnp.square(network.apply(p, IMAGES, w) - 1))

            leaves = jax.tree.leaves(jax.grad(loss, (0, 1))(p, w))
            return jnp.sum(jnp.stack([jnp.sum(jnp.sin(leaf)) for leaf in leaves]))

        run = jax.jit(jax.grad(product, (0, 1)), compiler_options=FAST)
        results.append(jax.tree.leaves(run(variables(network), weights)))
    assert max(float(jnp.abs(g).max()) for g in results[0]) > 1e-2
    for a, b in zip(*results, strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-3, atol=2e-4)


def test_gradients_that_nobody_asks_for_are_not_computed() -> None:
    mask = SpaceMask.full(darts_space(1, ("none", "skip_connect", "sep_conv_3x3")))
    network, weights = Supernet(mask, 4, 1, 3), some_weights(mask)

    def loss(params: Any, weights: Any) -> jax.Array:
        logits = network.apply(params, IMAGES, weights)
        return jnp.mean(jnp.square(logits - 1))

    def flops(arguments: Any) -> float:
        run = jax.jit(jax.grad(loss, arguments), compiler_options=FAST)
        analysis = run.lower(variables(network), weights).compile().cost_analysis()
        assert analysis is not None
        return float(analysis["flops"])

    both, weights_alone, alphas_alone = (flops(a) for a in ((0, 1), 0, 1))
    # The alphas' gradient is one product with what is there already.
    assert weights_alone < both and alphas_alone < 0.85 * both


def test_bfloat16_is_close_and_leaves_parameters_alone() -> None:
    mask = pruned(SMALL)
    weights = some_weights(mask)
    gradients = []
    for dtype in ("float32", "bfloat16"):
        network = family_of(SMALL).supernet(mask, Size(4, 1), 3, dtype=dtype)

        def loss(p: Any, network: Any = network) -> jax.Array:
            return jnp.mean(jnp.square(network.apply(p, IMAGES, weights) - 1))

        run = jax.jit(jax.value_and_grad(loss), compiler_options=FAST)
        gradients.append(run(variables(network)))
    (a, exact), (b, rounded) = gradients
    assert a.dtype == b.dtype == jnp.float32 and float(a) != float(b)
    assert float(b) == pytest.approx(float(a), rel=0.05)
    assert {leaf.dtype for leaf in jax.tree.leaves(rounded)} == {jnp.float32.dtype}
    x, y = (
        jnp.concatenate([*map(jnp.ravel, jax.tree.leaves(g))]) for g in (exact, rounded)
    )
    cosine = jnp.vdot(x, y) / jnp.linalg.norm(x) / jnp.linalg.norm(y)
    assert float(cosine) > 0.97


def test_second_call_does_not_trace_again() -> None:
    traces = []

    @functools.partial(jax.jit, static_argnums=0)
    def logits(network: Supernet, values: Any, weights: Any) -> jax.Array:
        traces.append(1)
        return network.apply(values, IMAGES, weights)

    found = []
    for index in range(2):
        # Another network object with an equal mask; other values.
        mask = SpaceMask.from_json(SMALL, pruned(SMALL).to_json())
        network = Supernet(mask, 2, 1, 3)
        values = init_variables(
            jax.random.key(index), abstract_variables(network, IMAGES)
        )
        found.append(logits(network, values, some_weights(mask)))
    assert len(traces) == 1 and not np.allclose(*found)


def test_identity_norm_is_homogeneous() -> None:
    """Without normalisation and bias every operation scales with its input."""
    mask = pruned(SMALL)
    network = Supernet(mask, 2, 1, 3, norm="identity")
    values = jax.tree.map(jnp.abs, variables(network))
    run, weights = apply(network), some_weights(mask)
    one, two = (run(values, f * jnp.abs(IMAGES), weights) for f in (1, 2))
    np.testing.assert_allclose(2 * one, two, rtol=1e-4)


@pytest.mark.parametrize("name", SPACES)
def test_dead_layers_are_marked_and_have_no_gradient(name: str) -> None:
    space = SPACES[name]
    full, alive = SpaceMask.full(space), pruned(space)
    candidates = Candidates(full, SIZE, 3)
    live = {n: a.astype(np.float32) for n, a in alive.arrays().items()}
    params = candidates.init(jax.random.key(0), IMAGES.shape[1:])

    def loss(params: Any) -> jax.Array:
        return jnp.sum(jnp.sin(candidates.logits(params, live, IMAGES, "batch")))

    gradient = jax.jit(jax.grad(loss), compiler_options=FAST)(params)
    marks = candidates.live(params, live)
    dead = jax.tree.map(lambda m, g: masked(1 - m, g), marks, gradient)
    assert max(float(jnp.abs(g).max()) for g in jax.tree.leaves(dead)) == 0
    assert min(float(m.min()) for m in jax.tree.leaves(marks)) == 0
    small = family_of(space).supernet(alive, SIZE, 3)
    kept = jax.tree.map(
        lambda m, p: float(m.sum()) * np.prod(p.shape[m.ndim :]), marks, params
    )
    specs = abstract_variables(small, IMAGES)
    assert sum(jax.tree.leaves(kept)) == num_parameters(specs)


def test_weights_that_are_none() -> None:
    full = SpaceMask.full(SMALL)
    good = some_weights(full)
    kept = full.arrays()
    for wrong, message in (
        ({"normal": good["normal"]}, "of the cells"),
        (good | {"normal": good["normal"][:2]}, r"have shape \(2, 4\)"),
        (good | {"normal": -good["normal"]}, "edge 0, are"),
        (zero_alphas(SMALL), "of alphas, give mixture_weights"),
    ):
        with pytest.raises(MaskError, match=message):
            check_weights(wrong, kept)
    with pytest.raises(MaskError, match="of alphas, give"):
        Supernet(full, 2, 1, 3).apply(
            variables(Supernet(full, 2, 1, 3)), IMAGES, zero_alphas(SMALL)
        )


def test_masked_softmax_by_hand() -> None:
    # exp(ln 1), exp(ln 3) and exp(ln 4) of which the second is not alive: 1/5 and 4/5.
    alpha = jnp.log(jnp.asarray([[1.0, 3.0, 4.0], [1.0, 3.0, 4.0]]))
    live = np.array([[1, 0, 1], [1, 1, 1]])
    weights = mixture_weights({"normal": alpha}, {"normal": live})["normal"]
    np.testing.assert_allclose(weights, [[0.2, 0, 0.8], [0.125, 0.375, 0.5]], rtol=1e-6)
    extreme = {"n": jnp.asarray([[1e4, -1e4, 0.0]])}
    weights = mixture_weights(extreme, {"n": np.array([[0, 1, 1]])})["n"]
    np.testing.assert_array_equal(weights, [[0, 0, 1]])
    # No gradient where nothing is alive.
    gradient = jax.grad(
        lambda a: jnp.sum(jnp.cos(a) * mixture_weights({"n": a}, {"n": live})["n"])
    )(alpha)
    assert np.abs(np.asarray(gradient)[live == 1]).min() > 0


@pytest.mark.parametrize(
    ("live", "message"),
    [
        ({"n": np.array([[0.2, 0.3, 0.5]])}, "live of 'n' holds 0.2; it must hold 0"),
        ({"n": np.array([[0, 2, 1]])}, "live of 'n' holds 2; it must hold 0 and 1"),
        ({"n": np.array([[0, 0, 0]])}, "live of 'n' has no operation on edge 0"),
        ({"n": np.ones(3)}, r"have shape \(1, 3\), and live has \(3,\); both must be"),
        ({"m": np.ones((1, 3))}, r"cells \['n'\], and live of \['m'\]; they must be"),
    ],
)
def test_what_is_no_live_array_is_refused(live: Any, message: str) -> None:
    with pytest.raises(MaskError, match=message):
        mixture_weights({"n": jnp.zeros((1, 3))}, live)


def test_only_what_stores_everything_can_be_observed() -> None:
    for space in SPACES.values():
        mask = SpaceMask.full(space)
        network = family_of(space).supernet(mask, SIZE, 3, remat="wave")
        with pytest.raises(ConfigError, match="remat='wave' cannot be observed"):
            network.apply(
                variables(network), IMAGES, some_weights(mask), method="observe"
            )


def test_edges_name_every_array_whatever_the_mask() -> None:
    network = Supernet(SpaceMask.full(SMALL), 2, 3, 3)
    params = variables(network)["params"]
    edges = to_edges(network, params)
    again = from_edges(network, params, edges)
    jax.tree.map(np.testing.assert_array_equal, params, again)
    assert edges["cell_0"]["edge_4"]["sep_conv_3x3"]["depthwise_1"].shape == (3, 3, 2)
    # Only what reads an input of a reduction cell halves the image.
    halving = [e for e, own in edges["cell_1"].items() if "skip_connect" in own]
    assert halving == ["edge_0", "edge_1", "edge_2", "edge_3"]
    del edges["cell_0"]["edge_4"]
    with pytest.raises(MaskError, match="no weights for cell_0/edge_4/sep_conv_3x3"):
        from_edges(network, params, edges)


def test_all_spaces_have_supernets() -> None:
    for name in ("darts", "s1", "s2", "s3", "s4", "nasbench201"):
        mask = get_mask(name)
        network = family_of(mask.space).supernet(mask, Size(4, 3), 10)
        specs = abstract_variables(network, jnp.zeros((1, 8, 8, 3)))["params"]
        shapes = jax.tree.map(lambda s: jax.ShapeDtypeStruct(s.shape, s.dtype), specs)
        weights = jax.eval_shape(lambda m=mask: zero_alphas(m.space))
        logits = jax.eval_shape(
            network.apply, {"params": shapes}, jnp.zeros((2, 8, 8, 3)), weights
        )
        assert logits.shape == (2, 10), name
