"""Colours that all readers can tell apart, and short names."""

from __future__ import annotations

import re

import pytest

from nas_jax.report.style import (
    KINDS,
    STEPS,
    dash_of,
    kind_of,
    label_of,
    luminance,
    palette,
    palette_css,
    short_name,
)
from nas_jax.spaces import DARTS_OPS

SCHEMES = pytest.mark.parametrize("scheme", ["light", "dark"])


def contrast(a: str, b: str) -> float:
    """Contrast ratio of WCAG 2."""
    low, high = sorted((luminance(a), luminance(b)))
    return (high + 0.05) / (low + 0.05)


@SCHEMES
def test_text_and_lines_stand_out(scheme: str) -> None:
    colours = palette(scheme)
    for name in ("ink", "soft", "second"):
        assert contrast(colours[name], colours["page"]) >= 4.5
    for kind in KINDS:
        assert contrast(colours[f"op-{kind.key}"], colours["page"]) >= 3.0
    grounds = [f"stage{i}" for i in range(4)] + [f"heat{i}" for i in range(2 * STEPS)]
    for name in grounds:
        assert contrast(colours[f"on-{name}"], colours[name]) >= 4.5, name


@SCHEMES
def test_heat_scale_gets_stronger_on_both_sides(scheme: str) -> None:
    colours = palette(scheme)
    for side in (-1, 1):
        steps = [colours[f"heat{STEPS + side * i}"] for i in range(STEPS + 1)]
        away = [contrast(step, colours["page"]) for step in steps]
        assert away == sorted(away) and len(set(away)) == len(away)


def test_both_schemes_define_the_same_variables() -> None:
    light, dark = palette_css().split("prefers-color-scheme:dark")
    names = [re.findall(r"--([\w-]+):#", part) for part in (light, dark)]
    assert names[0] == names[1] == list(palette("light"))


@pytest.mark.parametrize(
    ("operation", "parts", "kind"),
    [
        ("sep_conv_5x5", ("sep", "5×5"), "sep"),
        ("max_pool_3x3", ("max", "3×3"), "pool"),
        ("skip_connect", ("skip", ""), "skip"),
        ("nor_conv_1x1", ("conv", "1×1"), "conv"),
        ("a_very_long_operation", ("a very long o…", ""), "other"),
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
