"""What `nas-jax memory` is asked to compile: lists of settings, and masks.

Nothing here loads JAX.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from nas_jax.config import ExperimentConfig, OneOf, config_fields
from nas_jax.errors import ConfigError
from nas_jax.memory import Candidate
from nas_jax.spaces import NONE, SpaceMask

STRONGER = (0.75, 0.5, 0.25)
"""What a budget search keeps, of what was asked for, where nothing else fits."""
MICROBATCHES = (1, 2, 4, 8)
ALL, RANDOM = "all", "random"


@dataclasses.dataclass(frozen=True)
class Settings:
    """Everything to go through.

    Attributes:
        masks: Masks by name and share that they keep of what the search starts from,
            in the order asked for.
        candidates: All combinations, masks first.
        fallback: Those with stronger pruning than was asked for, which a budget search
            turns to where nothing else fits.
    """

    masks: dict[tuple[str, float], SpaceMask]
    candidates: tuple[Candidate, ...]
    fallback: tuple[Candidate, ...]

    def mask(self, candidate: Candidate) -> SpaceMask:
        """The mask of a candidate."""
        return self.masks[candidate.mask, candidate.kept]


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


def read_settings(
    config: ExperimentConfig, start: SpaceMask, flags: Any, budget: bool
) -> Settings:
    """All combinations that the flags ask for; what they leave out is the config's.

    Args:
        config: The experiment.
        start: What its search starts from.
        flags: Values of the flags kept, mask, remat, dtype, batch and microbatches.
        budget: Whether settings that need less memory are wanted too.

    Raises:
        NasJaxError: A value is not allowed, or a mask cannot be used.
    """
    search = config.search
    masks, asked = _masks(config, start, flags, budget)
    remats = _values(flags.remat, "remat", str)
    remats = remats or (_all("remat") if budget else [search.remat])
    dtypes = _values(flags.dtype, "dtype", str)
    dtypes = dtypes or (_all("dtype") if budget else [search.dtype])
    batches = _values(flags.batch, "batch_size", int) or [search.batch_size]
    parts = _values(flags.microbatches, "microbatches", int)
    parts = parts or list(MICROBATCHES if budget else [search.microbatches])
    candidates = [
        Candidate(name, kept, remat, dtype, batch, part)
        for (name, kept), remat, dtype, batch, part in itertools.product(
            masks, remats, dtypes, batches, parts
        )
        # A budget search's own list is cut to what divides the batch.
        if batch % part == 0 or flags.microbatches
    ]
    for candidate in candidates:
        if candidate.batch_size % candidate.microbatches:
            raise ConfigError(
                f"{candidate.microbatches} microbatches do not divide a batch of "
                f"{candidate.batch_size}; change --microbatches or --batch"
            )
    wanted = tuple(c for c in candidates if (c.mask, c.kept) in asked)
    fallback = tuple(c for c in candidates if (c.mask, c.kept) not in asked)
    return Settings(masks, wanted, fallback)


def overrides(config: ExperimentConfig, candidate: Candidate) -> list[str]:
    """The flags that make a config the candidate's."""
    search = config.search
    wanted: list[tuple[str, Any, Any]] = [
        ("search.remat", search.remat, candidate.remat),
        ("search.dtype", search.dtype, candidate.dtype),
        ("search.batch_size", search.batch_size, candidate.batch_size),
        ("search.microbatches", search.microbatches, candidate.microbatches),
    ]
    if candidate.mask in (ALL, RANDOM):
        level = round(1 - candidate.kept, 6)
        wanted.append(("prune.level", config.prune.level, level))
    else:
        wanted.append(("space.mask", config.space.mask, candidate.mask))
    return [f"--config.{path}={new}" for path, old, new in wanted if old != new]


def _masks(
    config: ExperimentConfig, start: SpaceMask, flags: Any, budget: bool
) -> tuple[dict[tuple[str, float], SpaceMask], set[tuple[str, float]]]:
    """Masks by name and kept share, and which of them were asked for."""
    kept = _values(flags.kept, "kept", float)
    files = flags.mask or []
    more: list[float] = []
    if not kept and not files:
        if config.space.mask:
            files = [config.space.mask]
        elif budget:
            kept = [1 - config.prune.level]
            more = [share * kept[0] for share in STRONGER]
        else:
            kept = [1.0, 1 - config.prune.level]
    masks = {}
    for share in kept:
        mask = random_mask(start, share, config.seed)
        name = ALL if mask == start else RANDOM
        masks[name, mask.fraction_of(start)] = mask
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


def _values(texts: Sequence[str] | None, name: str, kind: type) -> list[Any]:
    """The parsed values of a flag that lists them; each obeys the config's rule."""
    values = []
    for text in texts or ():
        try:
            value = kind(text)
        except ValueError:
            raise ConfigError(f"--{_flag(name)}: {text!r} is no number") from None
        field = config_fields().get(f"search.{name}")
        rule = field and field.rule
        if rule and not rule.holds(value):
            raise ConfigError(f"--{_flag(name)} is {text!r}: it must be {rule.allowed}")
        values.append(value)
    return list(dict.fromkeys(values))


def _all(name: str) -> list[str]:
    """All values of a field of the search that has one of several names."""
    rule = config_fields()[f"search.{name}"].rule
    return list(rule.titles) if isinstance(rule, OneOf) else []


def _flag(name: str) -> str:
    return name.removesuffix("_size")
