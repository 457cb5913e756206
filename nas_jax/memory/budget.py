"""The cheapest settings whose compiled program fits a memory budget."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Sequence

from nas_jax.errors import ConfigError, NasJaxError
from nas_jax.memory.use import MemoryUse

_UNITS = {
    "": 1,
    "B": 1,
    **{f"{prefix}B": 1000**power for power, prefix in enumerate("KMGT", 1)},
    **{f"{prefix}IB": 1024**power for power, prefix in enumerate("KMGT", 1)},
}

# The relative time of a step; `docs/memory.md` says where the numbers are from.
# Recomputing the forward pass adds a third to one forward and one backward pass, which
# is twice the work of a forward pass. Cells keep less than waves for the same work.
_REMAT_TIME = {"none": 1.0, "op": 1.33, "wave": 1.33, "cell": 1.34}
_DTYPE_TIME = {"float32": 1.0, "bfloat16": 0.6}
# The share of a step that no pruning removes: stem, preprocessing and classifier.
_FIXED_TIME = 0.1
# One more microbatch, and one more image that a smaller batch does not share.
_MICROBATCH_TIME = 0.02
_BATCH_TIME = 4.0

# A compiled step needs no less than this share of its estimate: fusion spares some of
# what a backward pass keeps, but not most of it.
_LEAST_SHARE = 0.35
# An estimate from another compiled step has to exceed the budget by this much before
# a candidate is passed over.
_MARGIN = 1.15


@dataclasses.dataclass(frozen=True)
class Candidate:
    """Settings of a search step.

    Attributes:
        mask: What the mask is called.
        kept: Share that the mask keeps of the operations that the search starts from.
        remat: What the backward pass computes again: none, op, wave or cell.
    """

    mask: str
    kept: float
    remat: str
    dtype: str
    batch_size: int
    microbatches: int


@dataclasses.dataclass(frozen=True)
class Verdict:
    """A candidate and what its compiled step needs."""

    candidate: Candidate
    use: MemoryUse


class NothingFitsError(NasJaxError):
    """No candidate fits.

    Attributes:
        smallest: The compiled candidate that needs least.
        compiled: Number of candidates that were compiled.
    """

    def __init__(self, smallest: Verdict, compiled: int) -> None:
        """Keeps what came closest."""
        super().__init__(f"nothing fits; the smallest is {smallest}")
        self.smallest, self.compiled = smallest, compiled


def parse_bytes(text: str) -> int:
    """A number of bytes: `16GiB`, `900MiB`, `12GB`, `1.5 TB` or plain bytes.

    Raises:
        ConfigError: The text is none of these, or not above 0.
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*", text)
    unit = found and _UNITS.get(found[2].upper())
    count = round(float(found[1]) * unit) if found and unit else 0
    if count < 1:
        raise ConfigError(
            f"{text!r} is no number of bytes; give 16GiB, 900MiB, 12GB or plain bytes"
        )
    return count


def step_time(candidate: Candidate) -> float:
    """Estimated time for each image, 1 being an unpruned float32 step without remat."""
    return (
        (_FIXED_TIME + (1 - _FIXED_TIME) * candidate.kept)
        * _REMAT_TIME[candidate.remat]
        * _DTYPE_TIME[candidate.dtype]
        * (1 + _MICROBATCH_TIME * (candidate.microbatches - 1))
        * (1 + _BATCH_TIME / candidate.batch_size)
    )


def find_fitting(
    candidates: Sequence[Candidate],
    budget: int,
    compiled: Callable[[Candidate], MemoryUse],
    estimate: Callable[[Candidate], float],
) -> Verdict:
    """The first candidate that fits, with as few compilations as possible.

    A candidate is passed over where its estimate alone makes it hopeless, or where one
    with the same remat was compiled, did not fit, and tells by the ratio of estimates
    that this one will not either. Before giving up, the smallest candidates of the two
    kinds of remat that keep least are compiled, whatever was estimated.

    Args:
        candidates: In the order of preference; see `step_time`.
        budget: Bytes that the device may hold.
        compiled: Compiles a candidate: slow.
        estimate: Bytes that a candidate's temporaries grow with: faster.

    Raises:
        NothingFitsError: None fits.
    """
    done: dict[Candidate, MemoryUse] = {}

    def fits(candidate: Candidate) -> bool:
        if candidate not in done:
            done[candidate] = compiled(candidate)
        return done[candidate].peak_bytes <= budget

    def hopeless(candidate: Candidate) -> bool:
        size = estimate(candidate)
        return _LEAST_SHARE * size > budget or any(
            use.peak_bytes + use.temp_bytes * (size / estimate(other) - 1)
            > _MARGIN * budget
            or (use.peak_bytes > budget and size >= estimate(other))
            for other, use in done.items()
            if other.remat == candidate.remat
        )

    for candidate in candidates:
        if not hopeless(candidate) and fits(candidate):
            return Verdict(candidate, done[candidate])
    # Sorted, so that the least candidate of each kind is the one that stays.
    least = {c.remat: c for c in reversed(sorted(candidates, key=estimate))}
    if len(least) > 1:
        # Keeping everything never needs less than computing some of it again.
        least.pop("none", None)
    for candidate in sorted(least.values(), key=estimate)[:2]:
        if fits(candidate):
            return Verdict(candidate, done[candidate])
    smallest = min(done, key=lambda candidate: done[candidate].peak_bytes)
    raise NothingFitsError(Verdict(smallest, done[smallest]), len(done))


def recomputed_share(layers: int, first_wave: float, remat: str) -> float:
    """The share of all residuals that the backward pass computes again at one time.

    The largest cell is one at the full image; each reduction halves what a cell keeps,
    with a quarter of the pixels and twice the channels. The largest wave holds the
    edges from a cell's inputs.

    `layers` are its cells, `first_wave` the share of a cell's edges from its inputs.
    """
    if remat in ("none", "op"):  # One operation at a time is next to nothing.
        return 0.0
    cells = [
        0.5 ** ((i >= layers // 3) + (i >= 2 * layers // 3)) for i in range(layers)
    ]
    return 1 / sum(cells) * (first_wave if remat == "wave" else 1)
