"""What --help prints: every command, every flag and every field with its meaning."""

from __future__ import annotations

import re

import pytest

from nas_jax.cli.main import COMMANDS, main
from nas_jax.config import config_fields
from nas_jax.data import SOURCES
from nas_jax.pruning import STRATEGIES
from nas_jax.spaces import SPACES

READS_ALL = {"run", "prune", "search", "retrain", "memory"}


def printed(command: str, capsys: pytest.CaptureFixture[str]) -> str:
    assert main([command, "--help"]) == 0
    return capsys.readouterr().out


def meanings(text: str) -> dict[str, str]:
    """What stands below each `path = default` and each flag, on one line."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        if re.match(r"  \S+ = |  --", line):
            key = line.strip().partition(" = ")[0]
            found[key] = ""
        elif line.startswith(" " * 6):
            found[key] = f"{found[key]} {line.strip()}".strip()
    return found


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_a_meaning_of_all_that_the_command_reads(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    text = printed(command, capsys)
    assert max(map(len, text.splitlines())) <= 88
    for name, meaning in meanings(text).items():
        assert len(meaning) > 10, name
    takes_workdir = command not in ("score", "memory")
    assert ("--workdir=" in text) == takes_workdir
    paths = set(config_fields())
    shown = set(meanings(text)) & paths
    if command == "score":
        assert shown == {p for p in paths if p == "seed" or p.startswith("data.")}
    else:
        assert shown == (paths if command in READS_ALL else set())


def test_meaning_and_limits_of_a_field(capsys: pytest.CaptureFixture[str]) -> None:
    text = printed("run", capsys)
    found = meanings(text)
    for path, registry in (
        ("data.source", SOURCES),
        ("space.name", SPACES),
        ("prune.strategy", STRATEGIES),
    ):
        assert f" Allowed: one of {', '.join(registry)}." in found[path]
    for name, source in SOURCES.items():
        assert f"{name}: {source.title}." in found["data.source"]
        for option in source.uses:
            assert re.search(rf"For [^.]*\b{name}\b", found[f"data.{option}"])
    assert found["search.remat"].endswith(" Allowed: one of none, op, wave, cell.")
    assert "Allowed" not in found["data.flip"]
    assert "means the strategy's own" in re.sub(r"\s+", " ", text)
