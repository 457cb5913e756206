"""The discrete networks of a DARTS space, all of them, as one program.

Liu et al. 2019 (arXiv 1806.09055), section 2.1, and cnn/model.py of its code. The
genotype is an argument, so scoring another one compiles nothing; a gene computes the
one operation that it has. Under `vmap` over architectures every operation is computed
and one is selected.

Shapes: B batch, H and W image, G genes of a cell, 2 cells of the space.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from nas_jax.errors import ConfigError, GenotypeError
from nas_jax.networks.backbone import STEM_MULTIPLIER, check_image, places
from nas_jax.networks.coded_cell import CodedCell, fan_ins, rows_of
from nas_jax.networks.family import (
    check_codes,
    observed_classifier,
    observed_stem,
)
from nas_jax.networks.layers import Norm
from nas_jax.networks.observed import Observed, Seen
from nas_jax.networks.operations import NETWORK_OPS
from nas_jax.networks.plan import SKIP
from nas_jax.spaces import NONE, Genotype, SearchSpace, darts_space


class DartsFamily(nn.Module):
    """The network of any genotype: stem, stack of cells, classifier.

    The network of `DerivedNetwork` without running statistics, and without parameters
    in the normalisation of its cells: as NAS-Bench-301's proxies were computed. All
    nodes of a cell are its output. The family is there to be scored and to share
    weights.

    Attributes:
        channels: Channels of the first cell's states (DARTS: 36).
        layers: Number of cells (DARTS: 20).
        num_classes: Number of logits.
        space: A DARTS space.
        norm: What batch normalisation does.
    """

    channels: int = 16
    layers: int = 8
    num_classes: int = 10
    space: SearchSpace = darts_space()
    norm: Norm = "batch"

    @nn.compact
    def __call__(
        self,
        images: jax.Array,
        operations: jax.Array,
        sources: jax.Array,
        gates: Sequence[jax.Array] | None = None,
    ) -> Observed:
        """The logits of an architecture, and all that proxies ask for.

        What nobody reads is not in the compiled program.

        Args:
            images: `[B, H, W, image channels]`, float.
            operations: Each gene's operation, `[2, G]` int32; may be traced. See
                `darts_codes`.
            sources: State that each gene reads, `[2, G]` int32, below the gene's node;
                may be traced.
            gates: See `Observed`: one array for each entry of its `channels`.

        Raises:
            ConfigError: If the image cannot be halved as often as there are
                reduction cells, if the space is not one of DARTS, or if the operations
                and sources are not those of one architecture.
        """
        check_image(images.shape[1], images.shape[2], self.layers)
        self._check(operations, sources)
        seen = Seen(gates)
        stem = STEM_MULTIPLIER * self.channels
        before = last = observed_stem(images, stem, self.norm, seen)
        for index, place in enumerate(places(self.channels, self.layers)):
            row = _row(self.space, place.name)
            spec = self.space.cells[row]
            cell = CodedCell(spec, place, self.norm, name=f"cell_{index}")
            result = cell(before, last, operations[row], sources[row], seen)
            before, last = last, result
        return observed_classifier(last, self.num_classes, seen)

    @property
    def code_limits(self) -> dict[str, np.ndarray]:
        """What an architecture's arrays are below, by name."""
        cells = self.space.cells
        kinds = [[len(c.selectable)] * len(c.gene_nodes) for c in cells]
        nodes = [c.gene_nodes for c in cells]
        return {"operations": np.array(kinds), "sources": np.array(nodes)}

    def _check(self, operations: jax.Array, sources: jax.Array) -> None:
        _check_space(self.space)
        codes = {"operations": operations, "sources": sources}
        check_codes(codes, self.code_limits)

    def macs(
        self, image_shape: tuple[int, ...], operations: jax.Array, sources: jax.Array
    ) -> jax.Array:
        """Multiply-accumulates of an architecture for one image.

        Those of convolutions, padding included, and of the classifier, whose biases
        are one each.

        Args:
            image_shape: Height, width and channels.
            operations: `[2, G]` int32, may be traced.
            sources: `[2, G]` int32, may be traced.

        Returns:
            A scalar of JAX's default float.

        Raises:
            ConfigError: If the image cannot be halved as often as there are
                reduction cells, if the space is not one of DARTS, or if the operations
                and sources are not those of one architecture.
        """
        height, width, depth = image_shape
        check_image(height, width, self.layers)
        self._check(operations, sources)
        before = last = STEM_MULTIPLIER * self.channels
        total = jnp.asarray(9 * depth * last * height * width, float)
        for place in places(self.channels, self.layers):
            total += (before + last) * place.channels * height * width
            if place.reduction:
                height, width = height // 2, width // 2
            row = _row(self.space, place.name)
            spec = self.space.cells[row]
            genes = rows_of(spec, place, operations[row], sources[row])
            fan_in = jnp.asarray(fan_ins(spec.selectable, place.channels))[genes]
            total += place.channels * height * width * jnp.sum(fan_in.astype(float))
            before, last = last, spec.num_nodes * place.channels
        return total + (last + 1) * self.num_classes


def darts_codes(genotype: Genotype) -> tuple[np.ndarray, np.ndarray]:
    """A genotype as a `DartsFamily` reads it.

    Returns:
        Operations, as their index among the selectable ones, and source states, of
        each gene: int32 `[2, G]`, cells in the order of the space, genes in their
        canonical order. Equal genotypes have equal codes, and so use equal weights.

    Raises:
        GenotypeError: If the output of a cell is not all of its nodes.
    """
    cells = genotype.canonical().cells
    for spec, cell in zip(genotype.space.cells, cells, strict=True):
        if cell.concat != spec.output:
            raise GenotypeError(
                f"cell {cell.name!r} concatenates the states {cell.concat}; a family "
                f"of networks has {spec.output}, all nodes; build DerivedNetwork for "
                "this genotype"
            )
    pairs = [
        [(spec.selectable.index(op), source) for op, source in cell.genes]
        for spec, cell in zip(genotype.space.cells, cells, strict=True)
    ]
    codes = np.array(pairs, np.int32)
    return codes[..., 0], codes[..., 1]


def live_operations(
    network: DartsFamily,
    params: Mapping[str, Any],
    operations: jax.Array,
    sources: jax.Array,
) -> dict[str, Any]:
    """1 for every layer that an architecture has, else 0.

    Args:
        network: The family.
        params: Its parameters, values or shapes.
        operations: `[2, G]` int32, may be traced.
        sources: `[2, G]` int32, may be traced.

    Returns:
        The tree of `params` with float32 arrays: `[G]` for what is stacked, `[1]` for
        the preprocessing of cells, and `[]` for all else.
    """
    cells = places(network.channels, network.layers)

    def entry(path: tuple[Any, ...], leaf: Any) -> jax.Array:
        module, name = path[0].key, path[1].key
        if not module.startswith("cell_"):
            return jnp.ones(())
        if name.startswith("preprocess"):
            return jnp.ones(leaf.shape[:1])
        row = _row(network.space, cells[int(module.removeprefix("cell_"))].name)
        spec = network.space.cells[row]
        op = next(o for o in spec.selectable if name.startswith(f"{o}_"))
        chosen = operations[row] == spec.selectable.index(op)
        if op == SKIP:  # An identity has no parameters.
            chosen &= sources[row] < spec.num_inputs
        return chosen.astype(jnp.float32)

    return jax.tree_util.tree_map_with_path(entry, dict(params))


def norm_parameters(params: Mapping[str, Any], live: Mapping[str, Any]) -> jax.Array:
    """Factors of the live normalisations in cells, which a `DartsFamily` has none of.

    The discrete network of an architecture (`DerivedNetwork`; DARTS, cnn/model.py) has
    a scale and a shift for each channel behind each of its 1x1 convolutions.

    Args:
        params: Parameters of a `DartsFamily`, values or shapes.
        live: What `live_operations` returned.

    Returns:
        A float scalar.
    """

    def one(path: tuple[Any, ...], alive: jax.Array, leaf: Any) -> jax.Array:
        in_cell = path[0].key.startswith("cell_")
        if not in_cell or "pointwise" not in path[-1].key:
            return jnp.zeros(())
        return jnp.sum(alive) * 2.0 * leaf.shape[-1]

    counts = jax.tree_util.tree_map_with_path(one, dict(live), dict(params))
    return jnp.sum(jnp.stack(jax.tree.leaves(counts)))


def _row(space: SearchSpace, cell: str) -> int:
    return [c.name for c in space.cells].index(cell)


def _check_space(space: SearchSpace) -> None:
    names = [cell.name for cell in space.cells]
    if names != ["normal", "reduce"] or any(c.num_inputs != 2 for c in space.cells):
        raise ConfigError(
            f"space {space.name!r} has the cells {names}; a family of DARTS networks "
            "needs a normal and a reduce cell of two inputs, as darts_space() has"
        )
    allowed = [op for op in NETWORK_OPS if op != NONE]
    unknown = {o for c in space.cells for o in c.selectable} - set(allowed)
    if unknown:
        raise ConfigError(
            f"a family of DARTS networks has no operations {sorted(unknown)} of space "
            f"{space.name!r}; allowed: {', '.join(allowed)}"
        )
