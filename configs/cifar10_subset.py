"""Search a cell for CIFAR-10 on two CPU cores, at a size that they can do.

    nas-jax run --config=configs/cifar10_subset.py \\
        --config.data.path=cifar10_subset.npz --workdir=runs/cifar10_subset

The file holds x_train, y_train, x_test, y_test (uint8 images 32x32x3, labels 0 to 9).

Reduced size: pruning on 2 cells of 4 channels, batch 16, one repeat; one epoch of
search on 3 cells of 4 channels, batch 64; 8 epochs of retraining 5 cells of 8 channels,
batch 64.

Measured on 10,000 training and 2,000 test images, two CPU cores, no compilation cache,
one seed each (Python 3.11, jax 0.10.2, float32). The same budget without pruning is
`--config.prune.level=0`.

    level  test accuracy  parameters  step    memory   total       stages*
    0.5    0.616          82,674      0.60 s  96 MiB   7 min 46 s  14 s, 61 s, 379 s
    0      0.675          45,546      0.76 s  100 MiB  6 min 6 s   -, 82 s, 284 s

*) Prune, search, retrain. Step and memory are the search step's.

Here pruning loses 6 points (95% interval +-2 of either; one seed). It keeps nothing but
convolutions, and of networks that are trained for 1,248 steps the small ones with pools
are the more accurate. docs/tradeoff.md has the same effect after 3 epochs of 312 steps,
and says what is left of it after 12.
"""

from nas_jax.config import (
    DataConfig,
    ExperimentConfig,
    PruneConfig,
    RetrainConfig,
    SearchConfig,
)


def get_config() -> ExperimentConfig:
    """DARTS' recipe with thin, shallow networks and few epochs."""
    return ExperimentConfig(
        name="cifar10_subset",
        data=DataConfig(source="npz", path="", crop_padding=4, flip=True),
        prune=PruneConfig(
            level=0.5,
            channels=4,
            layers=2,
            batch_size=16,
            repeats=1,
            candidates_at_once=1,
        ),
        search=SearchConfig(channels=4, layers=3, epochs=1, batch_size=64, log_every=6),
        retrain=RetrainConfig(
            channels=8,
            layers=5,
            epochs=8,
            batch_size=64,
            learning_rate=0.05,
            log_every=20,
        ),
    )
