"""The layers that networks are made of; each tells the recorder, if there is one.

Shapes: K stacked layers, B batch, H and W image, C and D channels. Everything works on
stacks `[K, B, H, W, C]`; a single image batch is a stack of one.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from nas_jax.networks.kernels.conv import conv
from nas_jax.networks.kernels.depthwise import depthwise_conv
from nas_jax.networks.kernels.mix import halve, pointwise_conv
from nas_jax.networks.kernels.norm import batch_statistics, scale_and_shift
from nas_jax.networks.parameters import Spec, Specs, norm_specs
from nas_jax.networks.record import Observed, Recorder

Norm = Literal["batch", "running", "identity"]
"""What batch normalisation does: statistics of the batch, running statistics, or
nothing at all, neither scale nor shift (synflow's linear network; Tanaka et al. 2020,
arXiv 2006.05467, and the `no_op` of the code of arXiv 2101.08134)."""

BATCH_NORM_EPSILON = 1e-5
"""PyTorch's `eps` (DARTS leaves it at its default)."""
BATCH_NORM_MOMENTUM = 0.1
"""PyTorch's `momentum`: the weight of the new batch in the running statistics."""

Params = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Layers:
    """How layers are computed, and who is told of them.

    Attributes:
        norm: What batch normalisation does.
        record: Who is told; None for nobody.
        count: `[K]`, how many layers of the network each layer of a stack stands for: 0
            for one that does not take part. None for one each.
        keys: `[K]` PRNG keys, for what draws.
    """

    norm: Norm = "batch"
    record: Recorder | None = None
    count: jax.Array | None = None
    keys: jax.Array | None = None

    def of(
        self, count: jax.Array | None = None, keys: jax.Array | None = None
    ) -> Layers:
        """The same for another stack."""
        return dataclasses.replace(self, count=count, keys=keys)

    def relu(self, x: jax.Array) -> jax.Array:
        """max(x, 0)."""
        if self.record is not None:
            self.record.relu(x, self._counts(x))
        return nn.relu(x)

    def depthwise(
        self, x: jax.Array, w: jax.Array, stride: int = 1, dilation: int = 1
    ) -> jax.Array:
        """Depthwise convolution with kernels `[K, k, k, C]`; see `depthwise_conv`."""
        x = _repeated(x, len(w))
        y = depthwise_conv(x, w, stride=stride, dilation=dilation)
        return self._gated(y, w.shape[1] * w.shape[2])

    def pointwise(self, x: jax.Array, w: jax.Array) -> jax.Array:
        """1x1 convolution with kernels `[K, C, D]`."""
        return self._gated(pointwise_conv(_repeated(x, len(w)), w), w.shape[1])

    def halve(self, x: jax.Array, even: jax.Array, odd: jax.Array) -> jax.Array:
        """Factorised reduction with kernels `[K, C, D / 2]`; see `halve`."""
        return self._gated(halve(_repeated(x, len(even)), even, odd), even.shape[1])

    def conv(self, x: jax.Array, w: jax.Array, stride: int = 1) -> jax.Array:
        """Convolution of `[K, B, H, W, C]` or of one for all, `[K, k, k, C, D]`."""
        count, size, _, channels, outputs = w.shape
        if len(x) > 1 or count == 1:
            y = jnp.stack([conv(a, b, stride) for a, b in zip(x, w, strict=True)])
        else:  # One convolution with the channels of all layers side by side.
            kernel = w.transpose(1, 2, 3, 0, 4).reshape(size, size, channels, -1)
            flat = conv(x[0], kernel, stride)
            y = jnp.moveaxis(flat.reshape(*flat.shape[:3], count, outputs), 3, 0)
        return self._gated(y, size * size * channels)

    def normalise(self, x: jax.Array, params: Params | None = None) -> jax.Array:
        """Batch normalisation (Ioffe and Szegedy 2015, arXiv 1502.03167, algorithm 1).

        Where nothing keeps running statistics, they are those of an untrained network:
        mean 0 and variance 1.

        Args:
            x: The stack.
            params: `scale` and `shift` `[K, C]`; with `mean` and `variance`, the
                running statistics, which are replaced in the dict by those after this
                batch. None for a normalisation without any.
        """
        wide = jnp.promote_types(x.dtype, jnp.float32)
        zeros, ones = (f((len(x), x.shape[-1]), wide) for f in (jnp.zeros, jnp.ones))
        params = {} if params is None else params
        mean, variance = zeros, ones
        if self.norm == "batch":
            mean, variance = batch_statistics(x)
            if "mean" in params:
                _move_statistics(params, mean, variance, x.size // mean.size)
        elif self.norm == "running" and "mean" in params:
            mean, variance = params["mean"], params["variance"]
        if self.record is not None:
            told = variance if self.norm == "batch" else ones
            self.record.variance(told, self._counts(x))
        if self.norm == "identity":
            return x
        scale = params.get("scale", ones) * lax.rsqrt(variance + BATCH_NORM_EPSILON)
        return scale_and_shift(x, scale, params.get("shift", zeros) - mean * scale)

    def linear(self, x: jax.Array, kernel: jax.Array, bias: jax.Array) -> jax.Array:
        """`[B, C] x [C, D] + [D]`, the last layer of a network."""
        y = x @ kernel + bias
        if self.record is None:
            return y
        shape = (1, len(y), len(bias))
        gates = self.record.layer(shape, len(kernel), jnp.ones(1), 1)
        self.record.notes.macs.append(jnp.asarray(float(len(bias))))
        return y if gates is None else y * gates[0]

    def _gated(self, y: jax.Array, fan_in: int) -> jax.Array:
        """What K layers compute, times the gates of their channels if there are any."""
        if self.record is None:
            return y
        stacked, batch, height, width, channels = y.shape
        live = (self._counts(y) > 0).astype(jnp.float32)
        shape = (stacked, batch, channels)
        gates = self.record.layer(shape, fan_in, live, height * width)
        return y if gates is None else (y * gates[:, :, None, None]).astype(y.dtype)

    def _counts(self, x: jax.Array) -> jax.Array:
        return jnp.ones(len(x)) if self.count is None else self.count


def stem_specs(depth: int, channels: int) -> Specs:
    """Of `stem`, for images of so many channels."""
    kernel = Spec((3, 3, depth, channels), 9 * depth)
    return {"kernel": kernel, "norm": norm_specs(channels)}


def stem(images: jax.Array, params: Params, layers: Layers) -> jax.Array:
    """3x3 convolution and normalisation: `[B, H, W, depth] -> [B, H, W, C]`."""
    x = layers.conv(images[None], params["kernel"][None])
    return normalise_one(x, params["norm"], layers)[0]


def projection_specs(inputs: int, channels: int, halves: bool) -> Specs:
    """Of `project`, without its normalisation."""
    if not halves:
        return {"pointwise": Spec((inputs, channels), inputs)}
    half = channels // 2
    return {
        "pointwise_even": Spec((inputs, half), inputs),
        "pointwise_odd": Spec((inputs, channels - half), inputs),
    }


def project(x: jax.Array, params: Params, layers: Layers) -> jax.Array:
    """A cell's preprocessing: ReLU, 1x1 convolution or factorised reduction, norm.

    Returns:
        `[B, H, W, C] -> [B, H, W, D]`, half the size for a factorised reduction.
    """
    x = layers.relu(x[None])
    if "pointwise" in params:
        x = layers.pointwise(x, params["pointwise"][None])
    else:
        halves = (params[f"pointwise_{name}"][None] for name in ("even", "odd"))
        x = layers.halve(x, *halves)
    return normalise_one(x, params.get("norm"), layers)[0]


def classifier_specs(channels: int, classes: int) -> Specs:
    """Of `classify`."""
    return {"kernel": Spec((channels, classes), channels), "bias": Spec((classes,))}


def classify(x: jax.Array, params: Params, layers: Layers) -> Observed:
    """Mean over the image and a linear layer: `[B, H, W, C] -> [B, classes]`.

    Returns:
        The logits, and with a recorder all that it was told.
    """
    # The loss is computed in float32 or wider, whatever the cells use.
    features = jnp.mean(x.astype(jnp.promote_types(x.dtype, jnp.float32)), (1, 2))
    weights = {name: p.astype(features.dtype) for name, p in params.items()}
    logits = layers.linear(features, weights["kernel"], weights["bias"])
    if layers.record is None:
        return Observed(logits)
    return layers.record.observed(logits, features, x)


def normalise_one(x: jax.Array, params: Params | None, layers: Layers) -> jax.Array:
    """`Layers.normalise` of a stack of one, whose parameters are not stacked."""
    if params is None:
        return layers.normalise(x)
    own = {name: p[None] for name, p in params.items()}
    y = layers.normalise(x, own)
    params.update((name, own[name][0]) for name in params)
    return y


def _move_statistics(
    params: Params, mean: jax.Array, variance: jax.Array, count: int
) -> None:
    """Running statistics after one more batch, of so many values a channel."""
    unbiased = variance * (count / max(count - 1, 1))
    for name, new in (("mean", mean), ("variance", unbiased)):
        params[name] = params[name] + BATCH_NORM_MOMENTUM * (new - params[name])


def _repeated(x: jax.Array, count: int) -> jax.Array:
    """A stack of one, as often as it has readers."""
    if len(x) == count:
        return x
    return jnp.broadcast_to(x, (count, *x.shape[1:]))
