"""The registry of spaces: what is registered, and what is refused."""

from __future__ import annotations

import pytest

from nas_jax.errors import MaskError
from nas_jax.spaces import SPACES, get_mask, register_space


def test_every_space_is_published_and_says_what_it_is() -> None:
    assert list(SPACES) == ["darts", "nasbench201", "s1", "s2", "s3", "s4"]
    for name, space in SPACES.items():
        assert "arXiv" in space.reference and space.title
        assert get_mask(name) == get_mask(name)
        assert hash(get_mask(name).space)


def test_a_name_that_is_taken() -> None:
    with pytest.raises(MaskError, match="'darts' is registered already; choose an"):
        register_space("darts", lambda: get_mask("s2"), title="Another.")
