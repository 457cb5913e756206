"""Colours and short names, the same in every figure, for light and dark pages.

Figures never hold colours themselves: they name CSS variables, which `palette_css`
defines once for each colour scheme. The hues are those of Okabe and Ito (2008), which
readers with any common colour vision deficiency tell apart.
"""

from __future__ import annotations

from dataclasses import dataclass

STEPS = 12
"""Colour steps of the heat map on each side of its middle."""


@dataclass(frozen=True)
class Kind:
    """A family of operations: its label and its colour on light and dark pages."""

    key: str
    label: str
    light: str
    dark: str


KINDS = (
    Kind("sep", "separable convolution", "#0068b0", "#5cb2ff"),
    Kind("dil", "dilated convolution", "#c74e00", "#ff9a52"),
    Kind("pool", "pooling", "#007d5c", "#2fc79b"),
    Kind("skip", "skip connection", "#b04a8c", "#f29bd0"),
    Kind("conv", "convolution", "#8f7200", "#e2c044"),
    Kind("none", "none", "#80868e", "#8b929b"),
    Kind("other", "other", "#414a55", "#c3cbd5"),
)

_BY_KEY = {kind.key: kind for kind in KINDS}

DASHES = ("", "5 2.5", "1.5 2", "7 2 1.5 2")
"""Dash patterns that tell operations of one kind apart."""

_SURFACE = {"light": "#ffffff", "dark": "#14171b"}
# The middle of the scale stays off the page's own colour, so that a score of zero
# still reads as a scored cell.
_MIDDLE = {"light": "#f0f1f3", "dark": "#262b31"}
_POSITIVE = {"light": "#0a559c", "dark": "#6fbaff"}
_NEGATIVE = {"light": "#b34700", "dark": "#ff9f5a"}

_PAGE = {
    "light": {
        "page": _SURFACE["light"],
        "panel": "#f6f7f8",
        "ink": "#16191d",
        "soft": "#5a626c",
        "faint": "#d5d9de",
        "line": "#e6e9ec",
        "accent": "#0068b0",
        "second": "#c74e00",
        "stage0": "#0a4a86",
        "stage1": "#2f76b5",
        "stage2": "#9cc7ea",
        "stage3": "#cfd4da",
        "on-stage0": "#ffffff",
        "on-stage1": "#ffffff",
        "on-stage2": "#16191d",
        "on-stage3": "#16191d",
    },
    "dark": {
        "page": _SURFACE["dark"],
        "panel": "#1c2025",
        "ink": "#e9ecef",
        "soft": "#9aa3ad",
        "faint": "#3b424a",
        "line": "#2a3037",
        "accent": "#5cb2ff",
        "second": "#ff9a52",
        "stage0": "#8cc8ff",
        "stage1": "#4a92d0",
        "stage2": "#285f92",
        "stage3": "#434b54",
        "on-stage0": "#14171b",
        "on-stage1": "#14171b",
        "on-stage2": "#ffffff",
        "on-stage3": "#ffffff",
    },
}


def kind_of(operation: str) -> Kind:
    """The family of an operation, told from its name."""
    name = operation.lower()
    for key, words in (
        ("none", ("none", "zero")),
        ("sep", ("sep",)),
        ("dil", ("dil",)),
        ("pool", ("pool",)),
        ("skip", ("skip", "identity")),
        ("conv", ("conv",)),
    ):
        if any(word in name for word in words):
            return _BY_KEY[key]
    return _BY_KEY["other"]


def dash_of(operation: str, operations: tuple[str, ...]) -> str:
    """The dash pattern of an operation among its kind's operations, in their order."""
    family = [name for name in operations if kind_of(name) == kind_of(operation)]
    return DASHES[family.index(operation) % len(DASHES)]


def short_name(operation: str) -> tuple[str, str]:
    """An operation's name in two short parts: `("sep", "3×3")`, `("skip", "")`."""
    head, _, tail = operation.rpartition("_")
    size, cross, rest = tail.partition("x")
    words = operation.replace("_", " ")
    suffix = ""
    if head and cross and size.isdigit() and rest.isdigit():
        words, suffix = head.replace("_", " "), f"{size}×{rest}"
    for long, short in (
        ("sep conv", "sep"),
        ("dil conv", "dil"),
        ("nor conv", "conv"),
        ("max pool", "max"),
        ("avg pool", "avg"),
        ("skip connect", "skip"),
    ):
        if words == long:
            words = short
    return (words if len(words) <= 14 else words[:13] + "…"), suffix


def label_of(operation: str) -> str:
    """An operation's short name on one line: `sep 3×3`."""
    return " ".join(part for part in short_name(operation) if part)


_TO_CONES = (
    (0.4122214708, 0.5363325363, 0.0514459929),
    (0.2119034982, 0.6806995451, 0.1073969566),
    (0.0883024619, 0.2817188376, 0.6299787005),
)
_TO_LAB = (
    (0.2104542553, 0.7936177850, -0.0040720468),
    (1.9779984951, -2.4285922050, 0.4505937099),
    (0.0259040371, 0.7827717662, -0.8086757660),
)
_FROM_LAB = (
    (1.0, 0.3963377774, 0.2158037573),
    (1.0, -0.1055613458, -0.0638541728),
    (1.0, -0.0894841775, -1.2914855480),
)
_FROM_CONES = (
    (4.0767416621, -3.3077115913, 0.2309699292),
    (-1.2684380046, 2.6097574011, -0.3413193965),
    (-0.0041960863, -0.7034186147, 1.7076147010),
)

Triple = tuple[float, float, float]


def _apply(matrix: tuple[Triple, Triple, Triple], vector: Triple) -> Triple:
    x, y, z = (sum(m * v for m, v in zip(row, vector, strict=True)) for row in matrix)
    return x, y, z


def linear_rgb(colour: str) -> Triple:
    """The linear-light channels, 0 to 1, of a colour `#rrggbb` (IEC 61966-2-1)."""
    coded = [int(colour[index : index + 2], 16) / 255 for index in (1, 3, 5)]
    red, green, blue = (
        c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in coded
    )
    return red, green, blue


def oklab(linear: Triple) -> Triple:
    """OKLab lightness and two hues of linear-light channels (Ottosson 2020)."""
    low, middle, high = _apply(_TO_CONES, linear)
    return _apply(_TO_LAB, (low ** (1 / 3), middle ** (1 / 3), high ** (1 / 3)))


def mix(start: str, end: str, share: float) -> str:
    """The colour `share` of the way from `start` to `end`, in even steps to the eye."""
    first, last = oklab(linear_rgb(start)), oklab(linear_rgb(end))
    light, a, b = (x + share * (y - x) for x, y in zip(first, last, strict=True))
    low, middle, high = _apply(_FROM_LAB, (light, a, b))
    linear = _apply(_FROM_CONES, (low**3, middle**3, high**3))
    coded = (
        12.92 * c if c <= 0.0031308 else 1.055 * c ** (1 / 2.4) - 0.055
        for c in (min(1.0, max(0.0, channel)) for channel in linear)
    )
    return "#" + "".join(f"{round(255 * c):02x}" for c in coded)


def palette(scheme: str) -> dict[str, str]:
    """Every colour of one scheme (`light` or `dark`) by the name of its variable.

    `heat0` is the lowest score, `heat{2 * STEPS}` the highest, `heat{STEPS}` zero.
    """
    colours = dict(_PAGE[scheme])
    for kind in KINDS:
        colours[f"op-{kind.key}"] = kind.light if scheme == "light" else kind.dark
    for step in range(-STEPS, STEPS + 1):
        end = (_NEGATIVE if step < 0 else _POSITIVE)[scheme]
        share = abs(step) / STEPS
        colours[f"heat{step + STEPS}"] = mix(_MIDDLE[scheme], end, share)
    return colours


def palette_css() -> str:
    """CSS that defines every colour as a variable for both colour schemes."""

    def block(scheme: str) -> str:
        return "".join(f"--{name}:{value};" for name, value in palette(scheme).items())

    return (
        f":root{{color-scheme:light dark;{block('light')}}}\n"
        f"@media (prefers-color-scheme:dark){{:root{{{block('dark')}}}}}"
    )
