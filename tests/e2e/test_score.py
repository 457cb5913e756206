"""`nas-jax score` on real networks: the whole way, killed processes, many devices."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nas_jax.run.interrupt import STOPPED
from nas_jax.spaces import get_space
from nas_jax.spaces.nasbench201 import operations_of

REPO_ROOT = Path(__file__).resolve().parents[2]
TINY = (
    "--channels=2",
    "--cells=1",
    "--num=6",
    "--proxies=params,nwot",
    "--batch_size=16",
    "--chunk=2",
)

# Sends a signal to its own process right after a call's scores are known.
DRIVER = """
import os, sys
from nas_jax.cli import score
from nas_jax.cli.score import loop

at, number, *arguments = sys.argv[1:]
add = loop.Results.add


def signalled(self, scores):
    add(self, scores)
    if len(self.rows) == int(at):
        os.kill(os.getpid(), int(number))


loop.Results.add = signalled
sys.exit(score.main(arguments))
"""
TERM, KILL = str(int(signal.SIGTERM)), str(int(signal.SIGKILL))


def read(file: Path) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(file.read_text())
    return value


@pytest.fixture(scope="session")
def whole(cli: Any, once: Callable[..., Path]) -> dict[str, Any]:
    """The results of a run that nothing interrupted."""

    def build(folder: Path) -> None:
        code, stdout, stderr = cli.start("score", *TINY, f"--json={folder / 'r.json'}")
        assert code == 0, stderr
        assert stdout.startswith("6 architectures, ")
        assert "compiled in" in stderr and "score: architecture 6/6" in stderr

    return read(once("score", build) / "r.json")


def test_parameters_are_counted_by_hand(whole: dict[str, Any]) -> None:
    space = get_space("nasbench201")
    from nas_jax.spaces import Genotype

    areas = {"nor_conv_1x1": 1, "nor_conv_3x3": 9}
    assert len(whole["rows"]) == 6 and whole["complete"] is True
    for row in whole["rows"]:
        ops = operations_of(Genotype.parse(space, row["architecture"]))
        # Stem, residual blocks, last normalisation and classifier; a normalisation has
        # a scale and a shift.
        total = 9 * 1 * 2 + 4 + 2 * 8 + 8 * 10 + 10
        for channels in (2, 4):
            total += (9 * 2 + 9 * 4 + 2) * channels**2 + 2 * 4 * channels
        for channels in (2, 4, 8):
            for op in ops:
                area = areas.get(op, 0)
                total += area * channels**2 + 2 * channels * (area > 0)
        assert row["scores"]["params"] == total
        assert row["scores"]["nwot"] is not None or row["failed"]["nwot"]


def test_killed_and_gone_on_with(cli: Any, whole: Any, tmp_path: Path) -> None:
    file = tmp_path / "r.json"
    flags = (*TINY, f"--json={file}", f"--csv={tmp_path / 'r.csv'}")
    code, _, _ = cli.start("4", KILL, *flags, script=DRIVER)
    assert code == -signal.SIGKILL
    # The second chunk of 2 was known but not written.
    assert read(file)["rows"] == whole["rows"][:2]
    assert len((tmp_path / "r.csv").read_text().splitlines()) == 3
    assert cli.main("score", *flags) == 0
    assert read(file)["rows"] == whole["rows"]
    assert read(file)["settings"] == whole["settings"]
    assert len((tmp_path / "r.csv").read_text().splitlines()) == 7
    assert sorted(p.name for p in tmp_path.iterdir()) == ["r.csv", "r.json"]


def test_terminated_and_gone_on_with(cli: Any, whole: Any, tmp_path: Path) -> None:
    flags = (*TINY, f"--json={tmp_path / 'r.json'}")
    code, stdout, stderr = cli.start("4", TERM, *flags, script=DRIVER)
    assert code == STOPPED
    assert "score stopped by SIGTERM and saved at step 4; the same command" in stderr
    assert stdout == "" and "Traceback" not in stderr
    assert read(tmp_path / "r.json")["rows"] == whole["rows"][:4]
    assert cli.main("score", *flags) == 0
    assert read(tmp_path / "r.json")["rows"] == whole["rows"]


def test_several_devices_and_several_side_by_side(whole: Any, tmp_path: Path) -> None:
    file = tmp_path / "r.json"
    devices = "--xla_force_host_platform_device_count=2"
    subprocess.run(
        [
            *(sys.executable, "-m", "nas_jax.cli.main", "score", *TINY),
            *(f"--json={file}", "--width=2"),
        ],
        env={**os.environ, "PYTHONPATH": str(REPO_ROOT), "XLA_FLAGS": devices},
        check=True,
        capture_output=True,
        timeout=300,
    )
    found = read(file)
    assert (found["devices"], found["width"]) == (2, 2)
    assert found["settings"] == whole["settings"]
    for row, wanted in zip(found["rows"], whole["rows"], strict=True):
        assert row["architecture"] == wanted["architecture"]
        for name, score in wanted["scores"].items():
            np.testing.assert_allclose(row["scores"][name], score, rtol=1e-4)


def test_genotypes_of_darts_from_a_file(cli: Any, tmp_path: Path) -> None:
    from nas_jax.scoring import sample_genotypes
    from nas_jax.spaces import darts_space

    genotypes = list(map(str, sample_genotypes(darts_space(), 3, seed=0)))
    (tmp_path / "archs.txt").write_text("\n".join(genotypes))
    flags = ("--space=darts", "--channels=1", "--cells=2", "--proxies=params,sep_convs")
    files = (f"--archs={tmp_path / 'archs.txt'}", f"--json={tmp_path / 'r.json'}")
    assert cli.main("score", *flags, *files) == 0
    rows = read(tmp_path / "r.json")["rows"]
    assert [row["architecture"] for row in rows] == genotypes
    for row in rows:
        assert row["scores"]["sep_convs"] == row["architecture"].count("sep_conv")
        assert row["scores"]["params"] > 0


def test_a_part_of_darts_is_scored_as_such(cli: Any, tmp_path: Path) -> None:
    flags = ("--space=s2", "--num=4", "--channels=1", "--cells=2", "--proxies=params")
    assert cli.main("score", *flags, f"--json={tmp_path / 'r.json'}") == 0
    found = read(tmp_path / "r.json")
    assert found["settings"]["space"] == "s2" and len(found["rows"]) == 4
    for row in found["rows"]:
        ops = re.findall(r"\('(\w+)', \d\)", row["architecture"])
        assert len(ops) == 16 and set(ops) <= {"skip_connect", "sep_conv_3x3"}


def test_the_published_accuracies(
    cli: Any, tmp_path: Path, shared_data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = shared_data / "nb201" / "nb201_cifar10.csv.gz"
    file = tmp_path / "r.json"
    flags = ("--channels=2", "--cells=1", "--num=200", "--proxies=flops,params")
    compared = (f"--table={table}", "--target=c10_test")
    assert cli.main("score", *flags, *compared, f"--json={file}") == 0
    found = read(file)["correlations"]
    assert found["missing"] == 0
    # Of the whole space .753, for networks with other constants.
    rho = found["proxies"]["params"]["spearman"]
    assert rho["used"] == 200 and 0.6 < rho["value"] < 0.9
    assert "rank correlation with c10_test" in capsys.readouterr().out
