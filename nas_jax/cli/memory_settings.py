"""What `nas-jax memory` is asked to compile: lists of settings, and masks."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from nas_jax.config import ExperimentConfig, OneOf, config_fields
from nas_jax.errors import ConfigError
from nas_jax.memory import Candidate
from nas_jax.spaces import NONE, SpaceMask

STRONGER = (0.75, 0.5, 0.25)
"""What a budget search keeps, of what was asked for, where nothing else fits."""
MICROBATCHES = (1, 2, 4, 8)
ALL, RANDOM = "all", "random"


class Settings(NamedTuple):
    """The mask of every candidate; those asked for, and those with stronger pruning,
    which a budget search turns to where nothing else fits.
    """

    masks: dict[Candidate, SpaceMask]
    asked: list[Candidate]
    fallback: list[Candidate]


def read_settings(
    config: ExperimentConfig, start: SpaceMask, flags: Any, budget: bool
) -> Settings:
    """All combinations that the flags ask for; what they leave out is the config's.

    Args:
        flags: Values of the flags kept, mask, remat, dtype, batch and microbatches.
        budget: Whether settings that need less memory are wanted too.

    Raises:
        NasJaxError: A value is not allowed, or a mask cannot be used.
    """

    def listed(name: str, wide: Sequence[Any] = ()) -> Sequence[Any]:
        own = getattr(config.search, name)
        given = _values(flags, name.removesuffix("_size"), type(own), name)
        if given or not budget:
            return given or [own]
        rule = config_fields()[f"search.{name}"].rule
        return wide or (list(rule.titles) if isinstance(rule, OneOf) else [own])

    masks, asked = _masks(config, start, flags, budget)
    grid = itertools.product(
        masks.items(),
        listed("remat"),
        listed("dtype"),
        listed("batch_size"),
        listed("microbatches", MICROBATCHES),
    )
    found = Settings({}, [], [])
    for ((name, kept), mask), remat, dtype, batch, parts in grid:
        if batch % parts:
            # A budget search's own list is cut to what divides the batch.
            if budget and not flags.microbatches:
                continue
            raise ConfigError(
                f"{parts} microbatches do not divide a batch of {batch}; change "
                "--microbatches or --batch"
            )
        candidate = Candidate(name, kept, remat, dtype, batch, parts)
        found.masks[candidate] = mask
        (found.asked if (name, kept) in asked else found.fallback).append(candidate)
    return found


def overrides(config: ExperimentConfig, candidate: Candidate) -> list[str]:
    """The flags that make a config the candidate's."""
    search = config.search
    wanted: list[tuple[str, Any, Any]] = [
        (f"search.{name}", getattr(search, name), getattr(candidate, name))
        for name in ("remat", "dtype", "batch_size", "microbatches")
    ]
    if candidate.mask in (ALL, RANDOM):
        level = round(1 - candidate.kept, 6)
        wanted.append(("prune.level", config.prune.level, level))
    else:
        wanted.append(("space.mask", config.space.mask, candidate.mask))
    return [f"--config.{path}={new}" for path, old, new in wanted if old != new]


def random_mask(start: SpaceMask, kept: float, seed: int) -> SpaceMask:
    """A mask of a given size, where the true one is not known yet.

    As pruning does, it drops `none` first; then operations at random. Every edge keeps
    an operation other than `none`. A smaller mask of the same seed is part of a larger
    one.

    Args:
        start: The operations that there are.
        kept: Share of them that stay, to the nearest operation.
        seed: Of the order in which operations go.

    Raises:
        ConfigError: It is above 1, or leaves less than an operation for each edge.
    """
    if not kept <= 1:  # nor NaN
        raise ConfigError(f"--kept is {kept:g}: it must be a share, 1 at most")
    rng = np.random.default_rng(seed)
    stay = set()
    for cell, edges in zip(start.space.cells, start.kept, strict=True):
        choices = [[op for op in ops if op != NONE] or [NONE] for ops in edges]
        counts = [len(ops) for ops in choices]
        for edge, choice in enumerate(rng.integers(counts, size=len(counts))):
            stay.add((cell.name, edge, choices[edge][choice]))
    there = [o for o in start.space.operations() if start.keeps(*o)]
    rest = [operation for operation in there if operation not in stay]
    order = [rest[i] for i in rng.permutation(len(rest))]
    order.sort(key=lambda operation: operation[2] != NONE)
    count = len(there) - round(kept * len(there))
    if count > len(order):
        least = len(stay) / len(there)
        raise ConfigError(
            f"--kept is {kept:g}: it must be {least:g} or more, which is an operation "
            "for each edge"
        )
    return start.drop(order[:count])


def _masks(
    config: ExperimentConfig, start: SpaceMask, flags: Any, budget: bool
) -> tuple[dict[tuple[str, float], SpaceMask], set[tuple[str, float]]]:
    """Masks by name and kept share, and which of them were asked for."""
    kept = _values(flags, "kept", float)
    files = flags.mask or []
    pruned = 1 - config.prune.level
    more: list[float] = []
    if not kept and not files:
        if config.space.mask:
            files = [config.space.mask]
        elif budget:
            kept, more = [pruned], [share * pruned for share in STRONGER]
        else:
            kept = [1.0, pruned]
    masks = {}
    for share in kept:
        mask = random_mask(start, share, config.seed)
        masks[ALL if mask == start else RANDOM, mask.fraction_of(start)] = mask
    for file in files:
        mask = start & SpaceMask.load(start.space, file)
        masks[file, mask.fraction_of(start)] = mask
    asked = set(masks)
    for share in more:
        try:
            mask = random_mask(start, share, config.seed)
        except ConfigError:
            continue  # less than one operation for each edge
        masks.setdefault((RANDOM, mask.fraction_of(start)), mask)
    return masks, asked


def _values(flags: Any, flag: str, kind: type, name: str = "") -> list[Any]:
    """The parsed values of a flag that lists them; each obeys the config's rule."""
    field = config_fields().get(f"search.{name}")
    rule = field and field.rule
    values = []
    for text in getattr(flags, flag) or ():
        try:
            value = kind(text)
        except ValueError:
            raise ConfigError(f"--{flag}: {text!r} is no number") from None
        if rule and not rule.holds(value):
            raise ConfigError(f"--{flag} is {text!r}: it must be {rule.allowed}")
        values.append(value)
    return list(dict.fromkeys(values))
