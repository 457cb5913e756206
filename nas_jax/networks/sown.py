"""What modules sow for proxies on the way from images to logits, and gates they read.

Modules write into the collections of `COLLECTIONS` where the caller names them as
mutable, and read gates of their channels from the collection `gates` where there is
one.

Shapes: K stacked layers, B batch, C channels.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from nas_jax.networks.observed import Gate, Observed

COLLECTIONS = ("features", "feature_map", "relu_inputs", "variances", "channels")
"""See `Observed`, whose fields they are."""


def is_watched(module: nn.Module, collection: str = "relu_inputs") -> bool:
    """Whether anybody asked, by its name, for what a module sows into a collection.

    Who lets everything change asks for nothing: `init` would return activations beside
    the variables, and `mutable=True` would let them grow with every step.
    """
    everything = module.is_mutable_collection("a collection that nobody names")
    named = module.is_mutable_collection(collection) and not everything
    return bool(named and not module.is_initializing())


def sow_relu_input(module: nn.Module, x: jax.Array, count: jax.Array | None) -> None:
    """Notes what ReLUs receive, for proxies that look at activation patterns.

    Args:
        module: Whose ReLUs they are.
        x: Inputs `[K, B, ...]` of K stacked ReLUs.
        count: `[K]`, how many ReLUs of the network see this input; None for one each.
    """
    if is_watched(module):
        module.sow("relu_inputs", "relu", (x, _counts(x, count)))


def sow_variances(
    module: nn.Module, variances: jax.Array, count: jax.Array | None
) -> None:
    """Notes the batch variances of a module that normalises.

    Args:
        module: Which normalises.
        variances: `[K, C]`; ones where it does not normalise by the batch.
        count: `[K]`, how many normalisations of the network have them; None for one
            each.
    """
    module.sow("variances", "variance", (variances, _counts(variances, count)))


def gate_channels(
    module: nn.Module,
    name: str,
    x: jax.Array,
    fan_in: int | Sequence[int],
    live: jax.Array | None,
) -> jax.Array:
    """The outputs of K stacked layers, times their gates if the caller gave any.

    Args:
        module: Whose layers they are.
        name: Of the stack, which is the module's only one of that name.
        x: `[K, B, ..., C]`.
        fan_in: Number of weights of one channel: for all layers, or for each.
        live: `[K]`, 1 for a layer that takes part and 0 for one that does not; None if
            all do.

    Returns:
        What x is, of its shape.
    """
    shape = (*x.shape[:2], x.shape[-1])
    wide = jnp.promote_types(x.dtype, jnp.float32)
    gates: jax.Array
    if module.has_variable("gates", name):
        (gates,) = module.get_variable("gates", name)
        over_pixels = (*shape[:2], *(1,) * (x.ndim - 3), shape[2])
        x = (x * jnp.reshape(gates, over_pixels)).astype(x.dtype)
    elif is_watched(module):
        gates = jnp.ones(shape, wide)
    else:
        return x
    fan_ins = jnp.broadcast_to(jnp.asarray(fan_in), shape[:1])
    module.sow("channels", name, Gate(gates, fan_ins, _counts(x, live)))
    return x


def observe(
    apply: Callable[..., Any], params: Any, gates: Sequence[jax.Array] | None
) -> Observed:
    """Runs a network and gathers what its modules sow.

    Args:
        apply: `apply` of a network whose last module is a `Classifier` of that name,
            but for the variables and for what is mutable.
        params: Its parameters.
        gates: See `Observed`: one array for each entry of its `channels`.
    """
    variables = {"params": params}
    run = functools.partial(apply, mutable=list(COLLECTIONS))
    if gates is not None:
        _, sown = jax.eval_shape(run, variables)
        places = jax.tree.structure(sown["channels"], is_leaf=_is_gate)
        variables["gates"] = jax.tree.unflatten(places, gates)
    logits, sown = run(variables)
    return Observed(
        logits=logits,
        features=sown["features"]["classifier"]["pooled"][0],
        feature_map=sown["feature_map"]["classifier"]["features"][0],
        relu_inputs=jax.tree.leaves(sown["relu_inputs"], is_leaf=_is_pair),
        variances=jax.tree.leaves(sown["variances"], is_leaf=_is_pair),
        channels=jax.tree.leaves(sown["channels"], is_leaf=_is_gate),
    )


def _counts(x: jax.Array, count: jax.Array | None) -> jax.Array:
    return jnp.ones(x.shape[0]) if count is None else count


def _is_gate(value: Any) -> bool:
    return isinstance(value, Gate)


def _is_pair(value: Any) -> bool:
    return isinstance(value, tuple) and isinstance(value[0], jax.Array)
