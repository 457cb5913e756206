"""Colours and short names, the same in every figure, for light and dark pages.

Figures never hold colours themselves: they name CSS variables, which `palette_css`
defines once for each colour scheme. The hues are those of Okabe and Ito (2008), which
readers with any common colour vision deficiency tell apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

STEPS = 12
"""Colour steps of the heat map on each side of its middle."""


class Kind(NamedTuple):
    """A family of operations: words of its names, its label and its two colours."""

    key: str
    words: tuple[str, ...]
    label: str
    light: str
    dark: str


# An operation is of the first kind that has a word of its name.
KINDS = (
    Kind("none", ("none", "zero"), "none", "#80868e", "#8b929b"),
    Kind("sep", ("sep",), "separable convolution", "#0068b0", "#5cb2ff"),
    Kind("dil", ("dil",), "dilated convolution", "#c74e00", "#ff9a52"),
    Kind("pool", ("pool",), "pooling", "#007d5c", "#2fc79b"),
    Kind("skip", ("skip", "identity"), "skip connection", "#b04a8c", "#f29bd0"),
    Kind("conv", ("conv",), "convolution", "#8f7200", "#e2c044"),
    Kind("other", ("",), "other", "#414a55", "#c3cbd5"),
)

DASHES: tuple[str | tuple[int, tuple[float, ...]], ...] = (
    "solid",
    (0, (4, 1.8)),
    (0, (1.2, 1.4)),
    (0, (5, 1.6, 1.2, 1.6)),
)
"""Line styles of matplotlib that tell operations of one kind apart."""

_PAGE = {
    "page": ("#ffffff", "#14171b"),
    "panel": ("#f6f7f8", "#1c2025"),
    "ink": ("#16191d", "#e9ecef"),
    "soft": ("#5a626c", "#9aa3ad"),
    "faint": ("#d5d9de", "#3b424a"),
    "line": ("#e6e9ec", "#2a3037"),
    "accent": ("#0068b0", "#5cb2ff"),
    "second": ("#c74e00", "#ff9a52"),
    "stage0": ("#0a4a86", "#8cc8ff"),
    "stage1": ("#2f76b5", "#4a92d0"),
    "stage2": ("#9cc7ea", "#285f92"),
    "stage3": ("#cfd4da", "#434b54"),
    "on-stage0": ("#ffffff", "#14171b"),
    "on-stage1": ("#ffffff", "#14171b"),
    "on-stage2": ("#16191d", "#ffffff"),
    "on-stage3": ("#16191d", "#ffffff"),
}
# The middle stays off the page's own colour, so that a score of zero still reads as
# a scored cell.
_LOWEST, _MIDDLE, _HIGHEST = (
    ("#b34700", "#ff9f5a"),
    ("#f0f1f3", "#262b31"),
    ("#0a559c", "#6fbaff"),
)


def kind_of(operation: str) -> Kind:
    """The family of an operation, told from its name."""
    name = operation.lower()
    return next(kind for kind in KINDS if any(word in name for word in kind.words))


def dash_of(
    operation: str, operations: Sequence[str]
) -> str | tuple[int, tuple[float, ...]]:
    """The line style of an operation among its kind's operations, in their order."""
    family = [name for name in operations if kind_of(name) == kind_of(operation)]
    return DASHES[family.index(operation) % len(DASHES)]


def short_name(operation: str) -> tuple[str, str]:
    """An operation's name in two short parts: `("sep", "3×3")`, `("skip", "")`."""
    head, _, tail = operation.rpartition("_")
    size, cross, rest = tail.partition("x")
    words, suffix = operation.replace("_", " "), ""
    if head and cross and size.isdigit() and rest.isdigit():
        words, suffix = head.replace("_", " "), f"{size}×{rest}"
    short = {
        "sep conv": "sep",
        "dil conv": "dil",
        "nor conv": "conv",
        "max pool": "max",
        "avg pool": "avg",
        "skip connect": "skip",
    }
    words = short.get(words, words)
    return (words if len(words) <= 14 else words[:13] + "…"), suffix


def label_of(operation: str) -> str:
    """An operation's short name on one line: `sep 3×3`."""
    return " ".join(part for part in short_name(operation) if part)


def _mix(start: str, end: str, share: float) -> str:
    """The colour `share` of the way from `start` to `end`, both `#rrggbb`."""
    pairs = [(int(start[i : i + 2], 16), int(end[i : i + 2], 16)) for i in (1, 3, 5)]
    return "#" + "".join(f"{round(a + share * (b - a)):02x}" for a, b in pairs)


def luminance(colour: str) -> float:
    """The relative luminance, 0 to 1, of a colour `#rrggbb` (WCAG 2.2)."""
    coded = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [
        c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in coded
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def palette(scheme: str) -> dict[str, str]:
    """Every colour of one scheme (`light` or `dark`) by the name of its variable.

    `heat0` is the lowest score, `heat{2 * STEPS}` the highest, `heat{STEPS}` zero;
    `on-heat0` and so on are the colours of text on them.
    """
    dark = ("light", "dark").index(scheme)
    colours = {name: pair[dark] for name, pair in _PAGE.items()}
    colours |= {f"op-{kind.key}": (kind.light, kind.dark)[dark] for kind in KINDS}
    for step in range(-STEPS, STEPS + 1):
        end = (_LOWEST if step < 0 else _HIGHEST)[dark]
        share = abs(step) / STEPS
        colours[f"heat{step + STEPS}"] = _mix(_MIDDLE[dark], end, share)
        # Where black and white stand out equally, by 4.58 to 1.
        light = luminance(colours[f"heat{step + STEPS}"]) > 0.179
        colours[f"on-heat{step + STEPS}"] = "#000000" if light else "#ffffff"
    return colours


def palette_css() -> str:
    """CSS that defines every colour as a variable for both colour schemes."""

    def block(scheme: str) -> str:
        return "".join(f"--{name}:{value};" for name, value in palette(scheme).items())

    return (
        f":root{{color-scheme:light dark;{block('light')}}}\n"
        f"@media (prefers-color-scheme:dark){{:root{{{block('dark')}}}}}"
    )
