"""A search algorithm of a user's own, in one file outside the package.

Each operation has a gate of its own: sigmoids, which do not compete (after FairDARTS,
Chu et al. 2020, arXiv 1911.12126, without its loss and its threshold).
"""

import jax
import jax.numpy as jnp
import optax

import nas_jax as nj


def gates(alphas, live, key=None, step=None):
    return {name: jax.nn.sigmoid(a) * live[name] for name, a in alphas.items()}


def shares(alphas, live):
    opened = gates(alphas, live)
    return {name: g / jnp.sum(g, -1, keepdims=True) for name, g in opened.items()}


def zeros(space, key):
    return {c.name: jnp.zeros((len(c.edges), len(c.ops))) for c in space.cells}


def sigmoid(network, *, total_steps, weight_learning_rate, microbatches, momentum=0.5):
    return nj.OneShotSearch(
        network,
        optax.sgd(
            optax.linear_schedule(weight_learning_rate, 0, total_steps), momentum
        ),
        optax.sgd(1.0),
        relaxation=nj.Relaxation(zeros, gates, shares),
        microbatches=microbatches,
    )


nj.register_algorithm("own_sigmoid", sigmoid, title="Gates that do not compete")
