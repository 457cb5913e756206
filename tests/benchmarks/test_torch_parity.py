"""The same weights and images give what PyTorch gives: losses, gradients, one step."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nas_jax.networks import (
    Supernet,
    abstract_variables,
    init_alphas,
    init_variables,
    mixture_weights,
    num_parameters,
    to_edges,
)
from nas_jax.oneshot import OneShotSearch
from nas_jax.spaces import SpaceMask, darts_space
from nas_jax.training import alpha_adam, loss_and_accuracy, sgd_cosine

torch = pytest.importorskip(
    "torch", reason="needs PyTorch: pip install -e '.[benchmark]'"
)

from benchmarks import torch_darts, torch_step  # noqa: E402

SPACE = darts_space(2)
FULL = SpaceMask.full(SPACE)
CHANNELS, CELLS, CLASSES, BATCH, SIZE = 4, 3, 5, 4, 8
TOLERANCE, EXACT = 1e-4, 1e-6
"""In float32 and in float64, where PyTorch's clipping adds 1e-6 to the norm."""


def pruned_mask() -> SpaceMask:
    """Three to five operations an edge, every operation somewhere in either cell."""
    rng = np.random.default_rng(0)
    arrays = {}
    for cell in SPACE.cells:
        kept = np.zeros((len(cell.edges), len(cell.ops)), bool)
        for edge, row in enumerate(kept):
            row[rng.choice(len(cell.ops), 3 + edge % 3, replace=False)] = True
        assert kept.any(axis=0).all()
        arrays[cell.name] = kept
    return SpaceMask.from_arrays(SPACE, arrays)


MASKS = {"unpruned": FULL, "pruned": pruned_mask()}


class Pair(NamedTuple):
    """Both libraries' supernets with the same weights and alphas.

    Batches are `(images, labels)`, a training and a validation one, in each library's
    own layout.
    """

    network: Supernet
    params: Any
    alphas: dict[str, jax.Array]
    batches: list[Any]
    torch: torch_step.FirstOrderStep
    torch_batches: list[Any]


def flat(tree: Any) -> dict[tuple[str, ...], np.ndarray]:
    return {
        tuple(key.key for key in path): np.asarray(leaf)
        for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]
    }


def assert_close(ours: Any, theirs: Any, tolerance: float, what: Any = "") -> None:
    """The tolerance is relative to the largest magnitude in the array."""
    ours, theirs = np.asarray(ours), np.asarray(theirs)
    assert (ours.shape, ours.dtype) == (theirs.shape, theirs.dtype), what
    error, scale = np.max(np.abs(ours - theirs)), np.max(np.abs(theirs))
    assert scale > 0, what
    assert error <= tolerance * scale, f"{what}: {error} of {scale}"


def set_torch(
    step: torch_step.FirstOrderStep, network: Supernet, params: Any, alphas: Any
) -> None:
    """Give PyTorch our weights and alphas."""
    torch_darts.load_edges(step.network, to_edges(network, params))
    with torch.no_grad():
        for name, alpha in alphas.items():
            step.alphas[name].copy_(torch.tensor(np.asarray(alpha)))


def make_pair(mask: SpaceMask, dtype: str) -> Pair:
    rng = np.random.default_rng(1)
    # Continuous values: of equal maxima the two libraries choose differently.
    images = rng.normal(size=(2, BATCH, SIZE, SIZE, 3)).astype(dtype)
    labels = rng.integers(CLASSES, size=(2, BATCH)).astype(np.int32)
    network = Supernet(mask, CHANNELS, CELLS, CLASSES)
    # Far from equal, so that every operation's gradient differs.
    alphas = init_alphas(SPACE, jax.random.key(2))
    alphas = {name: 500 * alpha.astype(dtype) for name, alpha in alphas.items()}
    shapes = abstract_variables(network, images[0])
    params = init_variables(jax.random.key(3), shapes)["params"]
    params["classifier"]["kernel"] *= 5  # Gradients that need clipping.
    reference = torch_darts.Supernet(mask, CHANNELS, CELLS, CLASSES)
    reference.to(getattr(torch, dtype))
    step = torch_step.FirstOrderStep(reference, mask)
    set_torch(step, network, params, alphas)
    torch_images = torch.tensor(images).permute(0, 1, 4, 2, 3).contiguous()
    torch_labels = torch.tensor(labels, dtype=torch.long)
    return Pair(
        network,
        params,
        alphas,
        [(jnp.asarray(x), jnp.asarray(y)) for x, y in zip(images, labels, strict=True)],
        step,
        list(zip(torch_images, torch_labels, strict=True)),
    )


@pytest.mark.parametrize("name", MASKS)
def test_logits_loss_and_gradients(name: str) -> None:
    pair = make_pair(MASKS[name], "float32")
    live = pair.network.mask.arrays()

    @jax.jit
    def ours(params: Any, alphas: Any, images: Any, labels: Any) -> Any:
        def loss(params: Any, alphas: Any) -> Any:
            weights = mixture_weights(alphas, live)
            logits = pair.network.apply({"params": params}, images, weights)
            return loss_and_accuracy(logits, labels)[0], logits

        return jax.value_and_grad(loss, argnums=(0, 1), has_aux=True)(params, alphas)

    (loss, logits), gradients = ours(pair.params, pair.alphas, *pair.batches[0])
    their_loss, their_logits = pair.torch.loss(pair.torch_batches[0])
    their_loss.backward()
    assert np.std(logits) > 1e-2
    assert_close(logits, their_logits.detach(), TOLERANCE)
    assert float(loss) == pytest.approx(their_loss.item(), rel=TOLERANCE)
    theirs = torch_darts.edge_gradients(pair.torch.network)
    by_edge = flat(to_edges(pair.network, gradients[0]))
    assert set(by_edge) == set(theirs)
    for path, gradient in by_edge.items():
        assert_close(gradient, theirs[path], TOLERANCE, path)
    for cell, gradient in gradients[1].items():
        assert_close(gradient, pair.torch.alphas[cell].grad, TOLERANCE, cell)


@pytest.mark.parametrize(
    "name", ["pruned", pytest.param("unpruned", marks=pytest.mark.slow)]
)
def test_first_order_steps(name: str) -> None:
    """What two of them change: only the second shows momentum.

    In float64: an activation that lies within rounding of a kink, where the gradient
    jumps, is not rare among half a million in float32, and steps make it likelier.
    """
    with jax.enable_x64(True):
        pair = make_pair(MASKS[name], "float64")
        weights, _ = sgd_cosine(0.025, 100, steps_per_epoch=100)
        algorithm = OneShotSearch(pair.network, weights, alpha_adam())
        state = algorithm.init(jax.random.key(0), (SIZE, SIZE, 3))
        state = jax.tree.map(
            lambda x: x.astype("float64") if x.dtype == "float32" else x, state
        )._replace(params=pair.params, alphas=pair.alphas)
        step = jax.jit(algorithm.step)
        for _ in range(2):
            state, metrics = step(state, *pair.batches, jax.random.key(1))
            losses = pair.torch(*pair.torch_batches)
            for key, loss in zip(("train_loss", "valid_loss"), losses, strict=True):
                assert float(metrics[key]) == pytest.approx(loss, rel=EXACT)
            clipped = [p.grad for p in pair.torch.network.parameters()]
            assert torch.nn.utils.get_total_norm(clipped).item() == pytest.approx(5)
        start, ours = (
            flat(to_edges(pair.network, params))
            for params in (pair.params, state.params)
        )
    theirs = torch_darts.edge_values(pair.torch.network)
    assert set(ours) == set(theirs)
    for path, value in start.items():
        assert_close(ours[path] - value, theirs[path] - value, EXACT, path)
    for cell, value in pair.alphas.items():
        moved = pair.torch.alphas[cell].detach().numpy() - np.asarray(value)
        assert_close(np.asarray(state.alphas[cell] - value), moved, EXACT, cell)


def test_parameter_counts() -> None:
    images = jax.ShapeDtypeStruct((2, 32, 32, 3), jnp.float32)
    counts = []
    for mask in (MASKS["pruned"], SpaceMask.full(darts_space())):
        reference = torch_darts.Supernet(mask, 16, 8, 10)
        counts.append(sum(p.numel() for p in reference.parameters()))
        shapes = abstract_variables(Supernet(mask, 16, 8, 10), images)
        assert num_parameters({"params": shapes["params"]}) == counts[-1]
    assert counts[1] == 1_930_618


def test_saved_bytes() -> None:
    """Shared storage counts once, parameters do not, and what was freed neither."""
    weight = torch.ones(100, requires_grad=True)
    x = torch.ones(100)

    def run() -> None:
        for _ in range(2):
            square = (weight * weight * x).square()  # weight, x, the product
            (square * x).sum().backward()  # x once more

    assert torch_step.saved_bytes(run, [weight]) == 2 * 100 * 4
    assert torch_step.saved_bytes(run, []) == 3 * 100 * 4
