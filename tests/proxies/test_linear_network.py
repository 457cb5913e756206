"""synflow's network, in which batch normalisation does nothing, in every family.

Each is written again plainly, without any normalisation; the scales and shifts of the
family's are not 1 and 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nas_jax.contrib.te_nas import ThinDarts
from nas_jax.networks import (
    Candidates,
    Size,
    Supernet,
    mixture_weights,
    to_edges,
    zero_alphas,
)
from nas_jax.networks.darts.stack import places
from nas_jax.proxies import Batch, ScoredNetwork, logsynflow, synflow
from nas_jax.scoring import ScoredArchitectures, scored_network
from nas_jax.spaces import Genotype, SpaceMask, darts_space, nasbench201_space
from nas_jax.spaces.nasbench201 import NASBENCH201_OPS
from tests.contrib import thin_reference

FAST = {"xla_backend_optimization_level": 0}
KEY = jax.random.key(0)
SHAPE = (8, 8, 2)
ONES = np.ones((1, *SHAPE))
BATCH = Batch(jnp.zeros((2, *SHAPE)), jnp.zeros(2, int))
SPACE = darts_space(
    2, ("none", "max_pool_3x3", "skip_connect", "sep_conv_3x3", "dil_conv_5x5")
)
BENCH = nasbench201_space()
Tree = Any
Weights = Mapping[str, np.ndarray]


def random_like(tree: Tree) -> Tree:
    rng = np.random.default_rng(0)
    return jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape)), tree)


def check(network: ScoredNetwork, plain: Any, params: Tree) -> None:
    """Both scores of a network, and those of a plain function of its parameters."""
    paths = jax.tree_util.tree_leaves_with_path(params)
    factors = [leaf for path, leaf in paths if path[-1].key in ("scale", "shift")]
    assert all(np.abs(np.abs(factor) - 1).min() > 1e-6 for factor in factors)

    def scores() -> Any:
        return jnp.stack([f(network, BATCH, KEY) for f in (synflow, logsynflow)])

    def expected(params: Tree) -> Any:
        sizes = jax.tree.map(jnp.abs, params)
        slopes = jax.grad(lambda p: jnp.sum(plain(p)))(sizes)
        terms = [
            (jnp.sum(w * jnp.abs(g)), jnp.sum(w * jnp.log1p(jnp.abs(g))))
            for (path, w), g in zip(
                jax.tree_util.tree_leaves_with_path(sizes),
                jax.tree.leaves(slopes),
                strict=True,
            )
            if path[-1].key not in ("scale", "shift", "bias")
        ]
        return jnp.sum(jnp.asarray(terms), 0)

    found = jax.jit(scores, compiler_options=FAST)()
    again = jax.jit(expected, compiler_options=FAST)(params)
    np.testing.assert_allclose(found, again, rtol=1e-9)


def nasbench201(params: Tree, weights: Any, order: Any = range(6)) -> Any:
    """Logits of the cells' edges, weighted; the kernels are stacked in an order."""

    def conv(x: Any, kernel: Any, stride: int = 1) -> Any:
        return thin_reference.conv(jax.nn.relu(x), kernel, len(kernel) // 2, stride)

    def cell(x: Any, stage: int, index: int) -> Any:
        nodes = [x, 0 * x, 0 * x, 0 * x]
        for edge, (source, target) in enumerate(BENCH.cells[0].edges):
            for column, op in enumerate(NASBENCH201_OPS):
                if op == "none":
                    continue
                y = nodes[source]
                if op == "avg_pool_3x3":
                    y = thin_reference.pool(y, op, 1)
                elif op != "skip_connect":
                    y = conv(
                        y,
                        params[f"stage_{stage}"][op]["kernel"][
                            index, order.index(edge)
                        ],
                    )
                nodes[target] = nodes[target] + weights[edge][column] * y
        return nodes[3]

    x = thin_reference.conv(ONES, params["stem"]["kernel"], 1)
    for stage in range(3):
        if stage:
            own = dict(params[f"reduce_{stage}"])
            own |= {name: own[name]["kernel"] for name in "ab"}
            corners = [x[:, i::2, j::2] for i in (0, 1) for j in (0, 1)]
            x = sum(corners) / 4 @ own["shortcut"] + conv(
                conv(x, own["a"], 2), own["b"]
            )
        for index in range(len(params["stage_0"]["nor_conv_3x3"]["kernel"])):
            x = cell(x, stage, index)
    last = params["classifier"]
    return jnp.mean(jax.nn.relu(x), (1, 2)) @ last["kernel"] + last["bias"]


def darts(edges: Tree, weights: Weights, layers: int) -> Any:
    """Logits of cells whose parameters are by edge and operation."""
    before = last = thin_reference.conv(ONES, edges["stem"]["kernel"], 1)
    for index, place in enumerate(places(2, layers)):
        own = edges[f"cell_{index}"]
        spec = SPACE.cell(place.name)
        states = {
            i: linear(x, own[f"preprocess_{i}"]) for i, x in enumerate((before, last))
        }
        for edge, (source, target) in enumerate(spec.edges):
            stride = 2 if place.reduction and source < spec.num_inputs else 1
            for column, op in enumerate(spec.ops):
                weight = weights[place.name][edge, column]
                if op == "none" or not weight:
                    continue
                mine = own.get(f"edge_{edge}", {}).get(op, {})
                y = weight * operation(op, states[source], mine, stride)
                states[target] = states[target] + y if target in states else y
        before, last = last, jnp.concatenate([states[n] for n in spec.output], -1)
    head = edges["classifier"]
    return jnp.mean(last, (1, 2)) @ head["kernel"] + head["bias"]


def linear(x: Any, own: Tree) -> Any:
    """ReLU and a 1x1 convolution or a factorised reduction."""
    x = jax.nn.relu(x)
    if "pointwise" in own:
        return x @ own["pointwise"]
    moved = jnp.pad(x, ((0, 0), (0, 1), (0, 1), (0, 0)))[:, 1:, 1:]
    halves = [
        image[:, ::2, ::2] @ own[f"pointwise_{name}"]
        for image, name in ((x, "even"), (moved, "odd"))
    ]
    return jnp.concatenate(halves, -1)


def operation(op: str, x: Any, own: Tree, stride: int) -> Any:
    if "pool" in op:
        return thin_reference.pool(x, op, stride)
    if op == "skip_connect":
        return x if stride == 1 else linear(x, own)
    size, dilation = int(op[-1]), 2 if op.startswith("dil") else 1
    for stage in "01":
        if f"depthwise_{stage}" in own:
            kernel, pad = own[f"depthwise_{stage}"][:, :, None], dilation * (size // 2)
            x = thin_reference.conv(jax.nn.relu(x), kernel, pad, stride, dilation)
            x, stride = x @ own[f"pointwise_{stage}"], 1
    return x


@pytest.fixture(autouse=True)
def double() -> Any:
    with jax.enable_x64(True):
        yield


def live_of(space: Any, *dead: tuple[str, int, str]) -> Weights:
    """All operations but some: 0 or 1."""
    return SpaceMask.full(space).drop([*dead]).arrays()


def even(space: Any, live: Weights) -> Weights:
    weights = mixture_weights(zero_alphas(space), live)
    return {name: np.asarray(w) for name, w in weights.items()}


def test_nasbench201_family() -> None:
    family = ScoredArchitectures(BENCH, 3, channels=2, cells=1)
    params = random_like(family.init(KEY, SHAPE))
    operations = np.array([3, 1, 2, 4, 0, 3], np.int32)
    network = family.scored(params, {"operations": operations})
    check(network, lambda p: nasbench201(p, np.eye(5)[operations]), params)


def test_nasbench201_supernet() -> None:
    supernet = Candidates(SpaceMask.full(BENCH), Size(2, 1), 3)
    params = random_like(supernet.init(KEY, SHAPE))
    live = live_of(BENCH, ("cell", 0, "nor_conv_3x3"), ("cell", 5, "skip_connect"))
    weights = even(BENCH, live)["cell"]
    network = scored_network(supernet, params, live)
    check(network, lambda p: nasbench201(p, weights, (0, 1, 3, 2, 4, 5)), params)


def test_darts_supernet() -> None:
    mask = SpaceMask.full(SPACE)
    supernet, candidates = Supernet(mask, 2, 3, 3), Candidates(mask, Size(2, 3), 3)
    params = random_like(candidates.init(KEY, SHAPE))
    live = live_of(SPACE, ("normal", 0, "sep_conv_3x3"), ("reduce", 3, "skip_connect"))
    weights = even(SPACE, live)
    check(
        scored_network(candidates, params, live),
        lambda p: darts(to_edges(supernet, p), weights, 3),
        params,
    )


def test_darts_family() -> None:
    genes = [("sep_conv_3x3", 0), ("skip_connect", 1)]
    genes += [("dil_conv_5x5", 2), ("max_pool_3x3", 0)]
    reduce = [("skip_connect", 0), ("dil_conv_5x5", 1)]
    reduce += [("sep_conv_3x3", 1), ("skip_connect", 2)]
    text = f"Genotype(normal={genes}, reduce={reduce}, "
    genotype = Genotype.parse(SPACE, text + "normal_concat=[2,3], reduce_concat=[2,3])")
    family = ScoredArchitectures(SPACE, 3, channels=2, cells=3)
    params = random_like(family.init(KEY, SHAPE))
    codes = {name: rows[0] for name, rows in family.encode([genotype]).items()}
    operations, sources = codes["operations"], codes["sources"]
    weights = {
        spec.name: np.zeros((len(spec.edges), len(spec.ops))) for spec in SPACE.cells
    }

    def by_edge(params: Tree) -> Tree:
        """A gene's row of each kind, to the edge that it is."""
        edges = dict(params)
        for index, place in enumerate(places(2, 3)):
            row = [spec.name for spec in SPACE.cells].index(place.name)
            spec, own = SPACE.cells[row], params[f"cell_{index}"]
            cell: Tree = {name: own[name] for name in ("preprocess_0", "preprocess_1")}
            for gene, target in enumerate(spec.gene_nodes):
                edge = spec.edges.index((int(sources[row, gene]), target))
                op = spec.selectable[operations[row, gene]]
                weights[spec.name][edge, spec.ops.index(op)] = 1
                kinds = {k: p[gene] for k, p in own.get(op, {}).items()}
                cell[f"edge_{edge}"] = {op: kinds}
            edges[f"cell_{index}"] = cell
        return edges

    network = family.scored(params, codes)
    check(network, lambda p: darts(by_edge(p), weights, 3), params)


def test_thin_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(thin_reference, "norm", lambda x, params: x)
    network = ThinDarts(SPACE, 3)
    params = random_like(network.abstract(SHAPE[-1]))
    live = live_of(SPACE, ("normal", 0, "sep_conv_3x3"), ("reduce", 3, "skip_connect"))
    weights = even(SPACE, live)
    check(
        scored_network(network, params, live),
        lambda p: thin_reference.logits(SPACE, p, jnp.asarray(ONES), weights),
        params,
    )
