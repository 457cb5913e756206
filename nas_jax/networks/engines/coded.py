"""A discrete cell whose architecture is data: one program for all of them.

A gene computes the one operation that it has (`choose`). A node is the sum of its
genes: a discrete cell has no architecture weights. Where genes always read the same
states they are computed one by one, otherwise as turns of one loop.

Shapes: G genes, S states, B batch, H and W image, C channels.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from nas_jax.errors import ConfigError
from nas_jax.networks.kernels.choice import choose
from nas_jax.networks.layers import Layers, Norm, Params
from nas_jax.networks.ops import Anatomy, Form, anatomy, get_op
from nas_jax.networks.parameters import Specs, declare, stacked
from nas_jax.networks.record import Observed, Recorder
from nas_jax.spaces import CellSpec, Genotype

Codes = Mapping[str, Any]
"""`operations` `[G]`, index of each gene's operation among the selectable ones, and
`sources` `[G]`, the state that each gene reads; both int32, may be traced."""


@dataclasses.dataclass(frozen=True)
class CodedCell:
    """All discrete cells of a cell's space.

    Attributes:
        spec: The cell of the space; its `output` is concatenated.
        channels: Channels of its states.
        halves: Whether what reads an input has stride 2.
        affine: Whether normalisations have parameters.
    """

    spec: CellSpec
    channels: int
    halves: bool = False
    affine: bool = False

    @functools.cached_property
    def forms(self) -> list[Form]:
        """All operations with stride 1, then, in a cell that halves, with 2."""
        strides = (1, 2) if self.halves else (1,)
        return [get_op(o).form(s) for s in strides for o in self.spec.selectable]

    @functools.cached_property
    def inside(self) -> list[Anatomy]:
        """What is inside of each form."""
        return [anatomy(form, self.channels) for form in self.forms]

    def sources(self, codes: Codes) -> Any:
        """States that the genes read: constants where an architecture has no choice."""
        if not self.spec.keeps_all_edges:
            return codes["sources"]
        return np.array([source for source, _ in self.spec.edges])

    def specs(self) -> Specs:
        """Parameters of every operation for each gene, which uses those of one."""
        found = {}
        for op in self.spec.selectable:
            # A gene's source decides its stride, so it has what either needs.
            both = [get_op(op).form(s) for s in ((1, 2) if self.halves else (1,))]
            own: Specs = {}
            for form in both:
                own |= form.specs(self.channels, self.affine)
            if own:
                found[op] = stacked(own, len(self.spec.gene_nodes))
        return found

    def rows(self, codes: Codes) -> jax.Array:
        """Which of `forms` each gene has, `[G]`."""
        operations = jnp.asarray(codes["operations"])
        if not self.halves:
            return operations
        halving = self.sources(codes) < self.spec.num_inputs
        return operations + len(self.spec.selectable) * halving

    def live(self, codes: Codes) -> dict[str, jax.Array]:
        """0/1 `[G]` by operation with parameters: whether a gene uses its own."""
        rows = self.rows(codes)
        parametric = jnp.array([form.is_parametric for form in self.forms])
        chosen = parametric[rows].astype(jnp.float32)
        return {
            op: chosen * (codes["operations"] == self.spec.selectable.index(op))
            for op in self.specs()
        }

    def norm_parameters(self, codes: Codes) -> jax.Array:
        """Factors that the genes' normalisations have in a discrete network."""
        counts = [
            part.norms + form.is_normalised(mixed=False)
            for form, part in zip(self.forms, self.inside, strict=True)
        ]
        norms = jnp.sum(jnp.array(counts, float)[self.rows(codes)])
        return norms * 2 * self.channels

    def __call__(
        self,
        inputs: Sequence[jax.Array],
        codes: Codes,
        params: Params,
        layers: Layers,
        key: jax.Array | None = None,
    ) -> jax.Array:
        """The output of the cell.

        Args:
            inputs: Input states, `[B, H, W, C]` each.
            codes: The architecture.
            params: As `specs` describes them.
            layers: How layers are computed.
            key: For operations that draw.
        """
        spec, rows = self.spec, self.rows(codes)
        first = jnp.stack(inputs)
        gates = self._gates(rows, first.shape, layers.record)
        keys = None
        if any(form.draws for form in self.forms):
            assert key is not None
            keys = jax.random.split(key, len(spec.gene_nodes))
        genes = (rows, params, gates, keys)
        if spec.keeps_all_edges and not self.halves:
            nodes, notes = self._one_by_one(first, genes, layers.norm)
        else:
            nodes, notes = self._loop(first, self.sources(codes), genes, layers.norm)
        if layers.record is not None:
            self._tell(layers.record, first, nodes, rows, codes, notes)
        return jnp.concatenate([nodes[n - spec.num_inputs] for n in spec.output], -1)

    def _one_by_one(
        self, inputs: jax.Array, genes: Any, norm: Norm
    ) -> tuple[list[jax.Array], Any]:
        states = dict(enumerate(inputs))
        notes = []
        for index, (source, target) in enumerate(self.spec.edges):
            own = jax.tree.map(lambda leaf, i=index: leaf[i], genes)
            result, *told = self._gene([states[source]], own, norm)
            states[target] = states[target] + result if target in states else result
            notes.append(tuple(told))
        nodes = [states[n] for n in self.spec.nodes]
        return nodes, jax.tree.map(lambda *parts: jnp.stack(parts), *notes)

    def _loop(
        self, inputs: jax.Array, read_states: Any, genes: Any, norm: Norm
    ) -> tuple[list[jax.Array], Any]:
        """The states are one array; a cell that halves has its inputs apart from it."""
        spec = self.spec
        targets = np.array(spec.gene_nodes)
        before = spec.num_inputs if self.halves else 0
        step = 2 if self.halves else 1
        batch, height, width, channels = inputs.shape[1:]
        size = (-(-height // step), -(-width // step))
        start = jnp.zeros((spec.num_nodes, batch, *size, channels), inputs.dtype)
        if not self.halves:
            start = jnp.concatenate([inputs, start])
        read = functools.partial(lax.dynamic_index_in_dim, keepdims=False)

        def turn(states: jax.Array, row: Any) -> Any:
            source, target, own = row
            sources = [read(states, jnp.maximum(source - before, 0))]
            if self.halves:
                sources.append(read(inputs, jnp.minimum(source, before - 1)))
            result, *told = self._gene(sources, own, norm)
            total = read(states, target - before) + result
            states = lax.dynamic_update_index_in_dim(states, total, target - before, 0)
            return states, tuple(told)

        rows = (jnp.asarray(read_states), jnp.asarray(targets), genes)
        states, notes = lax.scan(turn, start, rows)
        return [*states[-spec.num_nodes :]], notes

    def _gene(
        self, sources: list[jax.Array], own: Any, norm: Norm
    ) -> tuple[jax.Array, ...]:
        """Result of a gene, what its inner ReLUs receive, and variances.

        An operation and its normalisation are two choices, so that a backward pass
        computes no convolution again for the statistics of its result.

        Args:
            sources: What it reads with stride 1, and with stride 2 where it may halve.
            own: Row of `forms`, parameters by operation, gates and key.
            norm: What batch normalisation does.

        Returns:
            `[B, H, W, C]`, `[R, B, H, W, C]` and `[V + 1, C]`; zeros where there is
            none.
        """
        row, params, gates, key = own
        branches = [
            functools.partial(self._branch, index, norm)
            for index in range(len(self.forms))
        ]
        affine = {op: p["norm"] for op, p in params.items() if "norm" in p}
        params = {op: _without_norm(p) for op, p in params.items()}
        y, middle, inner = choose(branches, row, sources, params, gates, key)
        last = [form.is_normalised(mixed=False) for form in self.forms]
        factors = self._select(row, affine) if affine else None
        ends: list[Callable[..., Any]] = [
            _pass_on,
            functools.partial(_normalise, norm),
        ]
        chosen = jnp.array(last, jnp.int32)[row]
        result, variance = choose(ends, chosen, y, factors)
        return result, middle, jnp.concatenate([inner, variance[None]])

    def _branch(
        self,
        index: int,
        norm: Norm,
        sources: Sequence[jax.Array],
        params: Params,
        gates: jax.Array | None,
        key: jax.Array | None,
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        """One operation without its normalisation, and notes of one shape for all."""
        stride, column = divmod(index, len(self.spec.selectable))
        form, part = self.forms[index], self.inside[index]
        own = None if gates is None else [g[None] for g in gates[: len(part.fan_ins)]]
        record = Recorder(own)
        layers = Layers(norm, record, keys=None if key is None else key[None])
        x = sources[stride][None]
        if form.relu:
            x = nn.relu(x)
        mine = params.get(self.spec.selectable[column], {})
        stack = jax.tree.map(lambda p: p[None], mine)
        y = form.compute(x, stack, stride + 1, layers)[0]
        wide = jnp.promote_types(y.dtype, jnp.float32)
        relus = [x[0] for x, _ in record.notes.relu_inputs]
        variances = [v[0] for v, _ in record.notes.variances]
        missing = self._most("relus") - len(relus), self._most("norms") - len(variances)
        relus += [jnp.zeros(y.shape, y.dtype)] * missing[0]
        variances += [jnp.zeros(y.shape[-1:], wide)] * missing[1]
        middle = jnp.zeros((0, *y.shape), y.dtype)
        inner = jnp.zeros((0, y.shape[-1]), wide)
        return (
            y,
            jnp.stack(relus) if relus else middle,
            jnp.stack(variances) if variances else inner,
        )

    def _select(self, row: jax.Array, affine: Params) -> Params:
        """The factors of the operation of a row; any for one that has none."""
        (first, *rest) = affine.items()
        chosen = first[1]
        for op, factors in rest:
            is_op = row % len(self.spec.selectable) == self.spec.selectable.index(op)
            chosen = jax.tree.map(
                lambda a, b, i=is_op: jnp.where(i, a, b), factors, chosen
            )
        return chosen

    def _most(self, what: str) -> int:
        return max(getattr(part, what) for part in self.inside)

    def _table(self) -> np.ndarray:
        """Weights of one channel in each layer of each form, 0 for no such layer."""
        most = max(len(part.fan_ins) for part in self.inside)
        table = np.zeros((len(self.inside), most), np.int32)
        for row, part in zip(table, self.inside, strict=True):
            row[: len(part.fan_ins)] = part.fan_ins
        return table

    def _gates(
        self, rows: jax.Array, shape: tuple[int, ...], record: Recorder | None
    ) -> jax.Array | None:
        """Gates of the layers of each gene `[G, layers, B, C]`, None if none given."""
        table = self._table()
        if record is None or not table.shape[1]:
            return None
        fan_in = jnp.asarray(table)[rows]
        live = (fan_in > 0).astype(jnp.float32)
        _, batch, height, width, channels = shape
        step = 2 if self.halves else 1
        gates = record.layer(
            (live.size, batch, channels),
            fan_in.reshape(-1),
            live.reshape(-1),
            (height // step) * (width // step),
        )
        return None if gates is None else gates.reshape(*live.shape, batch, channels)

    def _tell(
        self,
        record: Recorder,
        inputs: jax.Array,
        nodes: list[jax.Array],
        rows: jax.Array,
        codes: Codes,
        notes: tuple[jax.Array, jax.Array],
    ) -> None:
        middle, variances = notes
        has = functools.partial(jnp.array, dtype=jnp.float32)
        behind = has([form.relu for form in self.forms])[rows]
        read = self.sources(codes)
        states = self.spec.num_inputs + len(nodes)
        counts = (jnp.arange(states)[:, None] == read).astype(behind.dtype) @ behind
        record.relu(inputs, counts[: len(inputs)])
        used = max(s for s, _ in self.spec.edges) + 1 - len(inputs)
        if used:
            some = counts[len(inputs) : len(inputs) + used]
            record.relu(jnp.stack(nodes[:used]), some)
        relus, norms = self._most("relus"), self._most("norms")
        if relus:
            numbers = has([part.relus for part in self.inside])[rows]
            live = (jnp.arange(relus) < numbers[:, None]).astype(behind.dtype)
            record.relu(middle.reshape(-1, *middle.shape[2:]), live.reshape(-1))
        numbers = has([part.norms for part in self.inside])[rows]
        last = has([f.is_normalised(mixed=False) for f in self.forms])[rows]
        live = (jnp.arange(norms) < numbers[:, None]).astype(behind.dtype)
        live = jnp.concatenate([live, last[:, None]], 1)
        record.variance(variances.reshape(-1, variances.shape[-1]), live.reshape(-1))


class CodedNetwork(nn.Module):
    """All networks of a space, of one set of weights: the architecture is an argument.

    Normalisation keeps no running statistics: it is there to be scored and to share
    weights.

    Attributes:
        channels: Channels of the first cells.
        cells: Cells of the network, or of each stage where it has stages.
        num_classes: Number of logits.
        norm: What batch normalisation does.
    """

    channels: int = 16
    cells: int = 8
    num_classes: int = 10
    norm: Norm = "batch"

    @nn.compact
    def __call__(
        self,
        images: jax.Array,
        codes: Codes,
        gates: Sequence[jax.Array] | None = None,
    ) -> Observed:
        """The logits of an architecture, and all that proxies ask for.

        What nobody reads is not in the compiled program.

        Args:
            images: `[B, H, W, image channels]`, float.
            codes: A row of what `encode` returns; may be traced.
            gates: See `Observed`: one array for each entry of its `channels`.

        Raises:
            ConfigError: If the image cannot be halved as often as the network does, or
                the codes are not those of one architecture.
        """
        check_codes(codes, self.code_limits)
        params = declare(self, self.specs(images.shape[-1], images.dtype))["params"]
        layers = Layers(self.norm, Recorder(gates))
        return self.run(images, codes, params, layers)

    @property
    def code_limits(self) -> dict[str, np.ndarray]:
        """What an architecture's arrays are below, by name."""
        raise NotImplementedError

    def specs(self, depth: int, dtype: Any = jnp.float32) -> dict[str, Specs]:
        """Parameters of every operation of every gene, for so many image channels."""
        raise NotImplementedError

    def coded_cells(self, codes: Codes) -> dict[str, tuple[CodedCell, Codes, int]]:
        """Cell, its codes and repeats (0 for one) by name of its parameters."""
        raise NotImplementedError

    def run(
        self, images: jax.Array, codes: Codes, params: Params, layers: Layers
    ) -> Observed:
        """The forward pass."""
        raise NotImplementedError

    def encode(self, genotypes: Sequence[Genotype]) -> dict[str, np.ndarray]:
        """Genotypes as arrays by name, int32 `[N, ...]`.

        Raises:
            GenotypeError: A genotype is of another space, or cannot be encoded.
        """
        raise NotImplementedError

    def live(self, params: Params, codes: Codes) -> Any:
        """1 for every layer that an architecture has, else 0.

        Args:
            params: Parameters, values or shapes.
            codes: The architecture.

        Returns:
            The tree of `params` with float32 arrays: `[G]` for what is stacked by gene,
            `[N, G]` in a stage of N cells, and `[]` for all else.
        """
        live = jax.tree.map(lambda _: jnp.ones(()), params)
        for name, (cell, own, repeats) in self.coded_cells(codes).items():
            for op, chosen in cell.live(own).items():
                rows = jnp.tile(chosen, (repeats, 1)) if repeats else chosen
                live[name][op] = jax.tree.map(lambda _, r=rows: r, live[name][op])
        return live

    def unbuilt(self, codes: Codes) -> jax.Array:
        """Parameters of an architecture's network that are not here, a scalar."""
        del codes
        return jnp.zeros(())


def check_codes(codes: Codes, limits: Mapping[str, np.ndarray]) -> None:
    """Refuses codes that are not below their limits, as far as they are known.

    A branch that is not there would be taken for the last, without a word.

    Args:
        codes: One architecture's arrays by name; may be traced.
        limits: Arrays of their shapes, by name.

    Raises:
        ConfigError: Names the code, its place and what is allowed.
    """
    for name, limit in limits.items():
        if name not in codes:
            raise ConfigError(f"codes lack {name!r}; they have {[*codes]}")
        value = codes[name]
        whole = jnp.issubdtype(value.dtype, jnp.integer)
        if not whole or value.shape != limit.shape:
            raise ConfigError(
                f"codes {name!r} are of dtype {value.dtype} and shape {value.shape}; "
                f"those of one architecture are integers {limit.shape}, a row of what "
                "encode returns"
            )
        if isinstance(value, jax.core.Tracer):
            continue
        known = np.asarray(value)
        wrong = np.argwhere((known < 0) | (known >= limit))
        if len(wrong):
            at = tuple(wrong[0].tolist())
            raise ConfigError(
                f"codes {name!r} hold {known[at]} at {at}; allowed: 0 to "
                f"{limit[at] - 1}"
            )


def _normalise(
    norm: Norm, y: jax.Array, params: Params | None
) -> tuple[jax.Array, jax.Array]:
    record = Recorder()
    stack = None if params is None else {n: p[None] for n, p in params.items()}
    y = Layers(norm, record).normalise(y[None], stack)[0]
    return y, record.notes.variances[0][0][0]


def _pass_on(y: jax.Array, params: Params | None) -> tuple[jax.Array, jax.Array]:
    """What is not normalised, with variances of 0."""
    del params
    return y, jnp.zeros(y.shape[-1:], jnp.promote_types(y.dtype, jnp.float32))


def _without_norm(params: Params) -> Params:
    return {name: p for name, p in params.items() if name != "norm"}
