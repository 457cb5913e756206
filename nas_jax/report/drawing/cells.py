"""The drawing of a genotype's cell: inputs, nodes, operations, output."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from nas_jax.report.drawing.layering import Item, Layout, Link, lay_out
from nas_jax.report.drawing.shapes import Gene
from nas_jax.report.style import kind_of, label_of
from nas_jax.spaces import CellSpec

_CHARACTER = 6.7
_LABEL_HEIGHT = 22.0
_NODE = 28.0
_INPUT = 58.0
_GAP = 11.0
_BEND = 4.0
_MARGIN = 3.0


def fixed(number: float) -> str:
    """A coordinate with at most two decimals: short, and the same everywhere."""
    text = f"{number:.2f}".rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text


def tag(name: str, *children: str, **attributes: str | float) -> Markup:
    """An escaped element; `class_` and `aria_label` become `class`, `aria-label`."""
    parts = [name]
    for key, value in attributes.items():
        shown = value if isinstance(value, str) else fixed(value)
        parts.append(f'{key.strip("_").replace("_", "-")}="{escape(shown)}"')
    return Markup(f"<{' '.join(parts)}>{''.join(map(escape, children))}</{name}>")


@dataclass(frozen=True)
class _Frame:
    """Turns (along the layers, across them) into (x, y), left to right or downwards."""

    downwards: bool

    def point(self, along: float, across: float) -> tuple[float, float]:
        return (across, along) if self.downwards else (along, across)

    def text(self, along: float, across: float) -> str:
        return " ".join(fixed(value) for value in self.point(along, across))


def _width(text: str, least: float = 0.0) -> float:
    return max(least, _CHARACTER * len(text) + 16)


def _curve(
    chain: Sequence[Item],
    layout: Layout,
    spans: Sequence[tuple[float, float]],
    radius: tuple[float, float],
    frame: _Frame,
) -> str:
    """One path from the source's rim to the target's, straight inside each layer."""
    at = layout.position
    middle = [(low + high) / 2 for low, high in spans]
    first, last = chain[0], chain[-1]
    d = "M" + frame.text(middle[first.layer] + radius[0], at[first])
    along = spans[first.layer][1]
    d += "L" + frame.text(along, at[first])
    for before, item in itertools.pairwise(chain):
        low, high = spans[item.layer]
        bend = (along + low) / 2
        points = (bend, at[before]), (bend, at[item]), (low, at[item])
        d += "C" + " ".join(frame.text(*point) for point in points)
        if item is not last:
            d += "L" + frame.text(high, at[item])
        along = high
    return d + "L" + frame.text(middle[last.layer] - radius[1], at[last])


def _arrow(along: float, across: float, frame: _Frame, class_: str) -> Markup:
    tip = frame.text(along, across)
    sides = (frame.text(along - 7, across - 3.6), frame.text(along - 7, across + 3.6))
    return tag("path", class_=f"tip {class_}", d=f"M{tip}L{sides[0]}L{sides[1]}Z")


def _pill(x: float, y: float, width: float, text: str, class_: str) -> Markup:
    half = _LABEL_HEIGHT / 2
    size = {"width": width, "height": 2 * half, "rx": half}
    box = tag("rect", x=x - width / 2, y=y - half, **size)
    return tag(
        "g", box, tag("text", text, x=x, y=y + 4, class_="middle"), class_=class_
    )


def draw_cell(
    shape: CellSpec,
    genes: tuple[Gene, ...],
    concat: tuple[int, ...],
    downwards: bool = False,
) -> Markup:
    """A picture with one `edge` path for each gene, one `join` for each concat state.

    The layers go from left to right, or downwards for narrow pages.
    """
    output = shape.num_inputs + shape.num_nodes
    links = [Link(g.source, g.target, label_of(g.operation)) for g in genes]
    links += [Link(state, output, None) for state in concat]
    label_width = max(_width(link.label or "") for link in links)
    # One state is not concatenated with others.
    output_name = "concat" if len(concat) > 1 else "output"
    output_width = _width(output_name)
    across = {
        "state": max(_INPUT, output_width) if downwards else _NODE,
        "label": label_width if downwards else _LABEL_HEIGHT,
        "bend": _BEND,
    }
    layout = lay_out(shape.num_inputs, links, across, 6.0 if downwards else _GAP)
    frame = _Frame(downwards)

    def reach(item: Item) -> float:
        """Half of an item's extent along the layers."""
        if item.state in shape.nodes:
            return _NODE / 2
        if downwards:
            return _LABEL_HEIGHT / 2
        if item.state is None:
            return label_width / 2
        return (output_width if item.state == output else _INPUT) / 2

    spans: list[tuple[float, float]] = []
    start = 0.0
    for layer in layout.layers:
        half = max(reach(item) for item in layer)
        spans.append((start, start + 2 * half))
        busy = min(6, max(len(layer), 2))
        start += 2 * half + (16 + 2 * busy if downwards else 22 + 6 * busy)

    joins, edges, marks = [], [], []
    for index, (link, chain) in enumerate(zip(links, layout.chains, strict=True)):
        radius = (reach(chain[0]), reach(chain[-1]))
        if link.label is None:
            d = _curve(chain, layout, spans, radius, frame)
            joins.append(tag("path", class_="join", d=d))
            continue
        kind = f"op-{kind_of(genes[index].operation).key}"
        # The line ends inside the arrow, so that its blunt end stays hidden.
        d = _curve(chain, layout, spans, (radius[0], radius[1] + 5), frame)
        edges.append(tag("path", class_=f"edge {kind}", d=d))
        label, target = chain[-2], chain[-1]
        rim = sum(spans[target.layer]) / 2 - radius[1]
        edges.append(_arrow(rim, layout.position[target], frame, kind))
        x, y = frame.point(sum(spans[label.layer]) / 2, layout.position[label])
        pill = _pill(x, y, _width(link.label), link.label, f"label {kind}")
        title = f"{link.source} → {link.target}: {genes[index].operation}"
        marks.append(tag("g", tag("title", title), pill))
    for item in itertools.chain.from_iterable(layout.layers):
        if item.state is None:
            continue
        x, y = frame.point(sum(spans[item.layer]) / 2, layout.position[item])
        if item.state == output:
            marks.append(_pill(x, y, output_width, output_name, "state end"))
        else:
            marks.append(_state(item.state, shape, x, y))
    extent = max(
        at + (across["state"] if i.state is not None else across["label"]) / 2
        for i, at in layout.position.items()
    )
    width, height = frame.point(spans[-1][1], extent)
    body = tag(
        "g", *joins, *edges, *marks, transform=f"translate({_MARGIN:g} {_MARGIN:g})"
    )
    choices = ", ".join(f"{g.source} → {g.target} {g.operation}" for g in genes)
    width, height = width + 2 * _MARGIN, height + 2 * _MARGIN
    return tag(
        "svg",
        body,
        class_="cell narrow" if downwards else "cell wide",
        role="img",
        aria_label=f"The {shape.name} cell: {choices}",
        width=width,
        height=height,
        viewBox=f"0 0 {fixed(width)} {fixed(height)}",
    )


def _state(state: int, shape: CellSpec, x: float, y: float) -> Markup:
    if state < shape.num_inputs:
        index = tag("tspan", f"k−{shape.num_inputs - state}", dy=3, class_="index")
        name = tag("tspan", f"{state}  ", class_="number") + Markup("c") + index
        return _pill(x, y, _INPUT, name, "state input")
    circle = tag("circle", cx=x, cy=y, r=_NODE / 2)
    number = tag("text", str(state), x=x, y=y + 4, class_="middle number")
    return tag("g", circle, number, class_="state")
