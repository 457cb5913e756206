"""What both libraries compute: sizes of a search step, and masks by name."""

from __future__ import annotations

import dataclasses

import numpy as np

from nas_jax.errors import MaskError
from nas_jax.spaces import SearchSpace, SpaceMask, get_space

NUM_CLASSES = 10
UNPRUNED, HALF = "unpruned", "half"
HALF_KEPT = 4
"""Of the eight operations of an edge; at most one of them is `none`."""


@dataclasses.dataclass(frozen=True)
class Problem:
    """What every variant computes.

    Attributes:
        batch: Images in either batch.
        channels: Channels of the first cell's states.
        cells: Number of cells.
        image_size: Height and width.
        nodes: Computed nodes of each cell.
        seed: Draws images, weights and the `half` mask.
    """

    batch: int
    channels: int
    cells: int
    image_size: int
    nodes: int
    seed: int

    @property
    def space(self) -> SearchSpace:
        """The DARTS space."""
        return get_space("darts", self.nodes)

    @property
    def num_images(self) -> int:
        """Size of the data set: half trains the weights, half the alphas."""
        return 2 * self.batch

    def mask(self, name: str) -> SpaceMask:
        """`unpruned`, `half`, or what a mask file or prune.json keeps.

        Raises:
            MaskError: There is no such file, or it holds no mask of this space.
        """
        if name == UNPRUNED:
            return SpaceMask.full(self.space)
        if name == HALF:
            rng = np.random.default_rng(self.seed)
            arrays = {}
            for cell in self.space.cells:
                shape = (len(cell.edges), len(cell.ops))
                arrays[cell.name] = rng.random(shape).argsort(axis=1) < HALF_KEPT
            return SpaceMask.from_arrays(self.space, arrays)
        try:
            return SpaceMask.load(self.space, name)
        except MaskError as error:
            raise MaskError(
                f"mask {name!r} is not {UNPRUNED!r}, {HALF!r} or a file with a mask of "
                f"this space: {error}"
            ) from None
