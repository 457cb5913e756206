"""Two-node cells of DARTS' kind, whose operations are pools and channel attention."""

import jax
import jax.numpy as jnp

import nas_jax as nj


def attend(x, params, stride, layers):
    """Each channel times a gate that sees all channels (arXiv 1709.01507, r = 1)."""
    squeezed = jnp.mean(x, axis=(2, 3), keepdims=True)
    gates = jax.nn.sigmoid(layers.pointwise(squeezed, params["excite"]))
    return x[:, :, ::stride, ::stride] * gates


def weights(channels):
    return {"excite": nj.Spec((channels, channels), fan_in=channels)}


ATTENTION = nj.register_op(
    nj.Op(
        "channel_attention",
        nj.Form(attend, weights, norm="always"),
        meaning="squeeze and excitation",
    )
)
OPS = ("none", "avg_pool_3x3", "skip_connect", ATTENTION.name)
EDGES = ((0, 2), (1, 2), (0, 3), (1, 3), (2, 3))  # States 0 and 1 are the inputs.


def start():
    cells = [
        nj.CellSpec(
            name, num_inputs=2, num_nodes=2, edges=EDGES, ops=OPS, edges_per_node=2
        )
        for name in ("normal", "reduce")
    ]
    return nj.SpaceMask.full(nj.SearchSpace("attention", tuple(cells), family="darts"))


nj.register_space("attention", start, title="pools and channel attention")
