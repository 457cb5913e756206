"""Search a cell for CIFAR-10 at the published size of DARTS.

    nas-jax run --config=configs/darts_cifar10.py --workdir=runs/darts_cifar10

reads the tfds data set cifar10, prepared once with
`tfds.builder("cifar10", file_format="array_record").download_and_prepare()`. Images of
a file (see README.md) come in with

    nas-jax run --config=configs/darts_cifar10.py:cifar10.npz --workdir=...

Liu et al. 2019 (arXiv 1806.09055), sections 3.1 and A.1: search on 8 cells of 16
channels, 50 epochs of batch 64, half of the training images for the alphas; retraining
of 20 cells of 36 channels, 600 epochs of batch 96; crops of images padded by 4, and
flips. Pruning is at half of the space, with the same network as the search
(arXiv 2505.13586).

What differs: the published retraining also cuts squares of 16 pixels out, drops paths
and trains an auxiliary classifier. The first is --config.data.cutout=16, which the
search would use too: retrain into a workdir of its own, with --genotype. The other two
do not exist here.

Made for a GPU or a TPU; not run whole by us. What the search step needs on a device:

    nas-jax memory --config=configs/darts_cifar10.py --target=h100,tpu-v5e
"""

from nas_jax.config import (
    DataConfig,
    ExperimentConfig,
    PruneConfig,
    RetrainConfig,
    SearchConfig,
)


def get_config(argument: str = "") -> ExperimentConfig:
    """The experiment; an argument is the path of an npz file with the images."""
    if argument:
        data = DataConfig(source="npz", path=argument, crop_padding=4, flip=True)
    else:
        data = DataConfig(source="tfds", name="cifar10", crop_padding=4, flip=True)
    return ExperimentConfig(
        name="darts_cifar10",
        data=data,
        prune=PruneConfig(level=0.5, channels=16, layers=8, batch_size=64),
        search=SearchConfig(channels=16, layers=8, epochs=50, batch_size=64),
        retrain=RetrainConfig(channels=36, layers=20, epochs=600, batch_size=96),
    )
