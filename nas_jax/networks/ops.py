"""THE place that says what an operation is: its parameters, its function, its cost.

An operation of a cell is a ReLU or none, a function, and a normalisation or none.
Engines compute ReLU and normalisation, and differ in order and storage alone.

Shapes: K stacked operations, B batch, H and W image, C channels.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp

from nas_jax.errors import ConfigError
from nas_jax.networks.kernels.pools import avg_pool, max_pool
from nas_jax.networks.layers import Layers, Params
from nas_jax.networks.parameters import Spec, Specs, norm_specs
from nas_jax.networks.record import Recorder

Compute = Callable[[jax.Array, Params, int, Layers], jax.Array]
"""From x, parameters, stride and `Layers`: `[K, B, H, W, C] -> [K, B, H', W', C]`."""


@dataclasses.dataclass(frozen=True)
class Form:
    """An operation at one stride.

    Attributes:
        compute: What it does between ReLU and normalisation. Parameters are stacked
            along K; x may be a stack of one that all read.
        weights: Its weights of one layer, for so many channels.
        relu: Whether a ReLU comes first.
        norm: Whether a normalisation comes last: always, only as a part of a mixed
            operation, or never.
        norms: Names of the normalisations inside of it.
        draws: Whether it draws random numbers, from `Layers.keys`.
    """

    compute: Compute
    weights: Callable[[int], Specs] = lambda channels: {}
    relu: bool = False
    norm: Literal["always", "mixed", "never"] = "never"
    norms: tuple[str, ...] = ()
    draws: bool = False

    @functools.cached_property
    def is_parametric(self) -> bool:
        """Whether it has weights."""
        return bool(self.weights(1))

    def specs(self, channels: int, affine: bool) -> Specs:
        """Parameters of one layer; `affine` are those of normalisations too."""
        specs = dict(self.weights(channels))
        if affine:
            names = (*self.norms, *(("norm",) if self.norm == "always" else ()))
            specs |= {name: norm_specs(channels) for name in names}
        return specs

    def is_normalised(self, mixed: bool) -> bool:
        """Whether a normalisation comes last, in a mixed operation or alone."""
        return self.norm == "always" or (mixed and self.norm == "mixed")


@dataclasses.dataclass(frozen=True)
class Op:
    """An operation.

    Attributes:
        name: Its name in search spaces.
        plain: What it is with stride 1.
        halving: What it is with stride 2; None if it is the same.
        meaning: What it does, in words.
    """

    name: str
    plain: Form
    halving: Form | None = None
    meaning: str = ""

    def form(self, stride: int) -> Form:
        """What it is with a stride of 1 or 2."""
        return self.plain if stride == 1 or self.halving is None else self.halving


class Anatomy(NamedTuple):
    """What is inside of an operation, ReLU and last normalisation left out.

    Attributes:
        fan_ins: Weights of one channel of each convolution, in order.
        relus: Number of ReLUs.
        norms: Number of normalisations.
    """

    fan_ins: tuple[int, ...]
    relus: int
    norms: int


OPS: dict[str, Op] = {}
"""Operations by name."""


def register_op(op: Op) -> Op:
    """Makes an operation known to all networks.

    Raises:
        ConfigError: Another one has its name.
    """
    if OPS.get(op.name, op) != op:
        raise ConfigError(
            f"there is an operation {op.name!r} already; give yours another name"
        )
    OPS[op.name] = op
    return op


def get_op(name: str) -> Op:
    """The operation of a name.

    Raises:
        ConfigError: There is none; lists the names.
    """
    if name not in OPS:
        raise ConfigError(
            f"no network computes {name!r}; allowed: {', '.join(OPS)}; add your own by "
            "register_op"
        )
    return OPS[name]


@functools.cache
def anatomy(form: Form, channels: int) -> Anatomy:
    """What is inside of an operation, found by tracing it."""
    record = Recorder()
    x = jax.ShapeDtypeStruct((1, 1, 4, 4, channels), jnp.float32)
    params = jax.tree.map(
        lambda s: jax.ShapeDtypeStruct((1, *s.shape), s.dtype),
        form.specs(channels, affine=False),
    )
    keys = jax.eval_shape(lambda: jax.random.split(jax.random.key(0), 1))

    def run(x: jax.Array, params: Params, keys: jax.Array) -> jax.Array:
        return form.compute(x, params, 1, Layers(record=record, keys=keys))

    jax.eval_shape(run, x, params, keys)
    fan_ins = tuple(int(gate.fan_in) for gate in record.notes.channels)
    return Anatomy(fan_ins, len(record.notes.relu_inputs), len(record.notes.variances))


def _separable(kernel: int, dilation: int, stages: tuple[int, ...]) -> Form:
    """Depthwise and 1x1 convolution, once or twice, behind a ReLU each.

    DARTS' `SepConv` and `DilConv` (cnn/operations.py).
    """

    def weights(channels: int) -> Specs:
        specs = {}
        for stage in stages:
            area = (kernel, kernel, channels)
            specs[f"depthwise_{stage}"] = Spec(area, kernel * kernel)
            specs[f"pointwise_{stage}"] = Spec((channels, channels), channels)
        return specs

    def compute(x: jax.Array, p: Params, stride: int, layers: Layers) -> jax.Array:
        for stage in stages:
            if stage != stages[0]:
                x = layers.normalise(x, p.get("norm_0"))
                x, stride = layers.relu(x), 1
            x = layers.depthwise(x, p[f"depthwise_{stage}"], stride, dilation)
            x = layers.pointwise(x, p[f"pointwise_{stage}"])
        return x

    inside = ("norm_0",) if len(stages) > 1 else ()
    return Form(compute, weights, relu=True, norm="always", norms=inside)


def _identity(x: jax.Array, p: Params, stride: int, layers: Layers) -> jax.Array:
    return x


def _halve(x: jax.Array, p: Params, stride: int, layers: Layers) -> jax.Array:
    """DARTS' `FactorizedReduce` (cnn/operations.py)."""
    return layers.halve(x, p["pointwise_even"], p["pointwise_odd"])


def _halving_weights(channels: int) -> Specs:
    half = channels // 2
    return {
        "pointwise_even": Spec((channels, half), channels),
        "pointwise_odd": Spec((channels, channels - half), channels),
    }


def _pool(pool: Callable[[jax.Array, int], jax.Array]) -> Compute:
    return lambda x, p, stride, layers: pool(x, stride)


def _noise(x: jax.Array, p: Params, stride: int, layers: Layers) -> jax.Array:
    """RobustDARTS' `NoiseOp(stride, 0., 1.)` (src/operations.py)."""
    assert layers.keys is not None
    shape = x[:, :, ::stride, ::stride].shape[1:]
    draw = jax.vmap(lambda key: jax.random.normal(key, shape, jnp.float32))
    return draw(layers.keys).astype(x.dtype)


def _conv(size: int) -> Form:
    """NAS-Bench-201's `ReLUConvBN`."""

    def compute(x: jax.Array, p: Params, stride: int, layers: Layers) -> jax.Array:
        return layers.conv(x, p["kernel"], stride)

    def weights(channels: int) -> Specs:
        shape = (size, size, channels, channels)
        return {"kernel": Spec(shape, size * size * channels)}

    return Form(compute, weights, relu=True, norm="always")


NONE_OP = register_op(
    Op(
        "none",
        Form(lambda x, p, stride, layers: jnp.zeros_like(x[:, :, ::stride, ::stride])),
        meaning="zeros, which no engine computes where the architecture is known",
    )
)
for _kind, _function in (("max", max_pool), ("avg", avg_pool)):
    register_op(
        Op(
            f"{_kind}_pool_3x3",
            Form(_pool(_function), norm="mixed"),
            meaning="3x3 pooling that does not count the padding",
        )
    )
SKIP = register_op(
    Op(
        "skip_connect",
        Form(_identity),
        Form(_halve, _halving_weights, relu=True, norm="always"),
        meaning="the identity; with stride 2 a factorised reduction",
    )
)
for _size in (3, 5):
    register_op(
        Op(
            f"sep_conv_{_size}x{_size}",
            _separable(_size, 1, (0, 1)),
            meaning="depthwise-separable convolution, twice",
        )
    )
for _size in (3, 5):
    register_op(
        Op(
            f"dil_conv_{_size}x{_size}",
            _separable(_size, 2, (1,)),
            meaning="dilated depthwise-separable convolution",
        )
    )
register_op(
    Op(
        "noise",
        Form(_noise, draws=True),
        meaning="a draw from N(0, 1) in place of every value (arXiv 1909.09656, S4)",
    )
)
for _size in (1, 3):
    register_op(
        Op(
            f"nor_conv_{_size}x{_size}",
            _conv(_size),
            meaning="convolution behind a ReLU, normalised",
        )
    )
