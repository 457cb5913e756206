"""Signals in real processes: what each phase does with the first and the second."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from nas_jax.run.interrupt import STOPPED, Interrupt

SCRIPT = """
import sys, time
from nas_jax.cli import app
from nas_jax.run.interrupt import Stopped

mode = sys.argv[1]

def main(call):
    interrupt = call.interrupt
    interrupt.resumable = mode != "not resumable"
    interrupt.doing = "while it compiled"
    if mode in ("loop", "deaf"):
        with interrupt.saving("search"):
            print("ready", flush=True)
            while not interrupt.requested or mode == "deaf":
                time.sleep(0.01)
            interrupt.stop_if_requested("search", 7)
    if mode == "ends":
        with interrupt.saving("search"):
            print("ready", flush=True)
            while not interrupt.requested:
                time.sleep(0.01)
        print("not reached")
    print("ready", flush=True)
    time.sleep(60)

sys.exit(app.run(main, [], name="x", help_text="", needs_config=False,
                 needs_workdir=False))
"""


@pytest.fixture
def start(repo_root: Path) -> Iterator[object]:
    processes: list[subprocess.Popen[str]] = []

    def start(mode: str, before: tuple[str, ...] = ()) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [*before, sys.executable, "-c", SCRIPT, mode],
            cwd=repo_root,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        processes.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    stdout, stderr = process.communicate(timeout=20)
    assert stdout == "" and "Traceback" not in stderr
    return process.returncode, stderr


SIGNALS = [signal.SIGTERM, signal.SIGINT, signal.SIGHUP]


@pytest.mark.parametrize("number", SIGNALS)
def test_between_saves_a_signal_ends_it_at_once(start, number) -> None:
    process = start("compiling")
    process.send_signal(number)
    code, stderr = ended(process)
    assert code == STOPPED
    assert f"stopped by {number.name} while it compiled" in stderr
    assert "the same command goes on" in stderr
    assert len(stderr.splitlines()) == 1


@pytest.mark.parametrize("number", SIGNALS)
def test_a_loop_saves_first(start, number) -> None:
    process = start("loop")
    process.send_signal(number)
    code, stderr = ended(process)
    assert code == STOPPED
    assert f"search stopped by {number.name} and saved at step 7" in stderr
    assert len(stderr.splitlines()) == 2


def test_a_second_signal_ends_a_loop_at_once(start) -> None:
    process = start("deaf")
    process.send_signal(signal.SIGTERM)
    assert process.stderr.readline() == (
        "nas-jax: SIGTERM: in search, saving; the signal again ends it now\n"
    )
    process.send_signal(signal.SIGINT)
    assert ended(process) == (130, "nas-jax: SIGINT again: ended at once\n")


def test_a_loop_that_was_about_to_end_says_so(start) -> None:
    process = start("ends")
    process.send_signal(signal.SIGTERM)
    code, stderr = ended(process)
    assert code == STOPPED and "search is finished and saved" in stderr


def test_what_cannot_go_on_has_the_code_of_a_shell(start) -> None:
    process = start("not resumable")
    process.send_signal(signal.SIGINT)
    assert ended(process) == (130, "nas-jax: ended by SIGINT while it compiled\n")


def test_nohup_stays_nohup(start) -> None:
    process = start("loop", before=("nohup",))
    process.send_signal(signal.SIGHUP)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(timeout=0.5)
    process.send_signal(signal.SIGTERM)
    assert ended(process)[0] == STOPPED


def test_handlers_are_put_back() -> None:
    def handlers() -> list[object]:
        return [signal.getsignal(number) for number in SIGNALS]

    before, threads = handlers(), threading.active_count()
    with Interrupt() as interrupt, interrupt.saving("search"):
        assert handlers() != before
        os.kill(os.getpid(), signal.SIGWINCH)
    assert not interrupt.requested
    assert handlers() == before
    assert threading.active_count() == threads


def test_other_threads_leave_signals_alone() -> None:
    found: list[bool] = []

    def work() -> None:
        with Interrupt() as interrupt:
            found.append(interrupt.requested)

    before = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [False] and signal.getsignal(signal.SIGTERM) is before
