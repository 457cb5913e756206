"""Which device meshes a step can be computed on."""

from __future__ import annotations

from typing import Any

import jax
from jax.sharding import AxisType

from nas_jax.errors import ConfigError


def check_mesh(*trees: Any) -> None:
    """Refuses arrays of a mesh with explicit axes. They may be traced.

    With such axes every operation must say how its result is split, which those of the
    networks do not. With automatic ones the compiler finds it.

    Raises:
        ConfigError: Names the axes and how to make the mesh.
    """
    for leaf in jax.tree.leaves(trees):
        mesh = jax.typeof(leaf).sharding.mesh
        axes = [
            name
            for name, kind in zip(mesh.axis_names, mesh.axis_types, strict=True)
            if kind == AxisType.Explicit
        ]
        if axes:
            count = len(mesh.axis_names)
            kinds = "(jax.sharding.AxisType.Auto,)" + f" * {count}" * (count > 1)
            raise ConfigError(
                f"arrays lie on a mesh with the explicit axes {', '.join(axes)}, as "
                "jax.make_mesh makes it by default, and a step cannot be computed "
                f"there; make the mesh with axis_types={kinds}"
            )
