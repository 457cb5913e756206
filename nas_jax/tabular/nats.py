"""NATS-Bench's topology space: trained results of all NAS-Bench-201 architectures.

Dong, Liu, Musial and Gabrys 2021, arXiv 2009.00437. Which of a record's evaluations is
the validation and which the test accuracy follows the official API (D-X-Y/NATS-Bench,
nats_bench/api_topology.py, `get_more_info`).
"""

from __future__ import annotations

import operator
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nas_jax.errors import ConfigError, DataError
from nas_jax.paths import local_path
from nas_jax.tabular.unpickle import read_pickle

_END = ".pickle.pbz2"

SPLITS: dict[str, tuple[str | None, str]] = {
    "cifar10-valid": ("x-valid", "ori-test"),
    "cifar10": (None, "ori-test"),
    "cifar100": ("x-valid", "x-test"),
    "ImageNet16-120": ("x-valid", "x-test"),
}
"""The names of the validation and test evaluation in the records of a data set.

`cifar10-valid` was trained on half of CIFAR-10's training images and validated on the
other half; `cifar10` was trained on all of them, so no validation images are left.
"""


@dataclass(frozen=True)
class Metrics:
    """Top-1 accuracy in percent and cross entropy in nats, after the last epoch."""

    accuracy: float
    loss: float


@dataclass(frozen=True)
class Trial:
    """One training of an architecture, or the mean of several.

    Attributes:
      train: on the images trained on, while they were augmented.
      valid: None where no validation images were held out, as for `cifar10`.
      test: None where the record lacks it.
      params_m: parameters in millions.
      macs_m: multiply-accumulates of one image in millions; NATS-Bench calls them
        FLOPs.
      latency: seconds for a batch of 256 images on the authors' GPU; None where it was
        not measured.
      train_seconds: of all epochs together, None where the record has no times. The
        authors measured an architecture's epoch once, so trials do not differ in it.
    """

    train: Metrics
    valid: Metrics | None
    test: Metrics | None
    params_m: float
    macs_m: float
    latency: float | None
    train_seconds: float | None


@dataclass(frozen=True)
class NatsRecord:
    """What is known of one architecture on one data set under one schedule.

    Attributes:
      architecture: the official string, `|op~0|+|op~0|op~1|+|op~0|op~1|op~2|`.
      schedule: the epochs it was trained for, `"12"` or `"200"`.
      trials: by seed.
      mean: the mean of the trials; None where a trial has None, but for the latency,
        which is the mean of those measured.
    """

    index: int
    architecture: str
    dataset: str
    schedule: str
    trials: Mapping[int, Trial]
    mean: Trial


class NatsBench:
    """Looks up the trained results of an architecture.

    Attributes:
      architectures: the official strings by index.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Opens the benchmark; only plain values are unpickled, see `read_pickle`.

        The big file is read whole: some minutes, and about 32 GiB of memory as far as a
        part of it tells. Of a folder, each record is read when it is first asked for,
        in about 10 ms.

        Args:
          path: the file `NATS-tss-v1_0-*.pickle.pbz2`, or the folder
            `NATS-tss-v1_0-*-simple` with `meta.pickle.pbz2` and a file for each
            architecture, `000000.pickle.pbz2` and so on.

        Raises:
          DataError: the file or the folder's meta file is missing, damaged or of
            another kind.
        """
        self._path = local_path(path)
        self._folder = self._path.is_dir()
        meta = self._path / f"meta{_END}" if self._folder else self._path
        content = read_pickle(meta)
        wanted = {"meta_archs": list} | ({} if self._folder else {"arch2infos": dict})
        for key, kind in wanted.items():
            if not isinstance(content, dict) or not isinstance(content.get(key), kind):
                raise DataError(
                    f"{meta} has no {kind.__name__} {key!r}, so it is no NATS-Bench "
                    f"file. Give NATS-tss-v1_0-*{_END} or the folder of its -simple "
                    "form."
                )
        self.architectures: tuple[str, ...] = tuple(content["meta_archs"])
        self._indices = {arch: i for i, arch in enumerate(self.architectures)}
        self._states: dict[int, Any] = {} if self._folder else content["arch2infos"]
        self._records: dict[int, dict[tuple[str, str], NatsRecord]] = {}

    def index_of(self, architecture: int | str) -> int:
        """The official index of an architecture, given as its string or index.

        Raises:
          ConfigError: the benchmark has no such architecture.
        """
        if isinstance(architecture, str):
            index = self._indices.get(architecture)
        else:
            index = operator.index(architecture)
        if index is None or not 0 <= index < len(self.architectures):
            raise ConfigError(
                f"{self._path} has no architecture {architecture!r}; allowed: 0 to "
                f"{len(self.architectures) - 1}, or a string as NATS-Bench writes it, "
                f"such as {self.architectures[0]!r}."
            )
        return index

    def query(
        self, architecture: int | str, dataset: str, schedule: str = "200"
    ) -> NatsRecord:
        """The results of an architecture.

        Args:
          architecture: its official index or string.
          dataset: one of `SPLITS`. Published CIFAR-10 validation accuracies are those
            of `cifar10-valid`, test accuracies those of `cifar10`.
          schedule: `"200"` or `"12"` epochs, each with its own learning rate schedule.

        Raises:
          ConfigError: the architecture, data set or schedule is unknown.
          DataError: the record is missing, damaged or of another architecture.
        """
        index = self.index_of(architecture)
        if dataset not in SPLITS:
            raise ConfigError(
                f"NATS-Bench has no data set {dataset!r}; allowed: {', '.join(SPLITS)}."
            )
        if index not in self._records:
            self._records[index] = self._read(index)
        found = self._records[index]
        if (dataset, schedule) not in found:
            known = ", ".join(repr(s) for d, s in found if d == dataset) or "none"
            raise ConfigError(
                f"architecture {index} was not trained on {dataset} under the schedule "
                f"{schedule!r}; allowed: {known}."
            )
        return found[dataset, schedule]

    def _read(self, index: int) -> dict[tuple[str, str], NatsRecord]:
        where, state = self._path, self._states.pop(index, None)
        for name in (f"{index:06d}{_END}", f"{index}{_END}") if self._folder else ():
            if state is None and (self._path / name).exists():
                where, state = self._path / name, read_pickle(self._path / name)
        if state is None:
            raise DataError(
                f"{self._path} holds no record of architecture {index}: it is a part "
                "of the benchmark. Download all of it, or ask for another one."
            )
        try:
            records = [
                _record(index, self.architectures[index], dataset, str(schedule), part)
                for schedule, part in state.items()
                for dataset in part["dataset_seed"]
                if dataset in SPLITS
            ]
        except DataError as error:
            raise DataError(f"{where}: {error}") from error
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise DataError(
                f"{where}: the record of architecture {index} is not as NATS-Bench "
                f"writes it ({type(error).__name__}: {error}). Download it again."
            ) from error
        return {(record.dataset, record.schedule): record for record in records}


def _record(
    index: int, architecture: str, dataset: str, schedule: str, state: dict[str, Any]
) -> NatsRecord:
    if state["arch_str"] != architecture:
        raise DataError(
            f"holds {state['arch_str']!r}, but architecture {index} is "
            f"{architecture!r}. The files are of different versions: download them "
            "together."
        )
    trials = {
        int(seed): _trial(state["all_results"][dataset, seed], *SPLITS[dataset])
        for seed in sorted(state["dataset_seed"][dataset])
    }
    if not trials:
        raise ValueError("no trial")
    mean = _mean_trial([*trials.values()])
    return NatsRecord(index, architecture, dataset, schedule, trials, mean)


def _trial(state: dict[str, Any], valid: str | None, test: str) -> Trial:
    last = state["epochs"] - 1

    def metrics(kind: str, key: Any) -> Metrics:
        accuracy, loss = state[f"{kind}_acc1es"][key], state[f"{kind}_losses"][key]
        return Metrics(float(accuracy), float(loss))

    def evaluation(name: str | None) -> Metrics | None:
        key = f"{name}@{last}"
        return metrics("eval", key) if key in state["eval_acc1es"] else None

    times = state["train_times"]
    latency = _mean(state["latency"])
    return Trial(
        train=metrics("train", last),
        valid=evaluation(valid),
        test=evaluation(test),
        params_m=float(state["params"]),
        macs_m=float(state["flop"]),
        # The authors mark a latency that was not measured by -1.
        latency=latency if latency is not None and latency > 0 else None,
        train_seconds=sum(times[epoch] for epoch in range(last + 1)) if times else None,
    )


def _mean(values: Sequence[Any]) -> Any:
    """None for no value or where one is None."""
    if not values or None in values:
        return None
    if isinstance(values[0], Metrics):
        return Metrics(
            _mean([v.accuracy for v in values]), _mean([v.loss for v in values])
        )
    return sum(values) / len(values)


def _mean_trial(trials: list[Trial]) -> Trial:
    columns = {name: [getattr(t, name) for t in trials] for name in vars(trials[0])}
    measured = [latency for latency in columns["latency"] if latency is not None]
    return Trial(**{n: _mean(c) for n, c in (columns | {"latency": measured}).items()})
