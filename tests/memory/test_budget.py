"""Bytes as text, and the search for settings that fit, with a compiler of our own."""

from __future__ import annotations

import itertools
import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas_jax.errors import ConfigError
from nas_jax.memory import (
    Candidate,
    MemoryUse,
    NothingFitsError,
    find_fitting,
    parse_bytes,
    recomputed_share,
    step_time,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("16GiB", 16 * 2**30),
        ("900MiB", 900 * 2**20),
        ("12GB", 12_000_000_000),
        ("1.5 TB", 1_500_000_000_000),
        ("0.5kib", 512),
        ("77", 77),
        ("77B", 77),
    ],
)
def test_bytes(text: str, expected: int) -> None:
    assert parse_bytes(text) == expected


@pytest.mark.parametrize(
    "text", ["", "GiB", "16G", "-1GiB", "16 GiB 3", "1e9", "nan", "0", "16,5GiB"]
)
def test_no_bytes(text: str) -> None:
    with pytest.raises(ConfigError, match="16GiB, 900MiB, 12GB or plain bytes"):
        parse_bytes(text)


@given(st.integers(1, 10**9), st.sampled_from(["KiB", "MiB", "GiB"]))
def test_whole_numbers_are_exact(count: int, unit: str) -> None:
    power = ("KiB", "MiB", "GiB").index(unit) + 1
    assert parse_bytes(f"{count}{unit}") == count * 1024**power


def candidates(
    kept: tuple[float, ...] = (1.0, 0.5), microbatches: tuple[int, ...] = (1, 2, 4)
) -> list[Candidate]:
    """All combinations, fastest first."""
    grid = itertools.product(
        kept, ("none", "op", "wave", "cell"), ("float32", "bfloat16"), microbatches
    )
    found = [Candidate("m", k, r, d, 64, m) for k, r, d, m in grid]
    return sorted(found, key=step_time)


def residuals(candidate: Candidate) -> float:
    size = 1000 * candidate.kept / candidate.microbatches
    size *= {"none": 1.0, "op": 0.2, "wave": 0.3, "cell": 0.1}[candidate.remat]
    return size * {"float32": 1.0, "bfloat16": 0.5}[candidate.dtype]


class Compiler:
    """Needs a multiple of the residuals, by kind of remat, and a fixed rest."""

    FACTOR = {"none": 1.1, "op": 1.2, "wave": 1.5, "cell": 3.0}

    def __init__(self, fixed: int = 20) -> None:
        self.fixed = fixed
        self.compiled: list[Candidate] = []

    def use(self, candidate: Candidate) -> MemoryUse:
        temp = round(residuals(candidate) * self.FACTOR[candidate.remat])
        return MemoryUse(temp, self.fixed, 0, 0, temp + self.fixed)

    def __call__(self, candidate: Candidate) -> MemoryUse:
        assert candidate not in self.compiled
        self.compiled.append(candidate)
        return self.use(candidate)


def test_the_fastest_is_taken_where_it_fits() -> None:
    compiler = Compiler()
    order = candidates()
    found = find_fitting(order, 10**6, compiler, residuals)
    assert found.candidate == order[0]
    assert compiler.compiled == [order[0]]


@pytest.mark.parametrize("budget", [60, 80, 100, 150, 200, 300, 400, 600, 900])
def test_the_first_that_fits_with_few_compilations(budget: int) -> None:
    compiler = Compiler()
    order = candidates()
    found = find_fitting(order, budget, compiler, residuals)
    fitting = [c for c in order if compiler.use(c).peak_bytes <= budget]
    assert found.candidate == fitting[0]
    assert found.use == compiler.use(fitting[0])
    assert len(compiler.compiled) <= 5


def test_hopeless_candidates_are_never_compiled() -> None:
    compiler = Compiler()
    find_fitting(candidates(), 60, compiler, residuals)
    assert all(0.35 * residuals(c) <= 60 for c in compiler.compiled)


def test_nothing_fits_names_the_smallest() -> None:
    compiler = Compiler()
    order = candidates()
    with pytest.raises(NothingFitsError) as caught:
        find_fitting(order, 30, compiler, residuals)
    smallest = min(order, key=lambda c: compiler.use(c).peak_bytes)
    assert caught.value.smallest.candidate == smallest
    # The first of each kind, then the smallest of the two kinds that keep least.
    kinds = [candidate.remat for candidate in compiler.compiled]
    assert kinds == ["none", "op", "wave", "cell", "cell", "op"]
    assert caught.value.compiled == len(kinds)


def test_a_wrong_estimate_cannot_hide_the_only_one_that_fits() -> None:
    # A compiler that needs next to nothing, whatever the residuals are.
    order = candidates()
    found = find_fitting(order, 15, lambda c: MemoryUse(0, 10, 0, 0, 10), residuals)
    assert found.use.peak_bytes == 10


@given(st.integers(21, 1500), st.integers(0, 2**32))
def test_what_is_found_fits_and_nothing_small_is_missed(budget: int, seed: int) -> None:
    noise = random.Random(seed)
    order = candidates((1.0, 0.75, 0.5), (1, 2, 4, 8))
    factor = {c: noise.uniform(0.9, 1.1) for c in order}
    compiler = Compiler()

    def compiled(candidate: Candidate) -> MemoryUse:
        use = compiler(candidate)
        temp = round(use.temp_bytes * factor[candidate])
        return MemoryUse(temp, 20, 0, 0, temp + 20)

    try:
        found = find_fitting(order, budget, compiled, residuals)
    except NothingFitsError as error:
        assert error.smallest.use.peak_bytes > budget
    else:
        assert found.use.peak_bytes <= budget
        assert found.candidate == compiler.compiled[-1]
    assert len(compiler.compiled) < len(order) / 4


def test_time_of_a_step() -> None:
    plain = Candidate("m", 1.0, "none", "float32", 64, 1)
    slower = [
        replace(plain, remat="wave"),
        replace(plain, remat="cell"),
        replace(plain, microbatches=2),
        replace(plain, batch_size=32),
    ]
    faster = [replace(plain, kept=0.5), replace(plain, dtype="bfloat16")]
    assert all(step_time(c) > step_time(plain) for c in slower)
    assert all(step_time(c) < step_time(plain) for c in faster)
    # Computing the forward pass again costs more than the same batch in two parts.
    assert step_time(slower[0]) > step_time(slower[2])


def test_share_of_what_is_computed_again() -> None:
    # DARTS: cells 0 and 1 whole, 2 to 4 a half, 5 to 7 a quarter.
    assert recomputed_share(8, 8 / 14, "none") == 0
    assert recomputed_share(8, 8 / 14, "cell") == pytest.approx(1 / 4.25)
    assert recomputed_share(8, 8 / 14, "op") == 0
    # 8 of the 14 edges come from the cell's inputs.
    assert recomputed_share(8, 8 / 14, "wave") == pytest.approx(8 / 14 / 4.25)
