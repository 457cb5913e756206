"""Which example goes where: splits, and the order of examples in each epoch.

Every function is pure in its arguments, so that a resumed run sees the same batches.
Legend: S steps an epoch, B examples a batch.
"""

from __future__ import annotations

import math

import numpy as np

from nas_jax.data._random import Stream, generator
from nas_jax.data.labels import check_labels
from nas_jax.errors import DataError


def stratified_split(
    labels: np.ndarray, test_fraction: float, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Splits examples so that each class keeps its share of the test set.

    The test set has ceil(test_fraction * N) examples, shared among the classes by
    largest remainder; then each class gets at least one example in either part.

    Returns:
      int32 indices of the training and of the test examples, each in rising order.

    Raises:
      DataError: the fraction is out of range, the labels are no class numbers, or a
        class has fewer than 2 examples.
    """
    _check_fraction("test_fraction", test_fraction)
    labels = check_labels(labels, "the array of labels")
    counts = np.bincount(labels)
    if counts.min() < 2:
        label = int(counts.argmin())
        raise DataError(
            f"class {label} has {counts[label]} examples; a split by test_fraction "
            "needs at least 2 of each class. Add images or leave the class out."
        )
    # Rounding first, as 0.07 * 100 is 7.000000000000001.
    shares = np.round(counts * test_fraction, 9)
    num_test = np.floor(shares).astype(np.int64)
    wanted = math.ceil(round(len(labels) * test_fraction, 9))
    largest_remainders = np.argsort(num_test - shares, kind="stable")
    num_test[largest_remainders[: wanted - num_test.sum()]] += 1
    num_test = np.clip(num_test, 1, counts - 1)
    rng = generator(seed, Stream.STRATIFIED_SPLIT)
    is_test = np.zeros(len(labels), bool)
    for label, count in enumerate(num_test):
        is_test[rng.permutation(np.flatnonzero(labels == label))[:count]] = True
    train, test = (
        np.flatnonzero(part).astype(np.int32) for part in (~is_test, is_test)
    )
    return train, test


def bilevel_split(
    num_examples: int, train_fraction: float, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Splits the training set for bilevel search: weights learn on one part, alphas
    on the other.

    DARTS (arXiv 1806.09055, section 3.1) holds out half of the training data. The
    first floor(train_fraction * N) of a shuffled list of indices are for the weights.

    Returns:
      int32 indices for the weights and for the alphas. None is in both.

    Raises:
      DataError: the fraction or N is out of range, or a part would be empty.
    """
    _check_fraction("train_fraction", train_fraction)
    if not isinstance(num_examples, int | np.integer):
        raise DataError(
            f"num_examples is of type {type(num_examples).__name__}; it must be an "
            "integer, the number of training examples, such as len(labels)."
        )
    num_weights = math.floor(round(num_examples * train_fraction, 9))
    if not 0 < num_weights < num_examples:
        raise DataError(
            f"train_fraction={train_fraction} of {num_examples} training examples "
            "leaves no example for the weights or none for the alphas. Both need some: "
            "give more images or a fraction nearer to 0.5."
        )
    order = generator(seed, Stream.BILEVEL_SPLIT).permutation(num_examples)
    order = order.astype(np.int32)
    return order[:num_weights], order[num_weights:]


def epoch_order(
    seed: int,
    epoch: int,
    indices: np.ndarray,
    batch_size: int,
    *,
    stream: Stream = Stream.WEIGHT_BATCHES,
) -> np.ndarray:
    """The batches of one epoch: a pure function of the seed and the epoch.

    Each index comes at most once. The remainder that does not fill a batch is
    dropped; which examples those are changes with the epoch.

    Args:
      indices: integers `[N]`, the examples to draw from, each once.
      stream: another stream gives an independent order of the same epoch.

    Returns:
      int32 `[S, B]` with S = N // B.

    Raises:
      DataError: there are fewer examples than one batch, or they are no indices.
    """
    indices = check_indices(indices)
    num_steps = _num_batches(len(indices), batch_size)
    order = generator(seed, stream, epoch).permutation(indices)
    used = order[: num_steps * batch_size].astype(np.int32)
    return used.reshape(num_steps, batch_size)


def bilevel_epoch_order(
    seed: int,
    epoch: int,
    weight_indices: np.ndarray,
    alpha_indices: np.ndarray,
    batch_size: int,
) -> tuple[np.ndarray, np.ndarray]:
    """The batches of one search epoch, for the weights and for the alphas.

    An epoch is one pass over the examples of the weights. The alphas go on from one
    shuffled pass over their own examples to the next, across the ends of epochs, so
    all their examples are used equally often however long the two parts are. (The
    code of DARTS draws `next(iter(valid_queue))`, a fresh random batch each step.)

    Indices are those of `bilevel_split`; see `epoch_order`.

    Returns:
      Two int32 arrays `[S, B]`, with S = len(weight_indices) // B.

    Raises:
      DataError: a part has fewer examples than one batch, or holds no indices.
    """
    weight_batches = epoch_order(seed, epoch, weight_indices, batch_size)
    num_steps = len(weight_batches)
    batches_per_pass = _num_batches(len(alpha_indices), batch_size)
    start = epoch * num_steps
    first_pass = start // batches_per_pass
    last_pass = (start + num_steps - 1) // batches_per_pass
    passes = [
        epoch_order(
            seed, number, alpha_indices, batch_size, stream=Stream.ALPHA_BATCHES
        )
        for number in range(first_pass, last_pass + 1)
    ]
    offset = start - first_pass * batches_per_pass
    return weight_batches, np.concatenate(passes)[offset : offset + num_steps]


def check_indices(values: np.ndarray, num_examples: int | None = None) -> np.ndarray:
    """Indices of examples: integers `[N]`, each once, from 0 to below num_examples.

    Raises:
      DataError: they are something else, such as a mask or labels, or out of range.
    """
    indices = np.asarray(values)
    if indices.ndim != 1 or (indices.size and indices.dtype.kind not in "iu"):
        raise DataError(
            f"the indices of examples have dtype {indices.dtype} and shape "
            f"{indices.shape}; they must be integers [N]. Of a boolean mask, give "
            "np.flatnonzero(mask)."
        )
    if not indices.size:
        return indices
    low, high = int(indices.min()), int(indices.max())
    if low < 0 or (num_examples is not None and high >= num_examples):
        allowed = "at least 0" if num_examples is None else f"0 to {num_examples - 1}"
        raise DataError(
            f"the indices of examples go from {low} to {high}; they must be {allowed}."
        )
    if len(np.unique(indices)) < len(indices):
        raise DataError(
            f"the {len(indices)} indices of examples repeat; each may come once. Are "
            "they labels? Give the examples' positions, such as np.arange(N)."
        )
    return indices


def _num_batches(num_examples: int, batch_size: int) -> int:
    if batch_size < 1:
        raise DataError(f"batch_size={batch_size}: it must be at least 1.")
    if num_examples < batch_size:
        raise DataError(
            f"{num_examples} examples do not fill one batch of batch_size="
            f"{batch_size}. Use a batch size of at most {num_examples} or more images."
        )
    return num_examples // batch_size


def _check_fraction(name: str, fraction: float) -> None:
    if not 0.0 < fraction < 1.0:
        raise DataError(
            f"{name}={fraction}: it must lie between 0 and 1, both excluded, such as "
            "0.2."
        )
