"""Search a cell for CIFAR-10 on two CPU cores, at a size that they can do.

    nas-jax run --config=configs/cifar10_subset.py \\
        --config.data.path=cifar10_subset.npz --workdir=runs/cifar10_subset

The file holds x_train, y_train, x_test, y_test (uint8 images 32x32x3, labels 0 to 9).

Reduced size: pruning on 2 cells of 4 channels, batch 16, one repeat; one epoch of
search on 3 cells of 4 channels, batch 64; 8 epochs of retraining 5 cells of 8 channels,
batch 64.

Measured on 10,000 training and 2,000 test images, two CPU cores, no compilation cache,
one seed each (Python 3.11, jax 0.10.2, float32), with what was the default then,
`--config.search.remat=wave
--config.prune.proxies="('nwot','synflow','snip','grad_norm','params')"`. The same
budget without pruning is `--config.prune.level=0`. The present defaults were not
measured on these images.

    level  test accuracy  parameters  step    memory     total      stages*
    0.5    0.664          52,394      1.62 s  1,119 MiB  14 min 14  96 s, 200 s, 486 s
    0      0.659          47,674      2.10 s  1,262 MiB  11 min 4   -, 240 s, 424 s

*) Prune, search, retrain. Step and memory are the search step's.

The accuracies do not differ by more than chance (95% interval +-0.02 of either). At
this size pruning costs more than it saves: half of the operations are gone, but nearly
all that is kept are convolutions, which take most of the time and the memory.
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
