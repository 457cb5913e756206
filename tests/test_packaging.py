"""What a user gets when they install nas_jax, and what the repository must not hold."""

from __future__ import annotations

import importlib.metadata
import re
import subprocess
import sys
from pathlib import Path

import pytest

import nas_jax
from nas_jax.cli import main as cli

# Hosts of package registries, and folders of one person's machine. The backslashes
# keep this file from matching itself.
FORBIDDEN = [
    r"pypi\.org",
    r"pythonhosted\.org",
    r"npmjs\.(org|com)",
    r"deb\.debian\.org",
    r"anaconda\.org",
    r"crates\.io",
    r"proxy\.golang\.org",
    r"(?<![\w.$}~-])/(root|work|opt/pypi|tmp/venvs|tmp/plan)/",
    r"(?<![\w.])/(home|Users)/[a-z]",
    r"(?<!\w)[.]library\b",
]


def forbidden_lines(name: str, text: str) -> list[str]:
    """Returns `name:line: match` for everything in a text that FORBIDDEN names."""
    found = re.compile("|".join(f"(?:{pattern})" for pattern in FORBIDDEN))
    return [
        f"{name}:{number}: {match.group()}"
        for number, line in enumerate(text.splitlines(), start=1)
        for match in found.finditer(line)
    ]


def repository_files(root: Path) -> list[Path]:
    """Returns the files that git tracks or would add; skips outside a checkout."""
    if not (root / ".git").exists():
        pytest.skip("not a git checkout")
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listing = subprocess.run(command, cwd=root, capture_output=True, check=True)
    names = listing.stdout.decode().split("\0")
    return [root / name for name in names if name and (root / name).is_file()]


def test_repository_names_no_registry_and_no_machine(repo_root: Path) -> None:
    found = []
    for path in repository_files(repo_root):
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        found += forbidden_lines(path.relative_to(repo_root).as_posix(), text)
    assert found == []


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("see https://py" + "pi.org/project/jax", 1),
        ("cd /ro" + "ot/project", 1),
        ('PATH = "/wo' + 'rk/main"', 1),
        ("VENV=/ho" + "me/ada/venv", 1),
        ("gs://bucket/root/run1 and ~/root/run2", 0),
        ("--workdir=/tmp/nas_digits", 0),
        ('"$HOME/.pyenv/versions"', 0),
    ],
)
def test_forbidden_text_is_found_and_the_rest_is_not(line: str, expected: int) -> None:
    assert len(forbidden_lines("file", line)) == expected


def test_version_is_the_newest_in_the_changelog(repo_root: Path) -> None:
    changelog = (repo_root / "CHANGELOG.md").read_text(encoding="utf-8")
    versions = re.findall(r"^## \[(\d+\.\d+\.\d+)\]", changelog, re.MULTILINE)
    assert versions[0] == nas_jax.__version__


def test_installed_metadata_has_the_version_and_the_command() -> None:
    try:
        distribution = importlib.metadata.distribution("nas_jax")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("nas_jax is not installed here, only importable")
    assert distribution.version == nas_jax.__version__
    scripts = {entry.name: entry.value for entry in distribution.entry_points}
    assert scripts == {"nas-jax": "nas_jax.cli.main:main"}


def test_every_package_folder_has_an_init(repo_root: Path) -> None:
    folders = {path.parent for path in (repo_root / "nas_jax").rglob("*.py")}
    assert len(folders) > 1
    assert [str(f) for f in folders if not (f / "__init__.py").is_file()] == []


@pytest.mark.parametrize(
    "statement", ["import nas_jax", "import nas_jax.cli.main as m; m.main(['--help'])"]
)
def test_import_and_help_do_not_load_jax(repo_root: Path, statement: str) -> None:
    check = "import sys; sys.exit(any(m in sys.modules for m in ('jax', 'numpy')))"
    command = [sys.executable, "-c", f"{statement}; {check}"]
    result = subprocess.run(command, cwd=repo_root, capture_output=True, timeout=60)
    assert result.returncode == 0, result.stderr.decode()


@pytest.mark.parametrize("flag", ["--help", "-h", "help"])
def test_help_lists_every_command(
    flag: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main([flag]) == 0
    printed = capsys.readouterr().out
    for name, meaning in cli.COMMANDS.items():
        assert re.search(rf"^  {name} +{meaning}$", printed, re.MULTILINE)


def test_version_flag(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"nas_jax {nas_jax.__version__}\n"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("serach", "Did you mean 'search'?"),
        ("xyzzy", "unknown command 'xyzzy'. The commands are run, prune"),
        ("--config=configs/digits.py", "put one of run, prune"),
        ("", "unknown command ''"),
    ],
)
def test_unknown_command_is_one_line_and_exit_code_2(
    name: str, expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main([name]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert expected in printed.err
    assert printed.err.count("\n") == 1


def test_no_command_prints_the_usage_and_fails(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert cli.main([]) == 2
    assert capsys.readouterr().err.startswith("Usage: nas-jax COMMAND")


def test_arguments_and_exit_code_pass_through(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[object, ...]] = []

    class FakeCommand:
        @staticmethod
        def main(*arguments: object) -> int:
            seen.append(arguments)
            return 7

    for name in ("score", "stage_command"):
        monkeypatch.setitem(sys.modules, f"nas_jax.cli.{name}", FakeCommand)
    given = ["--config=a b.py", "--help"]
    assert cli.main(["score", *given]) == cli.main(["prune", *given]) == 7
    assert seen == [(given,), (given, "prune")]
