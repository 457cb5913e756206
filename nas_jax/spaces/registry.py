"""The registry of search spaces: each one file with one `register_space`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from types import MappingProxyType

from nas_jax.errors import MaskError
from nas_jax.spaces.mask import SpaceMask
from nas_jax.spaces.space import SearchSpace

USUAL_NODES = 4
"""Computed nodes of a cell, where a space leaves them to the user."""


@dataclasses.dataclass(frozen=True)
class RegisteredSpace:
    """What a search can start from; see `register_space`."""

    name: str
    mask: Callable[..., SpaceMask]
    title: str
    reference: str
    chooses_nodes: bool
    published: bool


_SPACES: dict[str, RegisteredSpace] = {}
SPACES: Mapping[str, RegisteredSpace] = MappingProxyType(_SPACES)
"""The spaces by name; `register_space` adds one."""


def register_space(
    name: str,
    mask: Callable[..., SpaceMask],
    *,
    title: str,
    reference: str = "",
    chooses_nodes: bool = False,
    published: bool = False,
) -> None:
    """Makes a space a value of `--config.space.name`.

    Args:
        name: What a config calls it.
        mask: Returns what a search starts from, each time the same: `SpaceMask.full` of
            a space of its own, or a part of another space.
        title: What it is, in a few words, for help texts.
        reference: Who published it.
        chooses_nodes: Whether `mask` takes the number of computed nodes of a cell, the
            user's `space.num_nodes`.
        published: Whether accuracies of all its architectures are published, which
            scores can be compared with.

    Raises:
        MaskError: If the name is taken.
    """
    if name in _SPACES:
        raise MaskError(f"a space {name!r} is registered already; choose another name")
    _SPACES[name] = RegisteredSpace(
        name, mask, title, reference, chooses_nodes, published
    )


def get_mask(name: str, num_nodes: int = USUAL_NODES) -> SpaceMask:
    """What a search of that name starts from: a whole space, or a published part.

    Raises:
        MaskError: There is none, or its number of computed nodes cannot be chosen.
    """
    if name not in SPACES:
        raise MaskError(f"unknown search space {name!r}; allowed: {', '.join(SPACES)}")
    entry = SPACES[name]
    if entry.chooses_nodes:
        return entry.mask(num_nodes)
    if num_nodes != USUAL_NODES:
        able = [other.name for other in SPACES.values() if other.chooses_nodes]
        raise MaskError(
            f"num_nodes is {num_nodes}, but the cells of search space {name!r} are "
            f"fixed; leave num_nodes at {USUAL_NODES}, or choose the space "
            f"{' or '.join(map(repr, able))}"
        )
    return entry.mask()


def get_space(name: str, num_nodes: int = USUAL_NODES) -> SearchSpace:
    """The search space of what `get_mask` returns; raises as that does."""
    return get_mask(name, num_nodes).space
