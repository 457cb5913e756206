"""How a cell's operations are run: engines differ in order and storage alone.

`loop`: one after another, each computed again in the backward pass. `waves`: all at
once whose sources exist. `coded`: the architecture is an argument.
"""

from typing import Literal

Remat = Literal["none", "op", "wave", "cell"]
"""What is computed again in the backward pass instead of being stored: nothing, each
operation, each wave of operations, or each cell."""

Dtype = Literal["float32", "bfloat16"]
"""What a supernet computes in; float64 images are left alone."""
