"""An architecture is one network, whichever engine computes it."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nas_jax.networks import family_of
from nas_jax.networks.parameters import abstract_variables, num_parameters
from nas_jax.proxies.layerwise import count_parameters
from nas_jax.proxies.macs import count_macs
from nas_jax.spaces import Genotype, SearchSpace, darts_space, nasbench201_space
from nas_jax.spaces.nasbench201 import genotype_of
from tests.contracts.engines import (
    CLASSES,
    FAST,
    IMAGES,
    SIZE,
    Everywhere,
    assert_same_arrays,
    fill,
    genotype_plans,
    repeated,
)

SPACE = darts_space(
    3,
    (
        "none",
        "max_pool_3x3",
        "skip_connect",
        "sep_conv_3x3",
        "dil_conv_5x5",
        "avg_pool_3x3",
    ),
)


def darts(normal: Any, reduce: Any, space: SearchSpace = SPACE) -> Genotype:
    return Genotype.parse(space, f"Genotype(normal={[*normal]}, reduce={[*reduce]})")


ARCHITECTURES = {
    # Convolutions with stride 1 and 2, and genes not in the order of their sources.
    "darts": darts(
        [
            *(("sep_conv_3x3", 1), ("skip_connect", 0)),
            *(("dil_conv_5x5", 2), ("skip_connect", 0)),
            *(("dil_conv_5x5", 3), ("sep_conv_3x3", 2)),
        ],
        [
            *(("skip_connect", 0), ("sep_conv_3x3", 1)),
            *(("sep_conv_3x3", 2), ("dil_conv_5x5", 1)),
            *(("dil_conv_5x5", 1), ("skip_connect", 3)),
        ],
    ),
    "nasbench201": genotype_of(
        (
            "nor_conv_3x3",
            "skip_connect",
            "nor_conv_1x1",
            "avg_pool_3x3",
            "none",
            "nor_conv_3x3",
        )
    ),
    "nothing reaches node 1": genotype_of(
        (
            "none",
            "skip_connect",
            "nor_conv_1x1",
            "nor_conv_3x3",
            "nor_conv_3x3",
            "avg_pool_3x3",
        )
    ),
}


# A supernet normalises its pools, a discrete network does not.
POOLS = darts(
    [
        *(("max_pool_3x3", 1), ("avg_pool_3x3", 0)),
        *(("dil_conv_5x5", 2), ("skip_connect", 0)),
        *(("avg_pool_3x3", 3), ("max_pool_3x3", 2)),
    ],
    [
        *(("max_pool_3x3", 0), ("avg_pool_3x3", 1)),
        *(("sep_conv_3x3", 0), ("max_pool_3x3", 2)),
        *(("avg_pool_3x3", 3), ("skip_connect", 1)),
    ],
)


@functools.cache
def everywhere(name: str) -> Everywhere:
    return Everywhere((ARCHITECTURES | {"pools": POOLS})[name])


@pytest.fixture(params=ARCHITECTURES)
def network(request: pytest.FixtureRequest) -> Everywhere:
    return everywhere(request.param)


def test_coded_and_waves_tell_the_same(network: Everywhere) -> None:
    a, b = network.coded, network.waves
    assert float(np.std(a.logits)) > 0.1
    for name in ("logits", "features", "feature_map"):
        np.testing.assert_allclose(
            getattr(a, name), getattr(b, name), rtol=2e-4, atol=2e-4
        )
    reached = {row.tobytes() for row in repeated(b.relu_inputs)}
    assert len(reached) > 5
    assert_same_arrays(repeated(a.variances), repeated(b.variances))
    assert_same_arrays(repeated(a.relu_inputs), repeated(b.relu_inputs))


def test_loop_computes_what_waves_tell(network: Everywhere) -> None:
    run = functools.partial(network.candidates.logits, norm="batch")
    jitted = jax.jit(run, compiler_options=FAST, static_argnames="norm")
    logits = jitted(network.supernet_params, network.live, IMAGES)
    np.testing.assert_allclose(logits, network.waves.logits, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", [*ARCHITECTURES, "pools"])
def test_the_network_that_is_trained(name: str) -> None:
    network = everywhere(name)
    genotype = network.genotype
    module = family_of(genotype.space).network(genotype, SIZE, CLASSES)
    specs = abstract_variables(module, IMAGES)
    variables = {
        name: fill(genotype.space, tree, genotype_plans(genotype))
        for name, tree in specs.items()
    }
    run = functools.partial(module.apply, train=True, mutable=["batch_stats"])
    logits, moved = jax.jit(run, compiler_options=FAST)(variables, IMAGES)
    np.testing.assert_allclose(logits, network.coded.logits, rtol=2e-4, atol=2e-4)
    # Every normalisation has met the variances of its batch.
    told = np.array([v.sum() for v in repeated(network.coded.variances)])
    rows = [
        np.asarray(leaf).reshape(-1, leaf.shape[-1])
        for path, leaf in jax.tree_util.tree_leaves_with_path(moved["batch_stats"])
        if path[-1].key == "variance"
    ]
    assert sum(map(len, rows)) == len(told)
    live = network.architectures.live(network.coded_params, network.codes)
    shared = count_parameters(live, network.coded_params)
    unbuilt = network.architectures.unbuilt(network.codes)
    assert num_parameters(variables) == int(shared + unbuilt)


def test_macs_are_those_of_the_program(network: Everywhere) -> None:
    genotype = network.genotype
    module = family_of(genotype.space).network(genotype, SIZE, CLASSES)
    specs = abstract_variables(module, IMAGES)
    shapes = jax.tree.map(lambda s: jax.ShapeDtypeStruct(s.shape, s.dtype), specs)
    image = jax.ShapeDtypeStruct((1, *IMAGES.shape[1:]), jnp.float32)

    def run(variables: Any, images: jax.Array) -> jax.Array:
        # Convolutions as one call each, and no products that mix states.
        return module.apply(variables, images, train=False)

    counted = count_macs(run, shapes, image)
    assert int(network.coded.macs) == int(network.waves.macs)
    # Mixing, and patches in place of convolutions, are products too.
    assert int(network.coded.macs) <= counted + CLASSES


@pytest.mark.parametrize("name", ["darts", "nasbench201"])
def test_gates_are_derivatives_of_weights(name: str) -> None:
    """A gate g scales the weights w of a channel: dL/dg = <w, dL/dw> at g = 1.

    Summed over all layers. Statistics that are fixed keep the images apart.
    """
    network = everywhere(name)

    def loss(params: Any, gates: Any, observe: Any, codes: Any) -> jax.Array:
        told = observe(params, codes, IMAGES, "running", gates)
        return jnp.sum(jnp.sin(told.logits / 10))

    for scorable, params, codes in (
        (network.architectures, network.coded_params, network.codes),
        (network.candidates, network.supernet_params, network.live),
    ):
        told = jax.eval_shape(
            lambda p, s=scorable, c=codes: s.observe(p, c, IMAGES, "running"), params
        )
        ones = [jnp.ones(gate.values.shape) for gate in told.channels]
        gradient = jax.jit(
            jax.grad(
                functools.partial(loss, observe=scorable.observe, codes=codes), (0, 1)
            ),
            compiler_options=FAST,
        )
        by_params, by_gates = gradient(params, ones)
        products = [
            float(jnp.sum(w * g))
            for (path, w), g in zip(
                jax.tree_util.tree_leaves_with_path(params),
                jax.tree.leaves(by_params),
                strict=True,
            )
            if path[-1].key not in ("scale", "shift")
        ]
        total = sum(float(jnp.sum(g)) for g in by_gates)
        assert abs(total) > 1e-2
        assert total == pytest.approx(sum(products), rel=1e-3, abs=1e-4)
        live = [
            np.asarray(gate.live) for gate in told.channels if gate.live is not None
        ]
        assert len(live) == len(by_gates)


def test_one_program_for_all_architectures() -> None:
    network = everywhere("nasbench201")
    traces = []

    def logits(params: Any, codes: Any) -> jax.Array:
        traces.append(1)
        return network.architectures.logits(params, codes, IMAGES, "batch")

    one = jax.jit(logits, compiler_options=FAST)
    found = []
    codes = np.random.default_rng(0).integers(5, size=(4, 6)).astype(np.int32)
    for row in codes:
        found.append(one(network.coded_params, {"operations": jnp.asarray(row)}))
    assert len(traces) == 1 and len({x.tobytes() for x in map(np.asarray, found)}) > 2
    together = jax.jit(jax.vmap(logits, (None, 0)), compiler_options=FAST)
    np.testing.assert_allclose(
        together(network.coded_params, {"operations": codes}),
        np.stack(found),
        rtol=1e-4,
        atol=1e-4,
    )


def test_space_of_the_published_network_is_the_default() -> None:
    assert family_of(nasbench201_space()).usual_size == (16, 5)
    assert family_of(darts_space()).usual_size == (16, 8)
