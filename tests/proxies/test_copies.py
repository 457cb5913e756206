"""A batch with copies of an image: which proxies cannot do with it."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nas_jax.proxies import Batch, get_proxy, list_proxies

KEY = jax.random.key(7)
COMPARING = [name for name in list_proxies() if get_proxy(name).compares_images]


def score(name: str, tiny: Any, copies: bool) -> float:
    """A score of four images, of which two may be equal."""
    whole = tiny.batch()
    index = jnp.array([0, 1, 2, 2 if copies else 3])
    batch = Batch(whole.images[index], whole.labels[index])
    network = tiny.network(tiny.params(1))
    return float(jax.jit(lambda: get_proxy(name).score(network, batch, KEY))())


@pytest.mark.parametrize("name", sorted({*list_proxies()} - {*COMPARING}))
def test_a_proxy_that_compares_no_images_takes_copies(name: str, tiny: Any) -> None:
    assert np.isfinite(score(name, tiny, copies=True)), name


@pytest.mark.parametrize("name", ["nwot", "ntk_cond"])
def test_a_kernel_of_copies_is_singular(name: str, tiny: Any) -> None:
    assert name in COMPARING
    assert np.isfinite(score(name, tiny, copies=False))
    assert not np.isfinite(score(name, tiny, copies=True))


def test_every_kernel_between_images_is_told() -> None:
    kernels = {"jacov", "epe_nas", "nwot", "ntk_cond", "ntk_eigen"}
    kernels |= {name for name in list_proxies() if name.startswith("nngp_")}
    assert set(COMPARING) == kernels
