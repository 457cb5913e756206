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


def test_command_gets_config_and_workdir(folder: Path) -> None:
    call = Command().run()
    assert call.workdir == "w"
    assert call.config.search.epochs == 50
    assert call.command == ("nas-jax", "x", "--config=good.py", "--workdir=w")
    assert not (folder / "__pycache__").exists()


def test_overrides_are_typed(folder: Path) -> None:
    config = (
        Command()
        .run(
            "--config.search.epochs=3",
            "--config.search.weight_decay",
            "1e-2",
            "--config.data.flip",
            "--config.name=a b",
            '--config.prune.proxies=("snip","nwot")',
            "--config.search.alpha_betas=(0.1,0.2)",
        )
        .config
    )
    assert config.search.epochs == 3
    assert config.search.weight_decay == 0.01
    assert config.data.flip is True
    assert config.name == "a b"
    assert config.prune.proxies == ("snip", "nwot")
    assert config.search.alpha_betas == (0.1, 0.2)


def test_calls_of_one_process_are_independent(folder: Path) -> None:
    command = Command()
    assert command.run("--config.search.epochs=3").config.search.epochs == 3
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


def test_flags_from_a_file(folder: Path) -> None:
    (folder / "flags").write_text("--config.search.epochs=9\n")
    assert Command().run("--flagfile=flags").config.search.epochs == 9


def test_flags_of_the_command(folder: Path) -> None:
    def define(values: flags.FlagValues) -> None:
        flags.DEFINE_integer("top", 3, "How many.", flag_values=values)

    command = Command()
    argv = ["--config=good.py", "--workdir=w", "--top=5"]
    assert app.run(command, argv, name="x", help_text="", define_flags=define) == 0
    assert command.calls[0].flags.top == 5


def test_error_of_the_command_becomes_one_line(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(call: app.Call) -> None:
        raise DataError("x.npz lacks\n  an array 'y'")

    argv = ["--config=good.py", "--workdir=w"]
    assert app.run(fail, argv, name="x", help_text="") == 2
    assert capsys.readouterr().err == "nas-jax: error: x.npz lacks an array 'y'\n"


def test_bug_in_the_command_is_not_hidden(folder: Path) -> None:
    def fail(call: app.Call) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        app.run(fail, ["--config=good.py", "--workdir=w"], name="x", help_text="")


@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_help_shows_flags_and_fields(
    flag: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def define(values: flags.FlagValues) -> None:
        flags.DEFINE_bool("fast", False, "Be fast.", flag_values=values)

    command = Command()
    argv = [flag, "--config=missing.py"]
    assert (
        app.run(command, argv, name="x", help_text="Prunes.", define_flags=define) == 0
    )
    printed = capsys.readouterr()
    assert printed.out.startswith("Prunes.\n")
    for part in (
        "  --config=FILE[:ARGUMENT]\n",
        "  --workdir=FOLDER\n",
        "  --fast\n      Be fast.\n",
        "  search.epochs = 50\n",
    ):
        assert part in printed.out
    assert printed.err == ""
    assert command.calls == []


def test_help_without_a_config_does_not_speak_of_one(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert (
        app.run(Command(), ["-h"], name="x", help_text="Reports.", needs_config=False)
        == 0
    )
    assert "config" not in capsys.readouterr().out
