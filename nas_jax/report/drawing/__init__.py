"""The drawing of a cell: its own layered layout, written as SVG."""

from nas_jax.report.drawing.cells import draw_cell

__all__ = ["draw_cell"]
