"""Values of artefacts of which some may be missing or null."""

from __future__ import annotations

from typing import Any

from nas_jax.report.fields import Field


def optional_integer(field: Field | None) -> int | None:
    """A whole number that is not negative, or None."""
    return None if field is None else field.integer()


def optional_text(field: Field | None) -> str:
    """A string; empty where there is none."""
    return "" if field is None else field.text()


def numbers(field: Field) -> dict[str, float]:
    """The members of an object that hold numbers; null members are left out."""
    return {
        key: member.number()
        for key, member in field.items()
        if member.value is not None
    }


def members(root: Field) -> dict[str, Any]:
    """The members of an object as they are."""
    return {key: member.value for key, member in root.items()}
