"""Numbers as a reader wants them: bytes, seconds, counts, scores."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence


def mebibytes(count: float) -> str:
    """Bytes as MiB with three significant digits or whole numbers: `5,005 MiB`."""
    size = count / 2**20
    if size >= 100:
        return f"{size:,.0f} MiB"
    return f"{size:.1f} MiB" if size >= 10 else f"{size:.2f} MiB"


def gibibytes(count: float) -> str:
    """Bytes as GiB with as few decimals as it takes, as MiB below one GiB."""
    size = count / 2**30
    if size < 1:
        return mebibytes(count)
    return f"{size:,.2f}".rstrip("0").rstrip(".") + " GiB"


def duration(seconds: float) -> str:
    """Seconds in their two largest units: `2 h 14 min`, `3 min 12 s`, `8.4 s`."""
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 59.95 else "1 min"
    whole = round(seconds)
    if whole < 3600:
        return _two(whole // 60, "min", whole % 60, "s")
    minutes = round(seconds / 60)
    if minutes < 60 * 24:
        return _two(minutes // 60, "h", minutes % 60, "min")
    hours = round(seconds / 3600)
    return _two(hours // 24, "d", hours % 24, "h")


def _two(large: int, large_unit: str, small: int, small_unit: str) -> str:
    head = f"{large} {large_unit}"
    return f"{head} {small} {small_unit}" if small else head


def count(number: int) -> str:
    """A count: `41,234` below a million, `3.35 M` from there on."""
    return f"{number:,}" if number < 1_000_000 else f"{number / 1e6:.2f} M"


def plural(number: int, noun: str) -> str:
    """`1 round`, `2 rounds`."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def percent(fraction: float, digits: int = 1) -> str:
    """A fraction as percent: `98.1%`."""
    return f"{100 * fraction:.{digits}f}%"


def change(before: float, after: float) -> str:
    """The relative change with its sign: `−85%`; a true minus sign."""
    if before == 0:
        return "n/a"
    value = 100 * (after - before) / before
    text = f"{value:+.0f}%" if abs(value) >= 10 else f"{value:+.1f}%"
    return text.replace("-", "−")


def score(number: float | None, digits: int = 3) -> str:
    """A score in significant digits with a true minus sign; a dash if None."""
    if number is None:
        return "–"
    return f"{number:.{digits}g}".replace("-", "−")


def tick_texts(ticks: Sequence[float], unit: str = "") -> list[str]:
    """Labels of ascending ticks, in as few digits as say where each is: all differ."""
    steps = [b - a for a, b in itertools.pairwise(ticks)]
    # A tick that stands alone is told to a thousandth of itself.
    near = min((step for step in steps if step > 0), default=0.0)
    near = (near or max(map(abs, ticks), default=0.0)) / 1e3
    for digits in range(1, 18):
        texts = [f"{tick:.{digits}g}" for tick in ticks]
        off = [abs(float(text) - at) for text, at in zip(texts, ticks, strict=True)]
        if max(off, default=0.0) <= near:
            break
    return [_plain(text).replace("-", "−") + unit for text in texts]


def _plain(text: str) -> str:
    """`2e+01` as `20`; only what is too long to read keeps its exponent."""
    long = not 1e-5 < abs(float(text)) < 1e7
    return text if "e" not in text or long else f"{float(text):.15g}"


def wilson_interval(fraction: float, number: int) -> tuple[float, float]:
    """95% interval of a proportion (Wilson 1927), for `number` independent trials."""
    z = 1.959964
    centre = fraction + z**2 / (2 * number)
    spread = z * math.sqrt(fraction * (1 - fraction) / number + z**2 / (4 * number**2))
    scale = 1 + z**2 / number
    return max(0.0, (centre - spread) / scale), min(1.0, (centre + spread) / scale)
