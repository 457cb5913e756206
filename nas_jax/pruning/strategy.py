"""What a pruning strategy is, and the registry of all of them.

A strategy is one file: a class or function that makes a `Strategy`, and one call of
`register_strategy` that says its options, what its numbers mean and where it is from.
Checks, help texts and artefacts read all that from here.
"""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from nas_jax.errors import ConfigError
from nas_jax.plugins import PROVIDERS
from nas_jax.proxies import get_proxy
from nas_jax.pruning.candidates import Edge, Live, Operation
from nas_jax.pruning.importance import Importance
from nas_jax.pruning.rankers import Ranker, usual_size
from nas_jax.spaces import SearchSpace, SpaceMask

Round = Mapping[Edge, int]
"""Operations that edges keep after a round. Edges that are not in it are left alone."""


class Score(Protocol):
    """Scores candidates by the rankers of a strategy."""

    def __call__(self, live: Live, *, whole_first: bool = False) -> np.ndarray:
        """Scores `[repeats, candidates, rankers]` of what is alive.

        Args:
            live: The candidates.
            whole_first: Whether the first is the whole network, which all rankers must
                have a score of: one that has none is refused before the others run.
        """


class Strategy(Protocol):
    """How operations are chosen.

    Attributes:
        name: Its name in artefacts.
        rankers: What scores; nothing for a strategy that scores nothing.
        repeats: Weights and batches that an importance is averaged over.
    """

    name: str
    rankers: tuple[Ranker, ...]
    repeats: int

    def schedule(
        self, mask: SpaceMask, keep: Mapping[Edge, int], rng: np.random.Generator
    ) -> list[Round]:
        """What edges keep after each round; one round, where nothing else is said.

        Args:
            mask: What is there.
            keep: What edges keep in the end.
            rng: For a strategy that draws an order.
        """
        return equal_rounds(mask, keep, 1)

    def count(self, operations: int) -> int:
        """Number of candidates of a round that may remove so many operations."""

    def importance(
        self,
        mask: SpaceMask,
        operations: Sequence[Operation],
        score: Score,
        rng: np.random.Generator,
    ) -> Importance:
        """The importance of the operations that a round may remove.

        Args:
            mask: What is there.
            operations: Those that may go.
            score: Scores candidates; is called with `count` of them, all at once.
            rng: For a strategy that draws.
        """


def equal_rounds(mask: SpaceMask, keep: Mapping[Edge, int], rounds: int) -> list[Round]:
    """So many rounds, which remove about equally many operations each."""
    excess = _excess(mask, keep)
    # Never more than there are operations to remove from an edge.
    count = min(rounds, max(excess.values(), default=0))
    return [
        {e: keep[e] + n - -(-n * done // count) for e, n in excess.items()}
        for done in range(1, count + 1)
    ]


def rounds_of_step(mask: SpaceMask, keep: Mapping[Edge, int], step: int) -> list[Round]:
    """Rounds that remove `step` operations of an edge each, as far as it has them."""
    excess = _excess(mask, keep)
    most = max(excess.values(), default=0)
    return [
        {e: keep[e] + max(0, n - gone) for e, n in excess.items()}
        for gone in range(step, most + step, step)
    ]


def _excess(mask: SpaceMask, keep: Mapping[Edge, int]) -> dict[Edge, int]:
    """How many more operations edges have than they are to keep."""
    excess = {edge: len(mask.edge(*edge)) - kept for edge, kept in keep.items()}
    return {edge: more for edge, more in excess.items() if more > 0}


@dataclasses.dataclass(frozen=True)
class Option:
    """What a user may choose of a strategy; 0 and empty are its own default.

    Attributes:
        name: The keyword of the strategy's `make`, and of `--config.prune`.
        default: What the strategy has where nothing is given, a value or words.
        meaning: What it says, in a few words.
    """

    name: str
    default: Any
    meaning: str


def scoring_options(batch_size: Any, repeats: int) -> tuple[Option, ...]:
    """The options of every strategy that scores the supernet, with two defaults."""
    return (
        Option("channels", "the search's usual", "first channels of what is scored"),
        Option(
            "layers", "the search's usual", "its cells; of a stage in NAS-Bench-201"
        ),
        Option("batch_size", batch_size, "images in a batch"),
        Option("repeats", repeats, "weights and batches that a score is averaged over"),
    )


@dataclasses.dataclass(frozen=True)
class StrategyEntry:
    """A registered strategy: how to make it, and what there is to say of it.

    Attributes:
        name: Its name.
        make: From a space and the options that are given, by name.
        title: Its name in running text.
        meaning: What a score is, in one sentence.
        options: What may be given.
        reference: Where that is from; empty without a published source.
        part: What a proxy's own figure is.
        below_zero: What a negative score says; empty where there is none.
        averaged: What is averaged over repeats.
    """

    name: str
    make: Callable[..., Strategy]
    title: str
    meaning: str
    options: Sequence[Option] = ()
    reference: str = ""
    part: str = ""
    below_zero: str = ""
    averaged: str = "Losses"

    @property
    def words(self) -> dict[str, str]:
        """All that there is to say of its numbers, by attribute, for artefacts."""
        told = vars(self).items()
        return {n: v for n, v in told if isinstance(v, str) and n != "name"}


class _Strategies(Mapping[str, StrategyEntry]):
    """What is registered; `PROVIDERS` are imported when it is first read."""

    def __init__(self) -> None:
        self.registered: dict[str, StrategyEntry] = {}

    def _all(self) -> dict[str, StrategyEntry]:
        for module in PROVIDERS:
            importlib.import_module(module)
        return self.registered

    def __getitem__(self, name: str) -> StrategyEntry:
        return self._all()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())


STRATEGIES = _Strategies()
"""All strategies by name, read-only; `register_strategy` adds to it."""

_HOW_TO_SCORE = frozenset(option.name for option in scoring_options(0, 0))
"""Options that say nothing to a strategy that scores nothing, and so are not refused:
a configuration keeps them while its strategy changes."""


def register_strategy(name: str, make: Callable[..., Strategy], **told: Any) -> None:
    """Makes a strategy known by a name; see `StrategyEntry` for what may be told.

    Raises:
        ConfigError: The name is taken.
    """
    if name in STRATEGIES.registered:
        raise ConfigError(
            f"a pruning strategy {name!r} is registered already; take another name"
        )
    meaning = f"A score is what the strategy {name} gives an operation."
    told = {"title": name, "meaning": meaning, **told}
    STRATEGIES.registered[name] = StrategyEntry(name, make, **told)


def of_supernet(make: Callable[..., Strategy]) -> Callable[..., Strategy]:
    """From a strategy of a `SupernetSize` to one of a space and `scoring_options`."""

    def made(
        space: SearchSpace, *, channels: int = 0, layers: int = 0, **given: Any
    ) -> Strategy:
        return make(usual_size(space, channels, layers), **given)

    return made


def get_strategy(
    name: str, space: SearchSpace, options: Mapping[str, Any] | None = None
) -> Strategy:
    """A pruning strategy.

    Args:
        name: A key of STRATEGIES.
        space: The search space.
        options: What to change, by name; what is 0 or empty is the strategy's own.

    Raises:
        ConfigError: On an unknown name or proxy, or an option that the strategy does
            not have; names what is allowed.
    """
    if name not in STRATEGIES:
        raise ConfigError(
            f"unknown pruning strategy {name!r}; allowed: {', '.join(STRATEGIES)}"
        )
    entry = STRATEGIES[name]
    given = {field: value for field, value in (options or {}).items() if value}
    for field, value in [*given.items()]:
        owners = [
            other.name
            for other in STRATEGIES.values()
            if field in [option.name for option in other.options]
        ]
        if name in owners:
            continue
        if field not in _HOW_TO_SCORE:
            others = f", or take {' or '.join(owners)}" if owners else ""
            raise ConfigError(
                f"pruning strategy {name!r} has no {field} ({value!r} given); leave it "
                f"out{others}"
            )
        del given[field]
    for proxy in given.get("proxies", ()):
        get_proxy(proxy)
    return entry.make(space, **given)
