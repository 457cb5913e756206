"""Neural architecture search in JAX: prune the space first, then search what is left.

    import nas_jax as nj

`nj` has the names of the table below: spaces, masks and genotypes, the three stages,
scores, memory, and what registers a user's own (docs/extending.md). They are the public
face; all else in the package is internal and may change without notice. Importing this
module is cheap: a name's own module, and JAX with it, is imported when the name is
first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

# A new name needs a place here, and one below, where type checkers look.
_PUBLIC = {
    "artefacts": "Artefact",
    "config": (
        "DataConfig ExperimentConfig PruneConfig RetrainConfig SearchConfig SpaceConfig"
    ),
    "data": (
        "Dataset content_sha256 load_digits load_folder load_npz normalize "
        "register_source"
    ),
    "errors": "NasJaxError",
    "identity": "MadeFrom",
    "memory": "MemoryUse parse_bytes residual_bytes",
    "networks": (
        "Form Layers NetworkFamily Op Size Spec family_of mixture_weights "
        "register_family register_op"
    ),
    "oneshot": (
        "OneShotAlgorithm OneShotSearch Relaxation SearchResult darts lower_step "
        "register_algorithm search"
    ),
    "plugins": "load_plugins",
    "proxies": (
        "Batch Observed Proxy ScoredNetwork get_proxy list_proxies register_proxy"
    ),
    "pruning": (
        "Importance LeaveOneOut Option PruneResult Ranker Strategy SupernetSize Target "
        "equal_rounds get_strategy prune register_strategy scoring_options "
        "sum_of_ranks usual_size zero_one_shot"
    ),
    "run.stages": "Stage register_stage",
    "scoring": "ScoredArchitectures Scorer sample_genotypes",
    "spaces": (
        "CellGenotype CellSpec Genotype SearchSpace SpaceMask darts_space "
        "discretise get_mask get_space nasbench201_space register_space"
    ),
    "training": "DeviceImages TrainResult Trainer retrain",
}
"""Public names by the module that has them."""

if TYPE_CHECKING:
    from nas_jax.artefacts import Artefact as Artefact
    from nas_jax.config import DataConfig as DataConfig
    from nas_jax.config import ExperimentConfig as ExperimentConfig
    from nas_jax.config import PruneConfig as PruneConfig
    from nas_jax.config import RetrainConfig as RetrainConfig
    from nas_jax.config import SearchConfig as SearchConfig
    from nas_jax.config import SpaceConfig as SpaceConfig
    from nas_jax.data import Dataset as Dataset
    from nas_jax.data import content_sha256 as content_sha256
    from nas_jax.data import load_digits as load_digits
    from nas_jax.data import load_folder as load_folder
    from nas_jax.data import load_npz as load_npz
    from nas_jax.data import normalize as normalize
    from nas_jax.data import register_source as register_source
    from nas_jax.errors import NasJaxError as NasJaxError
    from nas_jax.identity import MadeFrom as MadeFrom
    from nas_jax.memory import MemoryUse as MemoryUse
    from nas_jax.memory import parse_bytes as parse_bytes
    from nas_jax.memory import residual_bytes as residual_bytes
    from nas_jax.networks import Form as Form
    from nas_jax.networks import Layers as Layers
    from nas_jax.networks import NetworkFamily as NetworkFamily
    from nas_jax.networks import Op as Op
    from nas_jax.networks import Size as Size
    from nas_jax.networks import Spec as Spec
    from nas_jax.networks import family_of as family_of
    from nas_jax.networks import mixture_weights as mixture_weights
    from nas_jax.networks import register_family as register_family
    from nas_jax.networks import register_op as register_op
    from nas_jax.oneshot import OneShotAlgorithm as OneShotAlgorithm
    from nas_jax.oneshot import OneShotSearch as OneShotSearch
    from nas_jax.oneshot import Relaxation as Relaxation
    from nas_jax.oneshot import SearchResult as SearchResult
    from nas_jax.oneshot import darts as darts
    from nas_jax.oneshot import lower_step as lower_step
    from nas_jax.oneshot import register_algorithm as register_algorithm
    from nas_jax.oneshot import search as search
    from nas_jax.plugins import load_plugins as load_plugins
    from nas_jax.proxies import Batch as Batch
    from nas_jax.proxies import Observed as Observed
    from nas_jax.proxies import Proxy as Proxy
    from nas_jax.proxies import ScoredNetwork as ScoredNetwork
    from nas_jax.proxies import get_proxy as get_proxy
    from nas_jax.proxies import list_proxies as list_proxies
    from nas_jax.proxies import register_proxy as register_proxy
    from nas_jax.pruning import Importance as Importance
    from nas_jax.pruning import LeaveOneOut as LeaveOneOut
    from nas_jax.pruning import Option as Option
    from nas_jax.pruning import PruneResult as PruneResult
    from nas_jax.pruning import Ranker as Ranker
    from nas_jax.pruning import Strategy as Strategy
    from nas_jax.pruning import SupernetSize as SupernetSize
    from nas_jax.pruning import Target as Target
    from nas_jax.pruning import equal_rounds as equal_rounds
    from nas_jax.pruning import get_strategy as get_strategy
    from nas_jax.pruning import prune as prune
    from nas_jax.pruning import register_strategy as register_strategy
    from nas_jax.pruning import scoring_options as scoring_options
    from nas_jax.pruning import sum_of_ranks as sum_of_ranks
    from nas_jax.pruning import usual_size as usual_size
    from nas_jax.pruning import zero_one_shot as zero_one_shot
    from nas_jax.run.stages import Stage as Stage
    from nas_jax.run.stages import register_stage as register_stage
    from nas_jax.scoring import ScoredArchitectures as ScoredArchitectures
    from nas_jax.scoring import Scorer as Scorer
    from nas_jax.scoring import sample_genotypes as sample_genotypes
    from nas_jax.spaces import CellGenotype as CellGenotype
    from nas_jax.spaces import CellSpec as CellSpec
    from nas_jax.spaces import Genotype as Genotype
    from nas_jax.spaces import SearchSpace as SearchSpace
    from nas_jax.spaces import SpaceMask as SpaceMask
    from nas_jax.spaces import darts_space as darts_space
    from nas_jax.spaces import discretise as discretise
    from nas_jax.spaces import get_mask as get_mask
    from nas_jax.spaces import get_space as get_space
    from nas_jax.spaces import nasbench201_space as nasbench201_space
    from nas_jax.spaces import register_space as register_space
    from nas_jax.training import DeviceImages as DeviceImages
    from nas_jax.training import Trainer as Trainer
    from nas_jax.training import TrainResult as TrainResult
    from nas_jax.training import retrain as retrain

_HOMES = {name: module for module, names in _PUBLIC.items() for name in names.split()}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'nas_jax' has no public name {name!r}")
    value = getattr(importlib.import_module(f"nas_jax.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
