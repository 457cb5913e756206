"""The launchers end in one and the same command, whatever its arguments hold."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas_jax.run.interrupt import STOPPED

LAUNCH = Path(__file__).resolve().parents[2] / "launch"
LAUNCHERS = {
    "local.sh": [],
    "slurm.sbatch": [],
    "tpu_vm.sh": ["--name=vm", "--zone=z", "--repo=https://example.com/a b.git"],
}
CONFIG = ["--config=configs/digits.py", "--workdir=runs/first"]

Fake = Callable[[str, str], None]


def call(
    launcher: str, *arguments: str, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Calls a launcher with the options that it cannot do without."""
    result = subprocess.run(
        ["bash", str(LAUNCH / launcher), *LAUNCHERS[launcher], *arguments],
        capture_output=True,
        timeout=60,
        env={"PATH": os.environ["PATH"], **(environment or {})},
    )
    # Not text=True, which would turn a carriage return into a line break.
    return subprocess.CompletedProcess(
        result.args, result.returncode, result.stdout.decode(), result.stderr.decode()
    )


def run_command(launcher: str, printed: str) -> list[str]:
    """Returns the arguments of nas-jax in a line that a dry run printed."""
    words = shlex.split(printed)
    if launcher == "tpu_vm.sh":
        assert words[:5] == ["gcloud", "compute", "tpus", "tpu-vm", "ssh"]
        remote = words[-1].removeprefix("--command=")
        words = shlex.split(remote.rpartition(" && exec ")[2])
    if launcher == "slurm.sbatch":
        assert words[:2] == ["srun", "--cpus-per-task=8"]
        words = words[2:]
    assert Path(words[0]).name == "nas-jax"
    return words[1:]


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fake:
    """Puts a bash script on PATH under the name of a program."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")

    def write(name: str, text: str) -> None:
        (folder / name).write_text(f"#!/usr/bin/env bash\n{text}\n", encoding="utf-8")
        (folder / name).chmod(0o755)

    return write


@pytest.mark.parametrize("path", sorted(LAUNCH.glob("*[!.md]")), ids=lambda p: p.name)
def test_bash_can_read_it(path: Path) -> None:
    subprocess.run(["bash", "-n", str(path)], check=True, timeout=60)


@pytest.mark.parametrize("launcher", LAUNCHERS)
@pytest.mark.parametrize(
    "arguments",
    [
        CONFIG,
        ["--workdir=runs/first", "--config=configs/digits.py"],
        ["--config", "configs/digits.py", "--workdir", "runs/first"],
    ],
    ids=["usual order", "workdir first", "values apart"],
)
def test_dry_run_prints_the_same_command(launcher: str, arguments: list[str]) -> None:
    result = call(launcher, "--dry_run", *arguments)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.count("\n") == 1
    assert run_command(launcher, result.stdout) == ["run", *CONFIG]


def test_dry_run_counts_wherever_it_stands() -> None:
    result = call("local.sh", *CONFIG, "--config.seed=1", "--dry_run")
    assert run_command("local.sh", result.stdout) == ["run", *CONFIG, "--config.seed=1"]


AWKWARD = [
    "--config.name=two words",
    '--config.name=it\'s "quoted" `$HOME` $(false) \\ *',
    "--config.space.mask='' & | ; < > # ~ ! {a,b}",
    '--config.prune.proxies=("nwot", "synflow")',
    "--config.search.epochs",
    "25",
    "",
    "line\nbreak\tand ünïcode",
]


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_awkward_arguments_survive(launcher: str) -> None:
    result = call(launcher, "--dry_run", *CONFIG, *AWKWARD)
    assert run_command(launcher, result.stdout) == ["run", *CONFIG, *AWKWARD]


@settings(max_examples=15)
@given(st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1))
def test_any_override_survives_two_shells(text: str) -> None:
    override = f"--config.name={text}"
    result = call("tpu_vm.sh", "--dry_run", *CONFIG, override)
    assert run_command("tpu_vm.sh", result.stdout) == ["run", *CONFIG, override]


@pytest.mark.parametrize("launcher", LAUNCHERS)
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--config is missing"),
        (["--workdir=runs/first"], "--config is missing"),
        (["--config=configs/digits.py"], "--workdir is missing"),
        (["--config=", "--workdir=w"], "--config needs a value"),
        (["--workdir=w", "--config"], "--config needs a value"),
        (["--confg=configs/digits.py", "--workdir=w"], "argument '--confg=configs"),
        (["configs/digits.py", *CONFIG], "argument 'configs/digits.py' before"),
        (["--config.seed=1", *CONFIG], "argument '--config.seed=1' before --config"),
        ([*CONFIG, "--config=b.py"], "--config is given twice"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    launcher: str, arguments: list[str], message: str
) -> None:
    result = call(launcher, "--dry_run", *arguments)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith(f"{launcher}: ")
    assert message in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_help_names_every_option(launcher: str) -> None:
    result = call(launcher, "--help")
    assert (result.returncode, result.stderr) == (0, "")
    source = (LAUNCH / launcher).read_text(encoding="utf-8")
    (own,) = [x for x in source.splitlines() if x.startswith("LAUNCHER_OPTIONS=")]
    for option in ["--config", "--workdir", "--dry_run", *shlex.split(own)[0].split()]:
        assert f"\n  {option.removeprefix('LAUNCHER_OPTIONS=')}" in result.stdout


def test_venv_option_names_the_environment(tmp_path: Path) -> None:
    result = call("local.sh", f"--venv={tmp_path}/my env", "--dry_run", *CONFIG)
    assert shlex.split(result.stdout) == [
        f"{tmp_path}/my env/bin/nas-jax",
        "run",
        *CONFIG,
    ]


def test_missing_environment_is_named(tmp_path: Path) -> None:
    result = call("local.sh", f"--venv={tmp_path}", *CONFIG)
    assert result.returncode == 2
    assert f"there is no '{tmp_path}/bin/nas-jax'" in result.stderr


def test_local_runs_what_the_dry_run_prints(fake: Fake) -> None:
    fake("nas-jax", 'printf "%s\\0" "$@"; exit 3')
    result = call("local.sh", *CONFIG, *AWKWARD)
    assert result.returncode == 3
    assert result.stdout.split("\0")[:-1] == ["run", *CONFIG, *AWKWARD]


def test_slurm_outside_a_job_says_so() -> None:
    result = call("slurm.sbatch", *CONFIG)
    assert result.returncode == 2
    assert "submit it with sbatch" in result.stderr


def test_slurm_finds_the_checkout_from_its_copy(tmp_path: Path) -> None:
    copy = tmp_path / "slurm_script"
    copy.write_bytes((LAUNCH / "slurm.sbatch").read_bytes())
    command = ["bash", str(copy), "--dry_run", *CONFIG]
    for folder, code in [(LAUNCH.parent, 0), (tmp_path, 2)]:
        environment = {**os.environ, "SLURM_SUBMIT_DIR": str(folder)}
        result = subprocess.run(command, env=environment, capture_output=True)
        assert result.returncode == code


def test_slurm_hands_the_exit_code_on(fake: Fake) -> None:
    fake("srun", 'shift; exec "$@"')
    fake("nas-jax", "exit 3")
    fake("scontrol", "echo requeued")
    result = call("slurm.sbatch", *CONFIG, environment={"SLURM_JOB_ID": "17"})
    assert (result.returncode, result.stdout) == (3, "")


@pytest.mark.parametrize(
    ("sent", "code", "expected"),
    [
        (signal.SIGUSR1, STOPPED, "saved\nscontrol requeue 17\n"),
        (signal.SIGUSR1, 0, "saved\n"),
        (signal.SIGUSR1, 2, "saved\n"),
        (signal.SIGTERM, STOPPED, "saved\n"),
    ],
    ids=["time limit", "finished in time", "failed", "cancelled"],
)
def test_slurm_lets_the_run_save(
    sent: signal.Signals, code: int, expected: str, fake: Fake, tmp_path: Path
) -> None:
    ready = tmp_path / "ready"
    fake("srun", 'shift; exec "$@"')
    fake("scontrol", 'echo scontrol "$@"')
    fake(
        "nas-jax",
        f'trap "sleep 0.2; echo saved; exit {code}" TERM\n'
        f"touch {shlex.quote(str(ready))}\n"
        "while true; do sleep 0.05; done",
    )
    job = subprocess.Popen(
        ["bash", str(LAUNCH / "slurm.sbatch"), *CONFIG],
        env={**os.environ, "SLURM_JOB_ID": "17"},
        stdout=subprocess.PIPE,
        text=True,
    )
    give_up = time.monotonic() + 30
    while not ready.exists() and time.monotonic() < give_up:
        time.sleep(0.02)
    job.send_signal(sent)
    printed, _ = job.communicate(timeout=30)
    assert (job.returncode, printed) == (code, expected)


def test_tpu_command_installs_once_and_runs(fake: Fake, tmp_path: Path) -> None:
    """Lets the VM's part run here, against a git, a python and a pip that log calls."""
    folder = shlex.quote(str(tmp_path))
    fake("gcloud", f'cd {folder}; for last; do :; done; bash -c "${{last#--command=}}"')
    log = f'printf "%s " "$(basename "$0")" "$@" >>{folder}/log'
    fake("git", f'{log}; [[ $1 != clone ]] || mkdir "$4"')
    fake("python9", f"{log}; mkdir -p .venv/bin; cp {folder}/bin/pip .venv/bin")
    fake("pip", f"{log}; cp {folder}/bin/nas-jax .venv/bin")
    fake("nas-jax", 'printf "%s\\0" "$@"')
    arguments = ["--python=python9", "--branch=a b", *CONFIG, *AWKWARD]
    for _ in range(2):
        result = call("tpu_vm.sh", *arguments)
        assert result.stderr == ""
        assert result.stdout.split("\0")[:-1] == ["run", *CONFIG, *AWKWARD]
    fetch = "git fetch --quiet origin a b git checkout --quiet FETCH_HEAD "
    assert (tmp_path / "log").read_text(encoding="utf-8") == (
        "git clone --quiet https://example.com/a b.git nas_jax "
        f"{fetch}python9 -m venv .venv pip install --quiet -e .[tpu] {fetch}"
    )


@pytest.mark.parametrize("option", ["--name", "--zone"])
def test_tpu_vm_needs_a_machine(option: str) -> None:
    given_options = [o for o in LAUNCHERS["tpu_vm.sh"] if not o.startswith(option)]
    result = subprocess.run(
        ["bash", str(LAUNCH / "tpu_vm.sh"), "--dry_run", *given_options, *CONFIG],
        capture_output=True,
        text=True,
    )
    assert result.returncode == 2
    assert f"{option} is missing" in result.stderr
