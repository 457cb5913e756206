from __future__ import annotations

import jax
import jax.numpy as jnp
import pytest

from nas_jax.memory import MemoryUse, refused_bytes


def test_arguments_and_outputs_by_hand() -> None:
    # 1000 float32 and 10 float32 in; 1000 float32 and one float32 out.
    def function(x: jax.Array, y: jax.Array) -> tuple[jax.Array, jax.Array]:
        return x + 1, jnp.sum(y)

    shapes = jnp.ones(1000), jnp.ones(10)
    memory = MemoryUse.of(jax.jit(function).lower(*shapes).compile())
    assert memory.argument_bytes == 4000 + 40
    # A table of pointers comes with a result of several arrays.
    assert 4000 + 4 <= memory.output_bytes <= 4000 + 4 + 64
    assert memory.alias_bytes == 0


def test_a_donated_argument_is_counted_once() -> None:
    x = jnp.ones(1000)
    kept = MemoryUse.of(jax.jit(lambda x: x + 1).lower(x).compile())
    donated = jax.jit(lambda x: x + 1, donate_argnums=0).lower(x).compile()
    memory = MemoryUse.of(donated)
    assert memory.alias_bytes == 4000
    assert memory.argument_bytes == memory.output_bytes == 4000
    assert kept.peak_bytes - memory.peak_bytes == 4000


@pytest.mark.parametrize("size", [64, 128])
def test_temporaries_grow_with_what_is_kept_inside(size: int) -> None:
    # The product of two matrix products has to be held: at least one matrix.
    x = jnp.ones((size, size))
    compiled = jax.jit(lambda x: jnp.sum((x @ x) @ (x.T @ x))).lower(x).compile()
    memory = MemoryUse.of(compiled)
    assert memory.temp_bytes >= 4 * size * size
    assert memory.peak_bytes == (
        memory.temp_bytes
        + memory.argument_bytes
        + memory.output_bytes
        - memory.alias_bytes
    )


def test_the_peak_is_what_the_compiler_says_that_it_allocates() -> None:
    x = jnp.ones((64, 64))
    compiled = jax.jit(lambda x: (x @ x.T, jnp.sin(x)), donate_argnums=0).lower(x)
    analysis = compiled.compile().memory_analysis()
    if not hasattr(analysis, "total_allocation_bytes"):
        pytest.skip("this jaxlib does not say")
    memory = MemoryUse.of(compiled.compile())
    assert memory.peak_bytes == analysis.total_allocation_bytes


@pytest.mark.parametrize(
    ("size", "expected"), [("21.88G", 21.88 * 2**30), ("512.0M", 2**29), ("77", 77)]
)
def test_bytes_of_a_refused_program(size: str, expected: float) -> None:
    message = (
        "RESOURCE_EXHAUSTED: Ran out of memory on HBM, the total memory required for "
        f"HLO temporaries ({size}) exceeds available HBM (15.75G)."
    )
    assert refused_bytes(message) == round(expected)


def test_another_error_is_no_refusal() -> None:
    assert refused_bytes("INTERNAL: something (15.75G) broke") is None
