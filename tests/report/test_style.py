"""Colours that all readers can tell apart, and short names."""

from __future__ import annotations

import itertools
import re

import numpy as np
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


# Machado, Oliveira and Fernandes 2009, severity 1.0, on linear RGB.
VISION = {
    "normal": np.eye(3).tolist(),
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
}
# Ottosson 2020: linear RGB to cone responses, their cube roots to OKLab.
TO_CONES = [
    [0.4122214708, 0.5363325363, 0.0514459929],
    [0.2119034982, 0.6806995451, 0.1073969566],
    [0.0883024619, 0.2817188376, 0.6299787005],
]
TO_LAB = [
    [0.2104542553, 0.7936177850, -0.0040720468],
    [1.9779984951, -2.4285922050, 0.4505937099],
    [0.0259040371, 0.7827717662, -0.8086757660],
]


def seen(colour: str, vision: str) -> np.ndarray:
    """The OKLab colour that an eye sees of `#rrggbb`."""
    coded = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    linear = np.where(coded > 0.04045, ((coded + 0.055) / 1.055) ** 2.4, coded / 12.92)
    cones = np.array(TO_CONES) @ np.maximum(0, np.array(VISION[vision]) @ linear)
    return np.array(TO_LAB) @ np.cbrt(cones)


def test_contrast_of_worked_examples() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    # The grey that just misses WCAG's 4.5 on white.
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


@SCHEMES
@pytest.mark.parametrize("vision", VISION)
def test_kinds_of_the_darts_space_stay_apart(scheme: str, vision: str) -> None:
    colours = palette(scheme)
    kinds = {kind_of(name).key for name in DARTS_OPS}
    for a, b in itertools.combinations(sorted(kinds), 2):
        first, second = (seen(colours[f"op-{kind}"], vision) for kind in (a, b))
        # A difference of 0.02 is about the least that the eye notices.
        assert np.linalg.norm(first - second) > 0.05, (a, b)


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
        ("dil_conv_3x3", ("dil", "3×3"), "dil"),
        ("max_pool_3x3", ("max", "3×3"), "pool"),
        ("skip_connect", ("skip", ""), "skip"),
        ("none", ("none", ""), "none"),
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
