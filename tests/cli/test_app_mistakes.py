"""Mistakes in flags and config files: one clear line, exit code 2, nothing written."""

from __future__ import annotations

from pathlib import Path

import pytest

from nas_jax.cli import app


def mistake(
    capsys: pytest.CaptureFixture[str], folder: Path, *argv: str, needed: bool = True
) -> str:
    """Runs a command that must fail; returns its one line without the prefix."""
    calls: list[app.Call] = []
    before = sorted(folder.rglob("*"))
    first = ["--config=good.py", "--workdir=w"] if needed else []
    assert app.run(calls.append, [*first, *argv], name="x", help_text="") == 2
    assert calls == []
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    assert printed.err.startswith("nas-jax: error: ")
    assert sorted(folder.rglob("*")) == before
    return printed.err.removeprefix("nas-jax: error: ").rstrip("\n")


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["--config=good.py"], "--workdir is missing"),
        ([], "--config is missing"),
        (["--workdir=w", "--config.seed=1", "--config=good.py"], "Found --config.seed"),
        (["--config="], "config file '' does not exist"),
        (
            ["--config=godo.py", "--workdir=w"],
            "config file 'godo.py' does not exist; did you mean good.py?",
        ),
        (
            ["--config=good.py:fast"],
            "config file good.py, line 12 raised ValueError: argument 'fast' is not",
        ),
        (["--config=good.py", "--config=good.py"], "--config is given more than once"),
    ],
)
def test_mistakes_with_the_needed_flags(
    folder: Path, capsys: pytest.CaptureFixture[str], argv: list[str], expected: str
) -> None:
    assert mistake(capsys, folder, *argv, needed=False).startswith(expected)


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (
            "--config.search.epoch=3",
            "--config.search.epoch: the config has no field 'search.epoch'; did you "
            "mean --config.search.epochs? search has channels, layers, epochs,",
        ),
        (
            "--config.serach.epochs=3",
            "--config.serach.epochs: the config has no field 'serach.epochs'; did you "
            "mean --config.search.epochs? The config has name, seed, data, space,",
        ),
        ("--config.level=0.1", "--config.level: the config has no field 'level'; did "),
        (
            "--config.search=3",
            "--config.search: this is a group of fields; set one of them: channels,",
        ),
    ],
)
def test_misspelt_field_is_named_with_what_there_is(
    folder: Path, capsys: pytest.CaptureFixture[str], argv: str, expected: str
) -> None:
    assert mistake(capsys, folder, argv).startswith(expected)


@pytest.mark.parametrize(
    ("argv", "allowed"),
    [
        ("--config.search.epochs=abc", "it takes a whole number"),
        ("--config.data.flip=abc", "it takes true or false"),
        ("--config.search.alpha_betas=(0.5,", "it takes a tuple of 2 values, each a"),
    ],
)
def test_value_of_a_wrong_type_is_named_with_the_type(
    folder: Path, capsys: pytest.CaptureFixture[str], argv: str, allowed: str
) -> None:
    message = mistake(capsys, folder, argv)
    assert message.startswith(f"flag {argv}: ")
    assert allowed in message


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        ("--epochs=3", "flag 'epochs'; did you mean --config.search.epochs?"),
        ("--wrkdir=3", "flag 'wrkdir'. Did you mean: workdir ?"),
        ("extra", "unexpected argument 'extra'; flags look like --name=value"),
        ("--flagfile=missing", "Unable to open flagfile"),
        ("--config.search.epochs=0", "search.epochs is 0: it must be 1 or more"),
        ("--config.prune.proxies=a,b", "prune.proxies is ('a,b',)"),
    ],
)
def test_other_mistakes(
    folder: Path, capsys: pytest.CaptureFixture[str], argv: str, expected: str
) -> None:
    assert expected in mistake(capsys, folder, argv)


CONFIG_IMPORT = "from nas_jax.config import ExperimentConfig\n"


@pytest.mark.parametrize(
    ("text", "argument", "expected"),
    [
        ("x = 1", "", "config file bad.py lacks a function get_config()"),
        (
            "def get_config(): return {}",
            "",
            "get_config() in bad.py returned a value of type dict; it must return",
        ),
        (
            "\nraise RuntimeError('boom\\nboom')",
            "",
            "config file bad.py, line 2 raised RuntimeError: boom boom",
        ),
        ("def get_config(:", "", "config file bad.py, line 1 raised SyntaxError"),
        (
            "def get_config(): return 1",
            ":smoke",
            "config file bad.py takes no argument; leave ':smoke' out",
        ),
        (
            "def get_config(argument): return 1",
            "",
            "config file bad.py needs an argument: --config=bad.py:ARGUMENT",
        ),
        (
            CONFIG_IMPORT + "def get_config():\n"
            "    c = ExperimentConfig(); c.search = None; return c",
            "",
            "1 problem in the config: search is None: it must be a SearchConfig",
        ),
    ],
)
def test_config_file_that_is_wrong(
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    text: str,
    argument: str,
    expected: str,
) -> None:
    (folder / "bad.py").write_text(text + "\n")
    argv = [f"--config=bad.py{argument}", "--workdir=w"]
    assert mistake(capsys, folder, *argv, needed=False).startswith(expected)
