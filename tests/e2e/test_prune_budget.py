"""Pruning until the search step fits a device: with a fake compiler, and a real one."""

from __future__ import annotations

import json
from typing import Any

import pytest

RANDOM = [
    "--config.prune.strategy=random",
    "--config.prune.proxies=()",
    *(f"--config.prune.{name}=0" for name in ("channels", "layers", "batch_size")),
    "--config.prune.repeats=0",
]


class FakeChild:
    """Answers at once: 1,000 bytes for each operation."""

    made: list[FakeChild] = []

    def __init__(self, target: Any, setup: dict[str, Any]) -> None:
        self.target, self.setup = target, setup
        self.asked: list[dict[str, Any]] = []
        self.closed = False
        FakeChild.made.append(self)

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        self.asked.append(request)
        kept = sum(len(ops) for c in request["mask"]["cells"].values() for ops in c)
        return {"peak_bytes": 1000 * kept, "trace_seconds": 1, "compile_seconds": 2}

    def __enter__(self) -> FakeChild:
        return self

    def __exit__(self, *error: object) -> None:
        self.closed = True


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> type[FakeChild]:
    from nas_jax.run import step_bytes

    FakeChild.made = []
    monkeypatch.setattr(step_bytes, "Child", FakeChild)
    return FakeChild


def test_operations_go_until_the_step_fits(cli, tiny, fake, tmp_path) -> None:
    flags = ["--config.prune.budget=23KB", "--config.prune.budget_target=cpu"]
    flags += ["--config.search.dtype=bfloat16", "--config.search.remat=cell"]
    workdir = f"--workdir={tmp_path / 'run'}"
    assert cli.main("prune", tiny, *RANDOM, *flags, workdir) == 0
    (child,) = fake.made
    assert child.closed and child.target.name == "cpu"
    assert child.setup["images"] == {
        "image_shape": "8x8x1",
        "num_classes": 3,
        "num_train": 64,
    }
    assert child.setup["largest_batch"] == 8 and child.setup["compile"]
    for request in child.asked:
        assert request["dtype"] == "bfloat16" and request["remat"] == "cell"
        assert request["batch_size"] == 8 and request["compile"]
    result = json.loads((tmp_path / "run" / "prune.json").read_text())
    # 28 operations without `none`; 23 fit, and so does no more.
    assert result["kept"] == 23
    assert result["budget"] == {"allowed": 23_000, "target": "cpu", "needed": 23_000}
    masks = [json.dumps(request["mask"], sort_keys=True) for request in child.asked]
    assert len(set(masks)) == len(masks), "no mask is compiled twice"
    assert json.dumps(result["mask"], sort_keys=True) in masks


def test_a_budget_that_nothing_meets(cli, tiny, fake, tmp_path, capfd) -> None:
    workdir = tmp_path / "run"
    flags = ["--config.prune.budget=3KB", "--config.prune.budget_target=cpu"]
    assert cli.main("prune", tiny, *RANDOM, *flags, f"--workdir={workdir}") == 2
    error = capfd.readouterr().err
    # One operation on each of the 4 edges.
    assert "needs 4,000 bytes with the 4 operations that are left" in error
    assert "budget of 3,000" in error
    assert fake.made[0].closed
    assert not (workdir / "prune.json").exists()


@pytest.mark.slow
def test_the_step_that_is_searched_fits(cli, tiny, pools, tmp_path) -> None:
    flags = [tiny, pools, *RANDOM]
    table = tmp_path / "memory.json"
    assert cli.main("memory", *flags, "--target=cpu", f"--json={table}") == 0
    (whole,) = json.loads(table.read_text())["rows"]
    budget = whole["peak_bytes"] - 1
    flags += [f"--config.prune.budget={budget}", "--config.prune.budget_target=cpu"]
    workdir = tmp_path / "run"
    assert cli.main("prune", *flags, f"--workdir={workdir}") == 0
    pruned = json.loads((workdir / "prune.json").read_text())
    assert 4 <= pruned["kept"] < 12
    assert 0 < pruned["budget"]["needed"] <= budget
    mask = f"--config.space.mask={workdir / 'prune.json'}"
    assert cli.main("memory", tiny, mask, "--target=cpu", f"--json={table}") == 0
    (row,) = json.loads(table.read_text())["rows"]
    assert row["peak_bytes"] == pruned["budget"]["needed"]
