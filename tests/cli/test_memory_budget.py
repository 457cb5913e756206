"""What `nas-jax memory` asks its child for, with a child that answers at once."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from nas_jax.cli.main import main


class FakeChild:
    """Answers at once; steps with convolutions in it need more than the budget."""

    asked: list[dict[str, Any]] = []
    fails = 0

    def __init__(self, target: Any, setup: dict[str, Any]) -> None:
        self.target, self.facts = target, {"num_train": 64}

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        from nas_jax.run.memory_child import CompilerFailedError

        FakeChild.asked.append(request)
        if FakeChild.fails:
            FakeChild.fails -= 1
            raise CompilerFailedError("it said: no")
        kept = sum(
            len(ops) for edges in request["mask"]["cells"].values() for ops in edges
        )
        size = (
            1000 * kept * {"none": 9, "op": 1, "wave": 3, "cell": 2}[request["remat"]]
        )
        size //= 1 + (request["dtype"] == "bfloat16")
        answer: dict[str, Any] = {}
        if request["residuals"]:
            answer |= {"residual_bytes": size, "residual_seconds": 0.1}
        if request["compile"]:
            use = size // request["microbatches"] + 5000
            answer |= {"temp_bytes": use - 5000, "argument_bytes": 5000}
            answer |= {"output_bytes": 0, "alias_bytes": 0, "peak_bytes": use}
            answer |= {"flops": None, "refused": False}
            answer |= {"trace_seconds": 1.0, "compile_seconds": 2.0}
        return answer

    def close(self) -> None:
        pass

    def __enter__(self) -> FakeChild:
        return self

    def __exit__(self, *error: Any) -> None:
        pass


@pytest.fixture
def fake(
    monkeypatch: pytest.MonkeyPatch, memory_flags: list[str]
) -> Callable[..., int]:
    from nas_jax.cli import memory

    monkeypatch.setattr(memory, "Child", FakeChild)
    monkeypatch.setattr(memory, "require_compiler", lambda target: None)
    FakeChild.asked, FakeChild.fails = [], 0

    def run(*flags: str) -> int:
        return main(["memory", *memory_flags, *flags])

    return run


def compilations() -> list[dict[str, Any]]:
    return [request for request in FakeChild.asked if request["compile"]]


def test_a_budget_that_everything_fits(fake, capsys) -> None:
    assert fake("--target=tpu-v5e", "--budget=1GiB") == 0
    assert len(compilations()) == 1
    lines = capsys.readouterr().out.splitlines()
    assert "fits 1.00 GiB on tpu-v5e" in lines[-2]
    assert lines[-1] == "--config.search.dtype=bfloat16"


def test_a_tight_budget_changes_more(fake, capsys) -> None:
    # All 32 operations: 16,000 bytes in half precision with op, and 5,000 of arguments.
    assert fake("--target=h100", "--budget=8kB", "--kept=1") == 0
    line = capsys.readouterr().out.splitlines()[-1]
    assert "--config.search.remat=op" in line
    assert "--config.search.dtype=bfloat16" in line
    assert "--config.prune.level=0.0" in line
    # Of 32 combinations: 2 parts need 13,000 bytes and are passed over; 4 need 9,000,
    # which is too near to the budget to be sure without compiling.
    tried = [(request["remat"], request["microbatches"]) for request in compilations()]
    assert tried == [("none", 8), ("op", 1), ("op", 4), ("op", 8)]


def test_stronger_pruning_is_the_last_resort(fake, capsys, tmp_path) -> None:
    # The asked level, at its smallest, needs 5,000 + 16 * 1000 / 2 / 8 bytes.
    file = tmp_path / "rows.json"
    assert fake("--target=h100", "--budget=5600", f"--json={file}") == 0
    chosen = json.loads(file.read_text())["chosen"]
    assert chosen["kept_fraction"] < 0.5
    assert "--config.prune.level=" in capsys.readouterr().out.splitlines()[-1]


def test_a_budget_that_nothing_fits(fake, capsys, tmp_path) -> None:
    assert fake("--target=h100", "--budget=4kB") == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith("nas-jax: error: nothing fits 3.91 KiB on h100")
    assert "the smallest needs" in line and "--config.search.remat=op" in line
    # One of each kind at the asked level, and the smallest of two kinds at any level.
    kinds = [request["remat"] for request in compilations()]
    assert kinds == ["none", "op", "wave", "cell", "op", "cell"]


def test_a_failed_row_does_not_stop_the_others(fake, capsys, tmp_path) -> None:
    FakeChild.fails = 1
    file, chart = tmp_path / "rows.json", tmp_path / "chart.png"
    flags = ("--target=tpu-v5e,h100", "--kept=1", f"--json={file}", f"--chart={chart}")
    assert fake(*flags) == 1
    failed, good = json.loads(file.read_text())["rows"]
    assert failed["error"] == "it said: no" and "peak_bytes" not in failed
    assert good["target"] == "h100" and good["peak_bytes"] > 0
    assert "tpu-v5e, kept 1.000 (all)" in capsys.readouterr().out
    assert chart.read_bytes().startswith(b"\x89PNG")
