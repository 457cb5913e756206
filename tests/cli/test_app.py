"""The app wrapper: flags and config in, one clear line and exit code 2 for mistakes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from absl import flags
from absl import logging as absl_logging

from nas_jax.cli import app
from nas_jax.errors import DataError

GOOD = """
from nas_jax.config import ExperimentConfig

def base():
    return ExperimentConfig()

def get_config(argument="full"):
    config = base()
    if argument == "smoke":
        config.search.epochs = 1
    elif argument != "full":
        raise ValueError(f"argument {argument!r} is not one of full, smoke")
    return config
"""


@pytest.fixture(autouse=True)
def verbosity() -> Iterator[None]:
    """Puts absl's verbosity back, which `run` raises for the whole process."""
    before = absl_logging.get_verbosity()
    yield
    absl_logging.set_verbosity(before)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a config file; configs are named relative to it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "good.py").write_text(GOOD)
    return tmp_path


class Command:
    """A command that records how it was called."""

    def __init__(self) -> None:
        self.calls: list[app.Call] = []

    def __call__(self, call: app.Call) -> None:
        self.calls.append(call)

    def run(self, *argv: str) -> app.Call:
        """Runs with a good config and a workdir, and returns the one call."""
        needed = ("--config=good.py", "--workdir=w")
        assert app.run(self, [*needed, *argv], help_text="") == 0
        return self.calls.pop()


def mistake(
    capsys: pytest.CaptureFixture[str], folder: Path, *argv: str, needed: bool = True
) -> str:
    """Runs a command that must fail; returns its one line without the prefix."""
    command = Command()
    before = sorted(folder.rglob("*"))
    first = ["--config=good.py", "--workdir=w"] if needed else []
    assert app.run(command, [*first, *argv], help_text="") == 2
    assert command.calls == []
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    assert printed.err.startswith("nas-jax: error: ")
    assert sorted(folder.rglob("*")) == before
    return printed.err.removeprefix("nas-jax: error: ").rstrip("\n")


def test_command_gets_config_and_workdir(folder: Path) -> None:
    call = Command().run()
    assert call.workdir == "w"
    assert call.config.search.epochs == 50
    assert call.command[1:] == ("--config=good.py", "--workdir=w")
    assert not (folder / "__pycache__").exists()


def test_argument_of_the_config_file(folder: Path) -> None:
    command = Command()
    argv = ["--config=good.py:smoke", "--workdir", "w"]
    assert app.run(command, argv, help_text="") == 0
    assert command.calls[0].config.search.epochs == 1


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


def test_boolean_can_be_negated_and_a_tuple_given_by_repetition(folder: Path) -> None:
    config = (
        Command()
        .run(
            "--noconfig.data.flip",
            "--config.prune.proxies=snip",
            "--config.prune.proxies=nwot",
        )
        .config
    )
    assert config.data.flip is False
    assert config.prune.proxies == ("snip", "nwot")


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
    assert app.run(command, help_text="") == 0
    assert command.calls[0].config.seed == 5
    assert command.calls[0].command == tuple(argv)


def test_flags_from_a_file(folder: Path) -> None:
    (folder / "flags").write_text("--config.search.epochs=9\n")
    assert Command().run("--flagfile=flags").config.search.epochs == 9


def test_flags_of_the_command(folder: Path) -> None:
    def define(values: flags.FlagValues) -> None:
        flags.DEFINE_integer("top", 3, "How many.", flag_values=values)

    command = Command()
    argv = ["--config=good.py", "--workdir=w", "--top=5"]
    assert app.run(command, argv, help_text="", define_flags=define) == 0
    assert command.calls[0].flags.top == 5


def test_command_that_needs_neither_config_nor_workdir() -> None:
    command = Command()
    assert (
        app.run(command, [], help_text="", needs_config=False, needs_workdir=False) == 0
    )
    assert command.calls[0].workdir == ""


def test_exit_code_of_the_command_is_returned(folder: Path) -> None:
    argv = ["--config=good.py", "--workdir=w"]
    assert app.run(lambda call: 7, argv, help_text="") == 7


def test_error_of_the_command_becomes_one_line(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(call: app.Call) -> None:
        raise DataError("x.npz lacks\n  an array 'y'")

    argv = ["--config=good.py", "--workdir=w"]
    assert app.run(fail, argv, help_text="") == 2
    assert capsys.readouterr().err == "nas-jax: error: x.npz lacks an array 'y'\n"


def test_bug_in_the_command_is_not_hidden(folder: Path) -> None:
    def fail(call: app.Call) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        app.run(fail, ["--config=good.py", "--workdir=w"], help_text="")


@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_help_shows_flags_and_fields(
    flag: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def define(values: flags.FlagValues) -> None:
        flags.DEFINE_bool("fast", False, "Be fast.", flag_values=values)

    command = Command()
    argv = [flag, "--config=missing.py"]
    assert app.run(command, argv, help_text="Prunes.", define_flags=define) == 0
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
    assert app.run(Command(), ["-h"], help_text="Reports.", needs_config=False) == 0
    assert "config" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["--workdir=w"], "--config is missing"),
        (["--config=good.py"], "--workdir is missing"),
        (["--config=good.py", "--workdir="], "--workdir is missing"),
        ([], "--config is missing"),
        (["--config"], "Missing value for flag --config"),
        (["--workdir=w", "--config.seed=1"], "--config is missing"),
        (["--workdir=w", "--config.seed=1", "--config=good.py"], "Found --config.seed"),
        (["--config="], "config file '' does not exist"),
        (
            ["--config=godo.py", "--workdir=w"],
            "config file 'godo.py' does not exist; did you mean good.py?",
        ),
        (["--config=."], "config file '.' does not exist"),
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
        ("--config.xyzzy=1", "--config.xyzzy: the config has no field 'xyzzy'. The co"),
        ("--noconfig.data.filp", "--noconfig.data.filp: the config has no field 'data"),
        (
            "--config.search=3",
            "--config.search: this is a group of fields; set one of them: channels,",
        ),
        ("--config.search.epochs.x=3", "--config.search.epochs.x: the config has no"),
        ("--config.=3", "--config.: this is a group of fields; set one of them: name,"),
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
        ("--config.search.epochs=1.5", "it takes a whole number"),
        ("--config.search.weight_decay=abc", "it takes a finite number"),
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
        ("--config.search.weight_decay=nan", "search.weight_decay is nan"),
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
        ("get_config = 3", "", "config file bad.py lacks a function get_config()"),
        (
            "def get_config(): return {}",
            "",
            "get_config() in bad.py returned a value of type dict; it must return",
        ),
        ("def get_config(): pass", "", "get_config() in bad.py returned a value of"),
        (
            "\nraise RuntimeError('boom\\nboom')",
            "",
            "config file bad.py, line 2 raised RuntimeError: boom boom",
        ),
        ("def get_config(:", "", "config file bad.py, line 1 raised SyntaxError"),
        ("import nothing_such", "", "config file bad.py, line 1 raised ModuleNotFound"),
        ("import sys; sys.exit(3)", "", "config file bad.py, line 1 raised SystemExit"),
        (
            "def get_config(): open('missing')",
            "",
            "config file bad.py, line 1 raised FileNotFoundError: ",
        ),
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


LOGGING = """
import logging
import sys
from absl import logging as absl_logging
from nas_jax import metrics
from nas_jax.cli import app

def main(call):
    print("jax loaded:", "jax" in sys.modules)
    metrics.Progress(1, "mine").update(1)
    absl_logging.info("chatter")
    logging.getLogger("library").info("chatter")
    absl_logging.warning("absl warns")
    logging.getLogger("library").warning("library warns")

sys.exit(app.run(main, help_text="", needs_config=False, needs_workdir=False))
"""


def test_process_logs_its_own_lines_and_the_warnings_of_others(repo_root: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", LOGGING],
        cwd=repo_root,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout == "jax loaded: False\n"
    lines = [line.split("] ", 1) for line in result.stderr.splitlines()]
    assert [text for _, text in lines] == [
        "mine 1/1, " + lines[0][1].split(", ")[1],
        "absl warns",
        "library warns",
    ]
    assert lines[0][0].startswith("I")
    assert lines[1][0].startswith("W")


@pytest.fixture
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (app.CACHE_VARIABLE, "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def cache_setting() -> Iterator[Any]:
    """JAX's setting, put back after the test."""
    import jax

    config: Any = jax.config
    before = config.jax_compilation_cache_dir
    jax.config.update("jax_compilation_cache_dir", None)
    yield config
    jax.config.update("jax_compilation_cache_dir", before)


@pytest.mark.usefixtures("clean_environment")
class TestConfigureJax:
    def test_default_is_below_the_cache_of_the_user(
        self, cache_setting: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HOME", str(tmp_path))
        app.configure_jax()
        expected = tmp_path / ".cache" / "nas_jax" / "xla"
        assert cache_setting.jax_compilation_cache_dir == str(expected)
        assert expected.is_dir()

    def test_xdg_cache_home(
        self, cache_setting: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        app.configure_jax()
        expected = str(tmp_path / "nas_jax" / "xla")
        assert cache_setting.jax_compilation_cache_dir == expected

    def test_own_variable_wins_and_empty_is_off(
        self, cache_setting: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv(app.CACHE_VARIABLE, str(tmp_path / "mine"))
        app.configure_jax()
        assert cache_setting.jax_compilation_cache_dir == str(tmp_path / "mine")
        monkeypatch.setenv(app.CACHE_VARIABLE, "")
        app.configure_jax()
        assert cache_setting.jax_compilation_cache_dir is None

    def test_setting_of_jax_stands(
        self, cache_setting: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        import jax

        monkeypatch.setenv("HOME", str(tmp_path))
        jax.config.update("jax_compilation_cache_dir", str(tmp_path / "jax"))
        app.configure_jax()
        assert cache_setting.jax_compilation_cache_dir == str(tmp_path / "jax")
        assert not (tmp_path / ".cache").exists()

    def test_folder_that_cannot_be_created_is_a_warning(
        self, cache_setting: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        found: list[str] = []
        monkeypatch.setattr(
            absl_logging, "warning", lambda text, *args: found.append(text % args)
        )
        (tmp_path / "file").write_text("")
        monkeypatch.setenv(app.CACHE_VARIABLE, str(tmp_path / "file" / "below"))
        app.configure_jax()
        assert cache_setting.jax_compilation_cache_dir is None
        assert "No compilation cache" in found[0]
        assert app.CACHE_VARIABLE in found[0]
