"""NATS-Bench records: which number is which, and the same from both forms."""

from __future__ import annotations

import bz2
import csv
import gzip
import pickle
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nas_jax.errors import ConfigError, DataError
from nas_jax.tabular import Metrics, NatsBench
from nas_jax.tabular.unpickle import read_pickle

ARCHS = ("|none~0|+|a~0|b~1|", "|skip~0|+|a~0|b~1|", "|pool~0|+|a~0|b~1|")


def dump(path: Path, content: object) -> None:
    path.write_bytes(bz2.compress(pickle.dumps(content, 4)))


def trial(base: float, names: tuple[str, ...], epochs: int = 2) -> dict[str, Any]:
    """Accuracies that tell evaluation and epoch apart; losses a tenth of them."""
    accuracies = {
        f"{name}@{epoch}": base + 10 * (1 + rank) + epoch
        for rank, name in enumerate(names)
        for epoch in range(epochs)
    }
    train = {epoch: base + epoch for epoch in range(epochs)}
    return {
        "train_acc1es": train,
        "train_losses": {epoch: value / 10 for epoch, value in train.items()},
        "train_times": OrderedDict.fromkeys(range(epochs), 3.0),
        "params": 0.5,
        "flop": 20.0,
        "epochs": epochs,
        "latency": [0.01, 0.03],
        "eval_acc1es": accuracies,
        "eval_losses": {key: value / 10 for key, value in accuracies.items()},
    }


THREE = ("ori-test", "x-valid", "x-test")


def state(index: int) -> dict[str, Any]:
    """A record with two seeds on cifar10-valid, and one on each other data set."""
    results = {
        ("cifar10-valid", 777): trial(20.0, ("x-valid", "ori-test")),
        ("cifar10-valid", 111): trial(40.0, ("x-valid", "ori-test")),
        ("cifar10", 777): trial(50.0, ("ori-test",)),
        ("cifar100", 777): trial(10.0, THREE),
        ("ImageNet16-120", 777): trial(0.0, THREE),
    }
    seeds = {name: [777] for name, _ in results} | {"cifar10-valid": [777, 111]}
    return {
        "arch_index": index,
        "arch_str": ARCHS[index],
        "all_results": results,
        "dataset_seed": seeds,
    }


Change = Callable[[dict[str, Any]], object]


def make(tmp_path: Path, form: str, change: Change = lambda record: None) -> NatsBench:
    """A benchmark of 3 architectures with the records 0 and 2."""
    records = {index: OrderedDict({"200": state(index)}) for index in (0, 2)}
    change(records[2]["200"])
    meta = {"meta_archs": list(ARCHS), "evaluated_indexes": set(), "arch2infos": None}
    if form == "file":
        path = tmp_path / "NATS-tss-v1_0-00000.pickle.pbz2"
        dump(path, meta | {"arch2infos": OrderedDict(records)})
        return NatsBench(path)
    folder = tmp_path / "simple"
    folder.mkdir()
    dump(folder / "meta.pickle.pbz2", meta)
    dump(folder / "000000.pickle.pbz2", records[0])
    # The official reader also takes a name without the zeros.
    dump(folder / "2.pickle.pbz2", records[2])
    return NatsBench(folder)


@pytest.fixture(params=["file", "folder"])
def form(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_each_number_is_the_one_of_its_split_after_the_last_epoch(
    tmp_path: Path, form: str
) -> None:
    bench = make(tmp_path, form)
    record = bench.query(2, "cifar10-valid")
    assert (record.index, record.architecture) == (2, ARCHS[2])
    assert (record.dataset, record.schedule) == ("cifar10-valid", "200")
    assert list(record.trials) == [111, 777]
    first = record.trials[777]
    assert first.train == Metrics(21.0, 2.1)
    assert first.valid == Metrics(31.0, 3.1)
    assert first.test == Metrics(41.0, 4.1)
    assert record.mean.train.accuracy == 31.0
    assert record.mean.valid == Metrics(41.0, pytest.approx(4.1))
    assert record.mean.test == Metrics(51.0, pytest.approx(5.1))
    for part in (first, record.mean):
        assert (part.params_m, part.macs_m) == (0.5, 20.0)
        assert (part.latency, part.train_seconds) == (0.02, 6.0)


def test_cifar10_has_no_validation_and_others_have_three_evaluations(
    tmp_path: Path, form: str
) -> None:
    bench = make(tmp_path, form)
    cifar10 = bench.query(ARCHS[2], "cifar10").mean
    assert (cifar10.valid, cifar10.test) == (None, Metrics(61.0, 6.1))
    # ori-test, the union of both, is neither.
    for name, base in (("cifar100", 10.0), ("ImageNet16-120", 0.0)):
        mean = bench.query(ARCHS[2], name).mean
        assert mean.valid is not None and mean.test is not None
        assert mean.valid.accuracy == base + 21
        assert mean.test.accuracy == base + 31


def test_architectures_by_string_and_index(tmp_path: Path, form: str) -> None:
    bench = make(tmp_path, form)
    assert bench.architectures == ARCHS
    assert [bench.index_of(arch) for arch in ARCHS] == [0, 1, 2]
    assert bench.index_of(1) == 1
    assert bench.query(ARCHS[0], "cifar10") == bench.query(0, "cifar10")
    for index in (-1, 3):
        with pytest.raises(ConfigError, match=f"no architecture {index}; .* 0 to 2"):
            bench.index_of(index)
    with pytest.raises(ConfigError, match="no architecture '.other.'.*such as '.none"):
        bench.query("|other|", "cifar10")
    with pytest.raises(ConfigError, match="'cifar11'; allowed: cifar10-valid, cifar10"):
        bench.query(0, "cifar11")
    with pytest.raises(ConfigError, match="schedule '12'; allowed: '200'"):
        bench.query(0, "cifar10", "12")
    with pytest.raises(DataError, match="no record of architecture 1"):
        bench.query(1, "cifar10")


def test_values_that_were_not_measured(tmp_path: Path, form: str) -> None:
    def change(record: dict[str, Any]) -> None:
        results = record["all_results"]
        results["cifar10-valid", 777]["latency"] = [-1.0]
        results["cifar10-valid", 777]["train_times"] = None
        del results["cifar10-valid", 777]["eval_acc1es"]["ori-test@1"]
        results["cifar10", 777]["latency"] = None

    bench = make(tmp_path, form, change)
    record = bench.query(2, "cifar10-valid")
    assert record.trials[777].latency is None
    assert record.trials[777].train_seconds is None
    assert record.trials[777].test is None
    # The latency is of those measured; a mean over other seeds would mislead.
    assert record.mean.latency == 0.02
    assert record.mean.test is None and record.mean.train_seconds is None
    assert record.mean.valid is not None
    assert bench.query(2, "cifar10").mean.latency is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r: r.update(arch_str=ARCHS[0]), "different versions"),
        (lambda r: r["all_results"]["cifar10", 777].pop("flop"), "KeyError: 'flop'"),
        (lambda r: r.update(dataset_seed=None), "TypeError"),
        (lambda r: r["dataset_seed"].update(cifar10=[]), "no trial"),
    ],
)
def test_damaged_records_name_the_file(
    tmp_path: Path, form: str, change: Change, message: str
) -> None:
    bench = make(tmp_path, form, change)
    with pytest.raises(DataError, match=message) as caught:
        bench.query(2, "cifar10")
    assert "pickle.pbz2" in str(caught.value)
    assert bench.query(0, "cifar10").index == 0


def test_other_files(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="meta.pickle.pbz2 does not exist"):
        NatsBench(tmp_path)
    with pytest.raises(DataError, match="absent does not exist"):
        NatsBench(tmp_path / "absent")
    for content in ([1], {"meta_archs": 3}, {"meta_archs": []}):
        dump(tmp_path / "other", content)
        with pytest.raises(DataError, match="other has no .* no NATS-Bench file"):
            NatsBench(tmp_path / "other")


@pytest.fixture(scope="module")
def official(shared_data: Path) -> Path:
    folder = shared_data / "nb201" / "nats_official_sample"
    if not folder.is_dir():
        pytest.skip("needs the official NATS-Bench records in the shared data folder")
    return folder


@pytest.fixture(scope="module")
def benches(
    official: Path, tmp_path_factory: pytest.TempPathFactory
) -> list[NatsBench]:
    """The official records as they are, and put together as the big file has them."""
    content = read_pickle(official / "meta.pickle.pbz2")
    content["arch2infos"] = {
        index: read_pickle(official / f"{index:06d}.pickle.pbz2")
        for index in (0, 11, 284)
    }
    file = tmp_path_factory.mktemp("nats") / "NATS-tss-v1_0-3ffb9.pickle.pbz2"
    dump(file, content)
    return [NatsBench(official), NatsBench(file)]


def test_official_records_agree_with_the_published_table(
    shared_data: Path, benches: list[NatsBench]
) -> None:
    table = shared_data / "nb201" / "nb201_cifar10.csv.gz"
    with gzip.open(table, "rt", encoding="utf-8") as stream:
        rows = {
            int(row["index"]): row
            for row in csv.DictReader(stream)
            if row["index"] in ("0", "11", "284")
        }
    assert len(rows) == 3
    for bench in benches:
        assert len(bench.architectures) == 15_625
        for index, row in rows.items():
            for schedule, suffix in (("200", ""), ("12", "_e12")):
                test = bench.query(row["arch_str"], "cifar10", schedule)
                valid = bench.query(index, "cifar10-valid", schedule)
                assert test.index == index
                assert test.mean.test is not None and valid.mean.valid is not None
                assert test.mean.test.accuracy == pytest.approx(
                    float(row[f"c10_test{suffix}"]), abs=1e-4
                )
                assert valid.mean.valid.accuracy == pytest.approx(
                    float(row[f"c10_valid{suffix}"]), abs=1e-4
                )
                for mean in (test.mean, valid.mean):
                    assert mean.params_m == pytest.approx(float(row["params_m"]))
                    assert mean.macs_m == pytest.approx(float(row["macs_m"]))


def test_other_data_sets_of_an_official_record(benches: list[NatsBench]) -> None:
    for bench in benches:
        found = bench.query(11, "cifar100")
        tests = {seed: one.test for seed, one in found.trials.items()}
        assert {s: m and round(m.accuracy, 2) for s, m in tests.items()} == {
            777: 66.86,
            888: 67.68,
            999: 68.28,
        }
        mean = found.mean
        assert mean.valid is not None
        assert mean.valid.accuracy == pytest.approx((67.72 + 68.18 + 66.46) / 3)
        assert mean.train_seconds == pytest.approx(200 * 24.924113591512043)
        assert mean.latency == pytest.approx(0.01613893773820665)
    assert benches[0].query(0, "cifar10") == benches[1].query(0, "cifar10")
