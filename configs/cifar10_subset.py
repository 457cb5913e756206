"""Search a cell for CIFAR-10 on two CPU cores, at a size that they can do.

    nas-jax run --config=configs/cifar10_subset.py \\
        --config.data.path=cifar10_subset.npz --workdir=runs/cifar10_subset

The file holds x_train, y_train, x_test, y_test (uint8 images 32x32x3, labels 0 to 9).
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
        search=SearchConfig(
            channels=4, layers=3, epochs=1, batch_size=64, remat="wave", log_every=6
        ),
        retrain=RetrainConfig(
            channels=8,
            layers=5,
            epochs=8,
            batch_size=64,
            learning_rate=0.05,
            log_every=20,
        ),
    )
