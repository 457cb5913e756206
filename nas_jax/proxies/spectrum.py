"""Kernels between images and their spectra, accurate in float32.

The eigenvalues of a Gram matrix are the squared singular values of its rows. Taken from
the rows, a small one keeps its digits: its relative error is that of the square root of
the condition number, where an eigenvalue solver on the float32 Gram matrix loses all of
them at a condition number of 1e7, and may return it negative.

Shapes: N rows (one for each image), P columns.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

ROUNDING = 100
"""What is this many units of rounding below another value is rounding error."""


def is_rounding(small: jax.Array, large: jax.Array) -> jax.Array:
    """Whether a value is 0 but for rounding errors of another, larger one."""
    return small <= ROUNDING * jnp.finfo(large.dtype).eps * large


def wide(x: jax.Array) -> jax.Array:
    """x in float32 or wider."""
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


def gram(rows: jax.Array) -> jax.Array:
    """rows rows^T, `[N, P] -> [N, N]`."""
    rows = wide(rows)
    return jnp.matmul(rows, rows.T, precision="highest")


def centred(rows: jax.Array) -> jax.Array:
    """Rows `[N, P]` without their mean, of length 1; NaN for a constant row.

    Their Gram matrix is NumPy's `corrcoef`.
    """
    rows = wide(rows)
    rows -= jnp.mean(rows, axis=1, keepdims=True)
    return rows / jnp.linalg.norm(rows, axis=1, keepdims=True)


def correlation(rows: jax.Array) -> jax.Array:
    """Pearson correlation of every two rows, `[N, P] -> [N, N]`."""
    return gram(centred(rows))


def singular_values(rows: jax.Array) -> jax.Array:
    """Singular values of `[N, P]`, descending, `[min(N, P)]`."""
    triangle = jnp.linalg.qr(wide(rows).T, mode="r")
    return jnp.linalg.svd(triangle, compute_uv=False)


def gram_eigenvalues(rows: jax.Array) -> jax.Array:
    """Eigenvalues of rows rows^T, descending, `[N, P] -> [N]`.

    Those beyond the rank that P columns allow are exactly 0.
    """
    eigenvalues = jnp.square(singular_values(rows))
    return jnp.pad(eigenvalues, (0, rows.shape[0] - eigenvalues.shape[0]))


def condition_number(rows: jax.Array) -> jax.Array:
    """lambda_max / lambda_min of rows rows^T, a scalar of at least 1.

    With fewer columns than rows the matrix is singular whatever is in it; lambda_min is
    then the smallest eigenvalue that the columns allow. Infinite where that one is 0
    but for rounding, and NaN for rows of zeros.
    """
    singular = singular_values(rows)
    zero = is_rounding(singular[-1], singular[0])
    return jnp.square(singular[0] / jnp.where(zero, 0, singular[-1]))


def eigenvalue_score(eigenvalues: jax.Array, epsilon: float) -> jax.Array:
    """-sum [log(lambda + epsilon) + 1 / (lambda + epsilon)], `[N] -> []`.

    Highest where all eigenvalues are 1: rows of length 1 that have nothing in common.
    Mellor et al. 2020 (arXiv 2006.04647v1), score of the correlation matrix.
    """
    shifted = eigenvalues + epsilon
    return -jnp.sum(jnp.log(shifted) + 1 / shifted)
