"""What `nas-jax run` leaves in a workdir, and that it can be run again."""

from __future__ import annotations

import json
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from nas_jax.spaces import Genotype, SpaceMask, get_space

SPACE = get_space("darts", 1)
OPERATION_FIELDS = {
    "cell", "edge", "source", "target", "operation",
    "kept", "score", "score_std", "scores",
}  # fmt: skip


def refuse(constant: str) -> None:
    raise AssertionError(f"{constant} is not JSON")


def strict(text: str) -> Any:
    return json.loads(text, parse_constant=refuse)


def read(workdir: Path, name: str) -> Any:
    return strict((workdir / name).read_text())


def read_rows(workdir: Path, name: str) -> list[dict[str, Any]]:
    return [strict(line) for line in (workdir / name).read_text().splitlines()]


def test_summary(reference: Path) -> None:
    workdir = reference
    summary = read(workdir, "summary.json")
    prune = read(workdir, "prune.json")
    memory = read(workdir, "memory.json")
    assert summary["num_test"] == 16
    assert summary["test_accuracy"] * 16 in range(17)
    # The patterns of three classes are easy: chance is a third.
    assert summary["test_accuracy"] > 0.5
    assert summary["kept_fraction"] == 0.25
    genotype = Genotype.parse(SPACE, summary["genotype"])
    # Both edges of the only node are used, so the genotype's mask adds no `none`.
    assert genotype.mask() <= SpaceMask.from_json(SPACE, json.dumps(prune["mask"]))
    seconds = summary["seconds"]
    assert {"prune", "search", "retrain", "total"} <= seconds.keys()
    total = seconds.pop("total")
    assert all(value > 0 for value in seconds.values())
    assert abs(total - sum(seconds.values())) < 1e-6
    peak = summary["peak_memory_bytes"]
    assert 0 < peak["pruned"] < peak["unpruned"]
    assert peak == {name: memory[name]["peak_bytes"] for name in peak}
    assert summary["parameters"] > 0
    assert (summary["name"], summary["seed"]) == ("tiny", 0)


def test_prune_artefact_accounts_for_every_operation(reference: Path) -> None:
    prune = read(reference, "prune.json")
    mask = SpaceMask.from_json(SPACE, json.dumps(prune["mask"]))
    rows = prune["operations"]
    assert prune["total"] == len(rows) == SPACE.num_operations == 32
    assert prune["kept"] == mask.num_kept == sum(row["kept"] for row in rows)
    assert prune["kept_fraction"] == prune["kept"] / prune["total"] == 0.25
    assert prune["strategy"] == "zero_one_shot"
    assert (prune["seed"], prune["repeats"]) == (0, 1)
    assert {"compile", "score", "total"} <= prune["seconds"].keys()
    for ranker, proxy in zip(prune["rankers"], prune["proxies"], strict=True):
        assert ranker["proxy"] == proxy
        assert ranker["network"] == {"channels": 2, "layers": 2}
    assert (prune["rounds"], prune["warnings"]) == (1, [])
    for row in rows:
        assert OPERATION_FIELDS <= row.keys()
        assert row["kept"] == mask.keeps(row["cell"], row["edge"], row["operation"])
        if row["score"] is None:
            assert row["reason"] and row["scores"] == {}
        else:
            assert list(row["scores"]) == prune["proxies"]
    assert any(row["score"] is not None for row in rows)


def test_logs(reference: Path) -> None:
    workdir = reference
    mask = SpaceMask.from_json(SPACE, json.dumps(read(workdir, "prune.json")["mask"]))
    search = read_rows(workdir, "search.jsonl")
    # 64 training images, half of them for the weights, in batches of 8.
    assert [row["step"] for row in search] == list(range(1, 41))
    assert search[-1]["epoch"] == 10
    for row in search:
        assert {
            "train_loss", "train_accuracy", "valid_loss", "valid_accuracy",
            "weight_learning_rate", "steps_per_second",
        } <= row.keys()  # fmt: skip
        for cell, kept in mask.arrays().items():
            for edge, probabilities in enumerate(row["alphas"][cell]):
                assert abs(sum(probabilities) - 1) < 1e-5
                assert [p > 0 for p in probabilities] == kept[edge].tolist()
    retrain = read_rows(workdir, "retrain.jsonl")
    assert [row["step"] for row in retrain] == list(range(1, 41))
    tests = [row["step"] for row in retrain if "test_accuracy" in row]
    assert tests == [8, 16, 24, 32, 40]
    assert {
        "epoch", "train_loss", "train_accuracy", "learning_rate", "steps_per_second",
    } <= retrain[0].keys()  # fmt: skip
    summary = read(workdir, "summary.json")
    assert retrain[-1]["test_accuracy"] == summary["test_accuracy"]
    assert "test_loss" in retrain[-1]


def test_other_artefacts(reference: Path) -> None:
    workdir = reference
    genotype = read(workdir, "genotype.json")
    parsed = Genotype.parse(SPACE, genotype["text"])
    assert Genotype.parse(SPACE, json.dumps(genotype["genotype"])) == parsed
    assert read(workdir, "config.json")["search"]["epochs"] == 10
    environment = read(workdir, "environment.json")
    assert environment["backend"] == "cpu"
    assert any(word.startswith("--config=") for word in environment["command"])
    memory = read(workdir, "memory.json")
    assert (memory["channels"], memory["layers"], memory["batch_size"]) == (2, 2, 8)
    for name in ("unpruned", "pruned"):
        assert {
            "temp_bytes", "argument_bytes", "output_bytes", "alias_bytes", "peak_bytes",
        } <= memory[name].keys()  # fmt: skip
    assert [path.name for path in workdir.iterdir() if ".tmp" in path.name] == []


class Links(HTMLParser):
    """Collects what a browser would load, and where a reader could go."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        names = ("src", "srcset", "href", "xlink:href", "action", "data", "poster")
        self.found += [value or "" for name, value in attrs if name in names]


def test_report_opens_offline(reference: Path) -> None:
    text = (reference / "report.html").read_text(encoding="utf-8")
    links = Links()
    links.feed(text)
    assert {"html", "body", "svg"} <= links.tags
    assert [link for link in links.found if not link.startswith(("#", "data:"))] == []
    assert "@import" not in text
    assert "url(http" not in text.replace(" ", "").replace('"', "").replace("'", "")
    summary = read(reference, "summary.json")
    assert f"{summary['test_accuracy']:.1%}" in text


def times(workdir: Path) -> dict[str, int]:
    """When each artefact of a stage was written."""
    every_start = ("config.json", "environment.json", "report.html")
    return {
        str(path.relative_to(workdir)): path.stat().st_mtime_ns
        for path in workdir.rglob("*")
        if path.is_file() and path.name not in every_start
    }


def test_finished_stages_do_not_run_again(cli, tiny, reference, tmp_path) -> None:
    workdir = tmp_path / "run"
    shutil.copytree(reference, workdir)
    before = times(workdir)
    assert {"prune.json", "search.jsonl", "summary.json"} <= before.keys()
    (workdir / "report.html").unlink()
    assert cli.main("run", tiny, f"--workdir={workdir}") == 0
    assert times(workdir) == before
    assert (workdir / "report.html").exists()
    assert len(read(workdir, "environment.json")["earlier"]) == 1


def test_another_seed_gives_another_result(cli, tiny, tmp_path) -> None:
    masks = []
    for seed in (0, 1):
        workdir = tmp_path / str(seed)
        # Pruning that compiles nothing.
        flags = ["--config.prune.strategy=random", "--config.prune.proxies=()"]
        flags += [f"--config.seed={seed}", f"--workdir={workdir}"]
        assert cli.main("prune", tiny, *flags) == 0
        masks.append(read(workdir, "prune.json")["mask"])
    assert masks[0] != masks[1]
