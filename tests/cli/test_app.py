"""The app wrapper: flags and config in, and a command's outcome out."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from absl import flags

from nas_jax.cli import app
from nas_jax.errors import DataError


class Command:
    """A command that records how it was called."""

    def __init__(self) -> None:
        self.calls: list[app.Call] = []

    def __call__(self, call: app.Call) -> None:
        self.calls.append(call)

    def run(self, *argv: str) -> app.Call:
        """Runs with a good config and a workdir, and returns the one call."""
        needed = ("--config=good.py", "--workdir=w")
        assert app.run(self, [*needed, *argv], name="x", help_text="") == 0
        return self.calls.pop()


def test_command_gets_config_workdir_and_flags(folder: Path) -> None:
    def define(values: flags.FlagValues) -> None:
        flags.DEFINE_integer("top", 3, "How many.", flag_values=values)

    (folder / "flags").write_text("--config.search.epochs=3\n")
    command = Command()
    argv = (
        "--flagfile=flags",
        "--config=good.py",
        "--workdir=w",
        "--top=5",
        "--config.search.weight_decay=1e-2",
        "--config.data.flip",
        "--config.name=a b",
        '--config.prune.proxies=("snip","nwot")',
        "--config.search.alpha_betas=(0.1,0.2)",
    )
    assert app.run(command, argv, name="x", help_text="", define_flags=define) == 0
    call = command.calls.pop()
    assert call.command == ("nas-jax", "x", *argv)
    assert (call.workdir, call.flags.top) == ("w", 5)
    assert call.config.search.epochs == 3
    assert call.config.search.weight_decay == 0.01
    assert call.config.data.flip is True
    assert call.config.name == "a b"
    assert call.config.prune.proxies == ("snip", "nwot")
    assert call.config.search.alpha_betas == (0.1, 0.2)
    assert not (folder / "__pycache__").exists()
    # Another call of this process starts from the defaults.
    assert command.run().config.search.epochs == 50
    assert "config" not in flags.FLAGS


def test_arguments_of_the_process_are_the_default(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    argv = ["prog", "--config=good.py", "--workdir=w", "--config.seed=5"]
    monkeypatch.setattr(sys, "argv", argv)
    command = Command()
    assert app.run(command, name="x", help_text="") == 0
    assert command.calls[0].config.seed == 5
    assert command.calls[0].command == ("nas-jax", "x", *argv[1:])


def test_error_of_the_command_becomes_one_line(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(call: app.Call) -> None:
        raise DataError("x.npz lacks\n  an array 'y'")

    argv = ["--config=good.py", "--workdir=w"]
    assert app.run(fail, argv, name="x", help_text="") == 2
    assert capsys.readouterr().err == "nas-jax: error: x.npz lacks an array 'y'\n"
