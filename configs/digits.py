"""Search a cell for scikit-learn's handwritten digits (1,797 real 8x8 images).

nas-jax run --config=configs/digits.py --workdir=runs/digits
"""

from nas_jax.config import (
    DataConfig,
    ExperimentConfig,
    PruneConfig,
    RetrainConfig,
    SearchConfig,
    SpaceConfig,
)


def get_config(argument: str = "") -> ExperimentConfig:
    """The experiment; `smoke` is the same at a size for tests."""
    smoke = argument == "smoke"
    return ExperimentConfig(
        name="digits",
        data=DataConfig(source="digits", crop_padding=1),
        space=SpaceConfig(num_nodes=1 if smoke else 4),
        prune=PruneConfig(
            level=0.5,
            channels=4 if smoke else 8,
            layers=2,
            batch_size=16 if smoke else 32,
            repeats=1 if smoke else 2,
            candidates_at_once=1,
        ),
        search=SearchConfig(
            channels=4 if smoke else 8,
            layers=3,
            epochs=1 if smoke else 6,
            batch_size=32 if smoke else 64,
            log_every=5,
        ),
        retrain=RetrainConfig(
            channels=4 if smoke else 12,
            layers=3,
            epochs=1 if smoke else 24,
            batch_size=64,
            learning_rate=0.1,
            log_every=10,
        ),
    )
