"""Metric rows that survive a kill, and lines that say how far a run is."""

from __future__ import annotations

import io
import json
import math
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from absl import logging
from hypothesis import given
from hypothesis import strategies as st

from nas_jax import metrics
from nas_jax.errors import WorkdirError
from nas_jax.metrics import JsonlWriter, Progress, format_bytes, format_duration


def rows(path: Path) -> list[dict[str, Any]]:
    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is not strict JSON")

    lines = path.read_text(encoding="utf-8").splitlines()
    return [json.loads(line, parse_constant=refuse) for line in lines]


def test_rows_are_one_strict_object_a_line_with_the_step_first(tmp_path: Path) -> None:
    path = tmp_path / "search.jsonl"
    with JsonlWriter(path) as writer:
        writer.write(10, {"loss": np.float32(0.5), "nan": math.nan})
        writer.write(20, {"alphas": {"normal": np.eye(2)}, "note": "a\nb"})
    assert path.read_text(encoding="utf-8").startswith('{"step": 10, ')
    assert rows(path) == [
        {"step": 10, "loss": 0.5, "nan": None},
        {"step": 20, "alphas": {"normal": [[1, 0], [0, 1]]}, "note": "a\nb"},
    ]


def test_row_is_in_the_file_before_write_returns(tmp_path: Path) -> None:
    with JsonlWriter(tmp_path / "a.jsonl") as writer:
        writer.write(1, {})
        assert rows(tmp_path / "a.jsonl") == [{"step": 1}]


def test_metrics_cannot_replace_the_step(tmp_path: Path) -> None:
    with JsonlWriter(tmp_path / "a.jsonl") as writer:
        with pytest.raises(TypeError, match="step"):
            writer.write(1, {"step": 2})


def test_value_that_is_no_json_writes_nothing(tmp_path: Path) -> None:
    with JsonlWriter(tmp_path / "a.jsonl") as writer:
        with pytest.raises(TypeError, match="object"):
            writer.write(1, {"a": 1, "b": object()})
    assert (tmp_path / "a.jsonl").read_bytes() == b""


def test_without_a_resume_step_the_file_starts_anew(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"step": 1}\nrubbish\n')
    JsonlWriter(tmp_path / "a.jsonl").close()
    assert (tmp_path / "a.jsonl").read_bytes() == b""


FIVE = "".join(f'{{"step": {step}}}\n' for step in (1, 2, 2, 3, 4))


@pytest.mark.parametrize(
    ("text", "resume_step", "kept"),
    [
        (FIVE, 0, []),
        (FIVE, 2, [1, 2, 2]),
        (FIVE, 3, [1, 2, 2, 3]),
        (FIVE, 9, [1, 2, 2, 3, 4]),
        (FIVE + '{"step": 5', 9, [1, 2, 2, 3, 4]),
        (FIVE + '{"step": 5}', 9, [1, 2, 2, 3, 4]),
        (FIVE + "\0\0\0\0", 9, [1, 2, 2, 3, 4]),
        (FIVE + '{"step": 5}\n\xff', 9, [1, 2, 2, 3, 4, 5]),
        ("", 9, []),
    ],
)
def test_resume_cuts_later_rows_and_a_half_written_one(
    tmp_path: Path, text: str, resume_step: int, kept: list[int]
) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(text.encode("latin-1"))
    with JsonlWriter(path, resume_step=resume_step) as writer:
        writer.write(99, {})
    assert [row["step"] for row in rows(path)] == [*kept, 99]


def test_resume_without_a_file_starts_one(tmp_path: Path) -> None:
    with JsonlWriter(tmp_path / "a.jsonl", resume_step=5) as writer:
        writer.write(6, {})
    assert rows(tmp_path / "a.jsonl") == [{"step": 6}]


@pytest.mark.parametrize("broken", ["{", "[1]", "{}", '{"step": "1"}'])
def test_damaged_row_in_the_middle_costs_that_row_alone(
    tmp_path: Path, broken: str, caplog: Any
) -> None:
    path = tmp_path / "a.jsonl"
    text = f'{{"step": 1}}\n{broken}\n{{"step": 3}}\n{{"step": 4}}\n'
    path.write_text(text)
    with JsonlWriter(path, resume_step=3) as writer:
        writer.write(4, {"loss": 0.5})
    assert path.read_text() == '{"step": 1}\n{"step": 3}\n{"step": 4, "loss": 0.5}\n'
    assert "line 2 is damaged" in caplog.text and "a.jsonl.damaged" in caplog.text
    assert (tmp_path / "a.jsonl.damaged").read_text() == text


def test_rows_of_two_writers_are_put_in_order(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    rows = [f'{{"step": {step}}}\n' for step in (1, 2, 1, 3, 2, 4)]
    path.write_text("".join(rows))
    JsonlWriter(path, resume_step=3).close()
    assert path.read_text() == "".join(sorted(rows[:-1]))


def test_rows_tell_what_they_were_made_from(tmp_path: Path) -> None:
    with JsonlWriter(tmp_path / "a.jsonl", made_from="abc") as writer:
        writer.write(1, {"loss": 0.5})
    row = json.loads((tmp_path / "a.jsonl").read_text())
    assert row == {"step": 1, "loss": 0.5, "made_from": "abc"}


@given(
    st.lists(st.integers(0, 9), max_size=8).map(sorted), st.integers(0, 9), st.data()
)
def test_resume_from_any_cut_keeps_exactly_the_whole_rows(
    tmp_path_factory: pytest.TempPathFactory,
    steps: list[int],
    resume_step: int,
    data: st.DataObject,
) -> None:
    path = tmp_path_factory.mktemp("cut") / "a.jsonl"
    with JsonlWriter(path) as writer:
        for step in steps:
            writer.write(step, {"loss": 0.5})
    content = path.read_bytes()
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    whole = path.read_bytes().count(b"\n")
    JsonlWriter(path, resume_step=resume_step).close()
    expected = [step for step in steps[:whole] if step <= resume_step]
    assert [row["step"] for row in rows(path)] == expected


WRITE_FOREVER = """
import sys
from nas_jax.metrics import JsonlWriter

step = int(sys.argv[2])
writer = JsonlWriter(sys.argv[1], resume_step=step)
while True:
    step += 1
    writer.write(step, {"loss": 1 / step, "alphas": [[0.125] * 8] * 14})
"""


def test_killed_writer_resumes_without_a_gap(tmp_path: Path, repo_root: Path) -> None:
    path = tmp_path / "a.jsonl"
    resume_step = 0
    for _ in range(3):
        size = path.stat().st_size if path.exists() else 0
        process = subprocess.Popen(
            [sys.executable, "-c", WRITE_FOREVER, str(path), str(resume_step)],
            cwd=repo_root,
        )
        deadline = time.monotonic() + 30
        while not path.exists() or path.stat().st_size < size + 50_000:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        # As if the last checkpoint were some rows old, and the kill had cut a row.
        written = path.read_bytes().count(b"\n")
        with open(path, "ab") as file:
            file.write(b'{"step": 12')
        resume_step = written - 7
    JsonlWriter(path, resume_step=resume_step).close()
    found = rows(path)
    assert [row["step"] for row in found] == list(range(1, resume_step + 1))
    assert all(row["loss"] == 1 / row["step"] for row in found)


def test_unwritable_file_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(WorkdirError, match=r"cannot write .*No such file.*--workdir"):
        JsonlWriter(tmp_path / "missing" / "a.jsonl")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_full_disk_is_one_clear_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with JsonlWriter(tmp_path / "a.jsonl") as writer:
        with open("/dev/full", "wb", buffering=0) as full:
            monkeypatch.setattr(writer, "_file", full)
            with pytest.raises(WorkdirError, match=r"No space left.*free space"):
                writer.write(1, {})
            monkeypatch.undo()


def test_close_twice_is_allowed(tmp_path: Path) -> None:
    writer = JsonlWriter(tmp_path / "a.jsonl")
    writer.write(1, {})
    writer.flush()
    writer.close()
    writer.close()


class FakeClock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class FakeTerminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    found: list[str] = []
    monkeypatch.setattr(logging, "info", lambda text, *args: found.append(text % args))
    monkeypatch.setattr(metrics, "device_bytes_in_use", lambda: None)
    return found


def test_progress_logs_every_so_many_seconds_and_at_the_end(lines: list[str]) -> None:
    clock = FakeClock()
    progress = Progress(
        20, "search", every_seconds=10, clock=clock, stream=io.StringIO()
    )
    for step in range(1, 21):
        clock.now += 1
        progress.update(step, {"loss": np.float32(1 / step)})
    # 10 steps in 10 s leave 10 steps for 10 s.
    assert lines == [
        "search 10/20, 1 steps/s, 10 s left, loss 0.1",
        "search 20/20, 1 steps/s, loss 0.05",
    ]


def test_the_first_step_has_no_part_in_the_rate(lines: list[str]) -> None:
    clock = FakeClock()
    progress = Progress(481, "retrain", clock=clock, stream=io.StringIO())
    # It compiles for a minute; every step takes a quarter of a second.
    for step, seconds in enumerate([60.0, *480 * [0.25]], 1):
        clock.now += seconds
        progress.update(step)
    assert lines[:2] == [
        "retrain 1/481, the first took 1 min 00 s",
        "retrain 41/481, 4 steps/s, 1 min 50 s left",
    ]
    assert all("4 steps/s" in line for line in lines[1:])
    assert lines[-1] == "retrain 481/481, 4 steps/s"


def test_a_first_step_between_two_lines_has_no_part_either(lines: list[str]) -> None:
    clock = FakeClock()
    progress = Progress(100, "search", 10, clock=clock, stream=io.StringIO())
    clock.now = 8.0
    progress.update(1)
    clock.now = 10.0
    progress.update(5)
    # Of 10 s, 8 went into the first step; the other 4 took 2.
    assert lines == ["search 5/100, 2 steps/s, 48 s left"]


def test_first_steps_that_come_together(lines: list[str]) -> None:
    clock = FakeClock()
    progress = Progress(
        0, "prune: candidate", unit="candidates", clock=clock, stream=io.StringIO()
    )
    progress.total_steps = 32
    clock.now = 30.0
    progress.update(8)
    clock.now = 46.0
    progress.update(16)
    assert lines == [
        "prune: candidate 8/32, the first 8 took 30 s",
        "prune: candidate 16/32, 0.5 candidates/s, 32 s left",
    ]


def test_progress_of_a_resumed_run_counts_only_its_own_steps(lines: list[str]) -> None:
    clock = FakeClock()
    progress = Progress(
        200, "search", 5, start_step=100, clock=clock, stream=io.StringIO()
    )
    clock.now = 5.0
    progress.update(101)
    clock.now = 10.0
    progress.update(111)
    # 10 steps in 5 s; 89 are left.
    assert lines == [
        "search 101/200, the first took 5 s",
        "search 111/200, 2 steps/s, 44 s left",
    ]


def test_a_pause_that_is_told_has_no_part_in_the_rate(lines: list[str]) -> None:
    clock = FakeClock()
    progress = Progress(100, "retrain", 5, clock=clock, stream=io.StringIO())
    clock.now = 1.0
    progress.update(1)
    clock.now = 3.0
    progress.update(2)
    # A test compiles for 20 s.
    clock.now = 23.0
    progress.again(2)
    clock.now = 25.0
    progress.update(4)
    assert lines == ["retrain 4/100, 1 steps/s, 1 min 36 s left"]


def test_steps_that_were_skipped_have_no_part_in_the_rate(lines: list[str]) -> None:
    clock = FakeClock()
    progress = Progress(200, "prune", 5, clock=clock, stream=io.StringIO())
    for step in range(1, 101):
        progress.skip(step)
    clock.now = 30.0
    progress.update(101)
    clock.now = 40.0
    progress.update(111)
    assert lines == [
        "prune 101/200, the first took 30 s",
        "prune 111/200, 1 steps/s, 1 min 29 s left",
    ]


def test_progress_does_not_read_metrics_it_does_not_show(lines: list[str]) -> None:
    class Unreadable:
        def __float__(self) -> float:
            raise AssertionError("reading it would wait for the device")

    progress = Progress(9, "search", 10, clock=FakeClock(), stream=io.StringIO())
    progress.update(1, {"loss": Unreadable()})
    assert lines == []


def test_progress_that_stands_still_has_no_end_in_sight(lines: list[str]) -> None:
    clock = FakeClock()
    progress = Progress(9, "search", 10, clock=clock, stream=io.StringIO())
    clock.now = 10.0
    progress.update(0)
    assert lines == ["search 0/9, 10 s so far"]
    progress.update(1)
    clock.now = 20.0
    progress.update(1)
    assert lines[1:] == ["search 1/9, 0 steps/s, unknown time left"]


def test_a_step_counts_once_it_is_done(lines: list[str]) -> None:
    clock = FakeClock()

    class OnDevice:
        def __float__(self) -> float:
            clock.now += 9.0
            return 0.5

    progress = Progress(2, "search", clock=clock, stream=io.StringIO())
    clock.now = 5.0
    progress.update(1, {"loss": OnDevice()})
    clock.now = 6.0
    progress.update(2, {"loss": OnDevice()})
    # It was sent off after 1 s and took another 9.
    assert lines == ["search 2/2, 0.1 steps/s, loss 0.5"]


def test_progress_shows_device_memory(
    lines: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics, "device_bytes_in_use", lambda: 3 * 2**30)
    Progress(1, "search", clock=FakeClock(), stream=io.StringIO()).update(1)
    assert lines == ["search 1/1, the first took 0 s, 3.00 GiB in use"]


def test_progress_on_a_terminal_rewrites_one_line(lines: list[str]) -> None:
    clock, terminal = FakeClock(), FakeTerminal()
    progress = Progress(3, "x", every_seconds=60, clock=clock, stream=terminal)
    for step, value in ((1, 12345.0), (2, 1.0), (3, 1.0)):
        clock.now += 1
        progress.update(step, {"loss": value})
    first, second, third = terminal.getvalue().removeprefix("\r").split("\r")
    assert first == "x 1/3, the first took 1 s, loss 1.234e+04"
    assert second == "x 2/3, 1 steps/s, 1 s left, loss 1".ljust(len(first))
    assert third.endswith("\n")
    assert third.count("\n") == 1
    assert lines == []


def test_device_memory_is_a_count_or_unknown() -> None:
    count = metrics.device_bytes_in_use()
    assert count is None or count >= 0


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0 s"),
        (0.345, "0.34 s"),
        (9.94, "9.9 s"),
        (42.4, "42 s"),
        (59.6, "1 min 00 s"),
        (185, "3 min 05 s"),
        (7620, "2 h 07 min"),
        (86399.9, "1 d 00 h"),
        (180000, "2 d 02 h"),
        (math.inf, "unknown time"),
        (math.nan, "unknown time"),
    ],
)
def test_format_duration(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (512, "512 B"),
        (1536, "1.50 KiB"),
        (5 * 2**20, "5.00 MiB"),
        (3.21 * 2**30, "3.21 GiB"),
        (2**50, "1024.00 TiB"),
        (-2048, "-2.00 KiB"),
    ],
)
def test_format_bytes(count: float, text: str) -> None:
    assert format_bytes(count) == text
