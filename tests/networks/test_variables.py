"""Networks in the ordinary idioms of Flax: variables in, the same variables out."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest

from nas_jax.networks import (
    DartsFamily,
    DerivedNetwork,
    NasBench201Family,
    NasBench201Network,
    NasBench201Supernet,
    Supernet,
    darts_codes,
    mixture_weights,
    zero_alphas,
)
from nas_jax.networks.backbone import Classifier, Stem
from nas_jax.networks.layers import BatchNorm, Projection
from nas_jax.networks.sown import COLLECTIONS
from nas_jax.spaces import Genotype, SpaceMask, darts_space, nasbench201_space
from nas_jax.spaces.nasbench201 import genotype_of

FAST = {"xla_backend_optimization_level": 0}
KEY = jax.random.key(0)
SPACE = darts_space(1, ("none", "skip_connect", "sep_conv_3x3"))
GENES = (("sep_conv_3x3", 0), ("skip_connect", 1))
GENOTYPE = Genotype.parse(
    SPACE, f"Genotype(normal={[*GENES]}, reduce={[*GENES]}, "
    "normal_concat=[2], reduce_concat=[2])"
)  # fmt: skip
BENCH = nasbench201_space()
BENCH_GENOTYPE = genotype_of(("nor_conv_3x3", *["skip_connect"] * 4, "nor_conv_1x1"))
IMAGES = jax.random.normal(KEY, (4, 8, 8, 2))
CODES = tuple(map(jnp.asarray, darts_codes(GENOTYPE)))


def even(space: Any) -> Any:
    alphas = zero_alphas(space)
    return mixture_weights(alphas, jax.tree.map(jnp.ones_like, alphas))


# Every network with what it is called with.
NETWORKS: dict[str, tuple[nn.Module, tuple[Any, ...], dict[str, Any]]] = {
    "derived": (DerivedNetwork(GENOTYPE, 2, 2, 3), (IMAGES,), {"train": True}),
    "nasbench201": (
        NasBench201Network(BENCH_GENOTYPE, 2, 1, 3),
        (IMAGES,),
        {"train": True},
    ),
    "supernet": (
        Supernet(SpaceMask.full(SPACE), 2, 2, 3),
        (IMAGES, even(SPACE)),
        {},
    ),
    "supernet by waves": (
        Supernet(SpaceMask.full(SPACE), 2, 2, 3, remat="wave"),
        (IMAGES, even(SPACE)),
        {},
    ),
    "nasbench201 supernet": (
        NasBench201Supernet(SpaceMask.full(BENCH), 2, 1, 3),
        (IMAGES, even(BENCH)),
        {},
    ),
    "darts family": (DartsFamily(2, 2, 3, SPACE), (IMAGES, *CODES), {}),
    "nasbench201 family": (
        NasBench201Family(2, 1, 3),
        (IMAGES, jnp.array([3, 1, 1, 1, 1, 2])),
        {},
    ),
    "stem": (Stem(2, "batch", True), (IMAGES,), {}),
    "projection": (Projection(2, True, "batch", True, True), (IMAGES,), {}),
    "normalisation": (BatchNorm("batch", True, True), (IMAGES[None],), {}),
    "classifier": (Classifier(3), (IMAGES,), {}),
}
TRACKED = {"derived", "nasbench201", "stem", "projection", "normalisation"}


@pytest.mark.parametrize("name", NETWORKS)
def test_init_returns_variables_and_nothing_else(name: str) -> None:
    network, args, keywords = NETWORKS[name]
    init: Callable[..., Any] = functools.partial(network.init, **keywords)
    expected = {"params", "batch_stats"} if name in TRACKED else {"params"}
    assert set(jax.eval_shape(init, KEY, *args)) == expected


@pytest.mark.parametrize("name", NETWORKS)
def test_a_training_loop_keeps_its_state(name: str) -> None:
    """The state goes through every step as it is, and the step is traced once."""
    network, args, keywords = NETWORKS[name]
    init: Callable[..., Any] = functools.partial(network.init, **keywords)
    state = dict(jax.jit(init, compiler_options=FAST)(KEY, *args))
    params = state.pop("params")
    traces = 0

    def forward(params: Any, state: Any) -> Any:
        nonlocal traces
        traces += 1
        _, changed = network.apply(
            {"params": params, **state}, *args, **keywords, mutable=[*state]
        )
        return dict(changed)

    step = jax.jit(forward, compiler_options=FAST)
    shapes = jax.tree.map(jnp.shape, state)
    for _ in range(3):
        state = step(params, state)
        assert jax.tree.map(jnp.shape, state) == shapes
    assert traces == 1


@pytest.mark.parametrize("mutable", [True, nn.DenyList("params")], ids=["all", "rest"])
@pytest.mark.parametrize("name", NETWORKS)
def test_who_lets_everything_change_asks_for_nothing(name: str, mutable: Any) -> None:
    network, args, keywords = NETWORKS[name]

    def run(key: Any) -> Any:
        variables = network.init(key, *args, **keywords)
        _, changed = network.apply(variables, *args, **keywords, mutable=mutable)
        return dict(changed)

    allowed = {"params", "batch_stats"} if name in TRACKED else {"params"}
    assert set(jax.eval_shape(run, KEY)) <= allowed


def test_who_asks_gets_it() -> None:
    network, args, keywords = NETWORKS["derived"]

    def run(key: Any) -> Any:
        variables = network.init(key, *args, **keywords)
        asked = [*COLLECTIONS, "batch_stats"]
        return network.apply(variables, *args, **keywords, mutable=asked)[1]

    seen = jax.eval_shape(run, KEY)
    assert set(seen) == {*COLLECTIONS, "batch_stats"}
    (pooled,) = seen["features"]["classifier"]["pooled"]
    assert pooled.shape == (4, 4)
