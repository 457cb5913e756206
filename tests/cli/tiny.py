"""The whole pipeline in seconds: one node a cell, two channels, cheap proxies."""

from nas_jax.config import (
    DataConfig,
    ExperimentConfig,
    PruneConfig,
    RetrainConfig,
    SearchConfig,
    SpaceConfig,
)


def get_config() -> ExperimentConfig:
    small = dict(channels=2, layers=2, batch_size=8)
    return ExperimentConfig(
        name="tiny",
        data=DataConfig(
            source="synthetic",
            image_size=8,
            channels=1,
            num_classes=3,
            num_train=64,
            num_test=16,
            crop_padding=1,
        ),
        space=SpaceConfig(num_nodes=1),
        prune=PruneConfig(
            level=0.75,
            proxies=("params", "nwot"),
            repeats=1,
            candidates_at_once=1,
            **small,
        ),
        search=SearchConfig(epochs=10, log_every=1, **small),
        retrain=RetrainConfig(epochs=5, log_every=1, **small),
    )
