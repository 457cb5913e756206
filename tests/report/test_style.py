"""Colours that colour-blind readers can tell apart, and short names."""

from __future__ import annotations

import itertools
import math

import pytest

from nas_jax.report.style import (
    KINDS,
    STEPS,
    dash_of,
    kind_of,
    label_of,
    linear_rgb,
    mix,
    oklab,
    palette,
    palette_css,
    short_name,
)
from nas_jax.spaces import DARTS_OPS

# Machado, Oliveira and Fernandes 2009, severity 1.0, on linear RGB.
VISION = {
    "normal": ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)),
    "protanopia": (
        (0.152286, 1.052583, -0.204868),
        (0.114503, 0.786281, 0.099216),
        (-0.003882, -0.048116, 1.051998),
    ),
    "deuteranopia": (
        (0.367322, 0.860646, -0.227968),
        (0.280085, 0.672501, 0.047413),
        (-0.011820, 0.042940, 0.968881),
    ),
}


def seen(colour: str, vision: str) -> tuple[float, float, float]:
    rgb = linear_rgb(colour)
    r, g, b = (
        max(0.0, sum(m * c for m, c in zip(row, rgb, strict=True)))
        for row in VISION[vision]
    )
    return oklab((r, g, b))


def luminance(colour: str) -> float:
    weights = (0.2126, 0.7152, 0.0722)
    return sum(w * c for w, c in zip(weights, linear_rgb(colour), strict=True))


def contrast(a: str, b: str) -> float:
    """Contrast ratio of WCAG 2."""
    low, high = sorted((luminance(a), luminance(b)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("vision", VISION)
def test_kinds_of_the_darts_space_stay_apart(scheme: str, vision: str) -> None:
    colours = palette(scheme)
    kinds = {kind_of(name).key for name in DARTS_OPS}
    for a, b in itertools.combinations(sorted(kinds), 2):
        apart = math.dist(
            seen(colours[f"op-{a}"], vision), seen(colours[f"op-{b}"], vision)
        )
        # A difference of 0.02 is about the least that the eye notices.
        assert apart > 0.05, (a, b)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_and_lines_stand_out_from_the_page(scheme: str) -> None:
    colours = palette(scheme)
    for name in ("ink", "soft", "second"):
        assert contrast(colours[name], colours["page"]) >= 4.5
    for kind in KINDS:
        assert contrast(colours[f"op-{kind.key}"], colours["page"]) >= 3.0
    for index in range(4):
        pair = colours[f"on-stage{index}"], colours[f"stage{index}"]
        assert contrast(*pair) >= 4.5, index


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("vision", VISION)
def test_heat_scale_gets_stronger_on_both_sides(scheme: str, vision: str) -> None:
    colours = palette(scheme)
    middle = seen(colours[f"heat{STEPS}"], vision)
    for side in (-1, 1):
        distances = [
            math.dist(seen(colours[f"heat{STEPS + side * i}"], vision), middle)
            for i in range(STEPS + 1)
        ]
        assert distances == sorted(distances)
    ends = (seen(colours["heat0"], vision), seen(colours[f"heat{2 * STEPS}"], vision))
    assert math.dist(*ends) > 0.2


def test_both_schemes_define_the_same_variables() -> None:
    assert palette("light").keys() == palette("dark").keys()
    css = palette_css()
    assert css.count("--ink:") == 2
    assert "prefers-color-scheme:dark" in css


def test_mix_ends_where_it_should() -> None:
    assert mix("#0a559c", "#f0f1f3", 0.0) == "#0a559c"
    assert mix("#0a559c", "#f0f1f3", 1.0) == "#f0f1f3"


@pytest.mark.parametrize(
    ("operation", "parts", "kind"),
    [
        ("sep_conv_3x3", ("sep", "3×3"), "sep"),
        ("dil_conv_5x5", ("dil", "5×5"), "dil"),
        ("max_pool_3x3", ("max", "3×3"), "pool"),
        ("skip_connect", ("skip", ""), "skip"),
        ("none", ("none", ""), "none"),
        ("nor_conv_1x1", ("conv", "1×1"), "conv"),
        ("conv_7x1_1x7", ("conv 7x1", "1×7"), "conv"),
        ("a_very_long_operation_name", ("a very long o…", ""), "other"),
        ("", ("", ""), "other"),
    ],
)
def test_short_names_and_kinds(
    operation: str, parts: tuple[str, str], kind: str
) -> None:
    assert short_name(operation) == parts
    assert label_of(operation) == " ".join(filter(None, parts))
    assert kind_of(operation).key == kind


def test_operations_of_one_kind_differ_in_dash() -> None:
    looks = {(kind_of(name).key, dash_of(name, DARTS_OPS)) for name in DARTS_OPS}
    assert len(looks) == len(DARTS_OPS)
