"""Small pure functions that write SVG; every value is escaped here."""

from __future__ import annotations

from html import escape

from markupsafe import Markup

Attribute = str | float | int | None


def fixed(number: float) -> str:
    """A coordinate with at most two decimals: short, and the same everywhere."""
    text = f"{number:.2f}".rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text


def tag(name: str, *children: Markup | str, **attributes: Attribute) -> Markup:
    """An element; `class_` and `stroke_width` become `class` and `stroke-width`.

    Children that are plain strings are escaped; attributes of None are left out.
    """
    parts = [name]
    for key, value in attributes.items():
        if value is None:
            continue
        shown = value if isinstance(value, str) else fixed(value)
        parts.append(f'{key.strip("_").replace("_", "-")}="{escape(shown)}"')
    inner = "".join(
        child if isinstance(child, Markup) else escape(child) for child in children
    )
    return Markup(f"<{' '.join(parts)}>{inner}</{name}>")


def picture(
    width: float, height: float, label: str, *children: Markup, class_: str
) -> Markup:
    """An inline SVG of a natural size in pixels that shrinks with its column."""
    return tag(
        "svg",
        *children,
        class_=class_,
        role="img",
        aria_label=label,
        width=width,
        height=height,
        viewBox=f"0 0 {fixed(width)} {fixed(height)}",
    )
