"""Parameters: what a network declares, and their initial values without a forward pass.

A network is a Flax module with a method `specs`, which describes its variables. All of
them are declared at the top of the module and handed down as nested dicts.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, Protocol

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

Variables = dict[str, Any]
"""Flax collections: `params`, and `batch_stats` where statistics are tracked."""

Specs = dict[str, Any]
"""Nested dicts of `Spec`."""


@dataclasses.dataclass(frozen=True)
class Spec:
    """Shape, dtype and initial values of a parameter.

    Attributes:
        shape: Its shape.
        fan_in: Inputs of one output of a weight, which is drawn from U(-b, b) with
            b = fan_in^-1/2; 0 for what is not drawn. That is PyTorch's default for
            convolutions and linear layers: `kaiming_uniform_(a=sqrt(5))` of He et al.
            2015 (arXiv 1502.01852) has the gain sqrt(1/3), hence the bound
            sqrt(3) * sqrt(1/3) / sqrt(fan_in).
        fill: The value of what is not drawn.
        dtype: Its dtype.
    """

    shape: tuple[int, ...]
    fan_in: int = 0
    fill: float = 0.0
    dtype: Any = jnp.float32

    @property
    def size(self) -> int:
        """Number of values."""
        return math.prod(self.shape)


class Network(Protocol):
    """A Flax module that describes its variables."""

    def specs(self, depth: int, dtype: Any = jnp.float32) -> dict[str, Specs]:
        """Variables by collection, for images of so many channels and a dtype."""
        ...


def stacked(specs: Specs, *counts: int) -> Specs:
    """The same parameters of so many layers, in front axes."""
    return jax.tree.map(
        lambda s: dataclasses.replace(s, shape=(*counts, *s.shape)), specs
    )


def norm_specs(channels: int) -> Specs:
    """Factors of a batch normalisation."""
    return {"scale": Spec((channels,), fill=1.0), "shift": Spec((channels,))}


def statistics_of(specs: Specs) -> Specs:
    """Running statistics beside every normalisation with parameters; else nothing."""
    found: Specs = {}
    for name, spec in specs.items():
        if isinstance(spec, Spec):
            if name == "scale":
                found["mean"] = dataclasses.replace(spec, fill=0.0)
                found["variance"] = dataclasses.replace(spec, fill=1.0)
        elif inner := statistics_of(spec):
            found[name] = inner
    return found


def declare(module: nn.Module, specs: dict[str, Specs]) -> Variables:
    """The variables of a module, under the names of their specs."""
    found: Variables = {
        "params": {
            name: module.param(name, _initial, spec)
            for name, spec in specs["params"].items()
        }
    }
    if "batch_stats" in specs:
        found["batch_stats"] = {
            name: module.variable(
                "batch_stats", name, lambda s=spec: _initial(jax.random.key(0), s)
            ).value
            for name, spec in specs["batch_stats"].items()
        }
    return found


def statistics(params: Mapping[str, Any]) -> dict[str, Any]:
    """The running statistics that stand beside parameters; else nothing."""
    found = {name: params[name] for name in ("mean", "variance") if name in params}
    for name, value in params.items():
        if isinstance(value, dict) and (inner := statistics(value)):
            found[name] = inner
    return found


def merge(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """Both nested dicts in a new one; what both have is the other's."""
    found = dict(one)
    for name, value in other.items():
        inner = isinstance(value, dict) and name in one
        found[name] = merge(one[name], value) if inner else value
    return found


def with_dtype(specs: dict[str, Specs], dtype: Any) -> dict[str, Specs]:
    """The same specs, kept in float32 or wider for a computation in a dtype."""
    kept = jnp.promote_types(dtype, jnp.float32)
    return jax.tree.map(lambda s: dataclasses.replace(s, dtype=kept), specs)


def tracked(module: nn.Module, specs: dict[str, Specs]) -> dict[str, Any]:
    """Parameters with their running statistics beside them, in dicts of their own."""
    variables = declare(module, specs)
    return merge(variables["params"], variables["batch_stats"])


def keep_statistics(module: nn.Module, params: Mapping[str, Any]) -> None:
    """Puts running statistics back from where `tracked` placed them, if mutable."""
    mutable = module.is_mutable_collection("batch_stats")
    if not mutable or module.is_initializing():
        return
    for name in params:
        if found := statistics(params[name]):
            module.put_variable("batch_stats", name, found)


def abstract_variables(network: Any, images: Any) -> Variables:
    """Shapes and dtypes of a network's variables; nothing is allocated.

    Args:
        network: The network.
        images: A batch `[B, H, W, channels]`, or its shape and dtype.
    """
    specs: Variables = network.specs(images.shape[-1], images.dtype)
    return specs


def init_variables(key: jax.Array, abstract: Mapping[str, Any]) -> Variables:
    """Initial values for abstract variables, from one random draw.

    The same distributions as `network.init`. One draw that is cut into leaves costs a
    few milliseconds, where Flax's way runs the network.

    Args:
        key: A typed PRNG key.
        abstract: What `abstract_variables` returns.
    """
    specs, tree = jax.tree.flatten(dict(abstract))
    sizes = [spec.size if spec.fan_in else 0 for spec in specs]
    # Of 32 bits whatever the default is: one key draws one network.
    drawing = jax.random.uniform(key, (sum(sizes),), jnp.float32, minval=-1.0)
    parts = np.split(np.asarray(drawing), np.cumsum(sizes)[:-1])
    values = [
        jnp.asarray(
            part.reshape(spec.shape) * spec.fan_in**-0.5
            if spec.fan_in
            else np.full(spec.shape, spec.fill),
            spec.dtype,
        )
        for spec, part in zip(specs, parts, strict=True)
    ]
    variables: Variables = jax.tree.unflatten(tree, values)
    return variables


def num_parameters(variables: Mapping[str, Any]) -> int:
    """Number of trainable numbers in a network's variables."""
    return sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))


def cast(params: Any, dtype: Any) -> Any:
    """Parameters in the dtype of a computation; factors of normalisations stay."""

    def one(path: tuple[Any, ...], leaf: jax.Array) -> jax.Array:
        return leaf if path[-1].key in norm_specs(1) else leaf.astype(dtype)

    return jax.tree_util.tree_map_with_path(one, params)


def _initial(key: jax.Array, specs: Specs) -> Any:
    leaves, tree = jax.tree.flatten(specs)
    keys = jax.random.split(key, len(leaves))
    return jax.tree.unflatten(tree, map(_draw, keys, leaves))


def _draw(key: jax.Array, spec: Spec) -> jax.Array:
    if not spec.fan_in:
        return jnp.full(spec.shape, spec.fill, spec.dtype)
    bound = spec.fan_in**-0.5
    return jax.random.uniform(key, spec.shape, spec.dtype, -bound, bound)
