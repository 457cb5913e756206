"""Copies among the images: a batch of scores has none of them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

NUM_TRAIN = 400


def npz(folder: Path, different: int) -> list[str]:
    """Writes 200 images of a class and copies of 20 of another; the source's flags.

    Args:
        folder: Where to.
        different: How many of the 200 are different; each is repeated equally often.
    """
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (different + 20, 8, 8), np.uint8)
    once, often = images[:different], images[different:]
    x = np.concatenate([once.repeat(200 // different, 0), often.repeat(10, 0)])
    y = np.arange(NUM_TRAIN) // 200
    test = random.integers(0, 256, (4, 8, 8), np.uint8)
    path = folder / "copies.npz"
    np.savez(path, x_train=x, y_train=y, x_test=test, y_test=np.arange(4) % 2)
    source = ["source=npz", f"path={path}", "image_size=0"]
    return [f"--config.data.{option}" for option in source]


@pytest.mark.parametrize("strategy", ["zero_one_shot", "zero_cost_pt"])
def test_copies_do_not_stop_pruning(
    cli, tiny, pools, tmp_path, caplog, strategy
) -> None:
    workdir = tmp_path / "run"
    flags = [
        *npz(tmp_path, different=200),
        f"--config.prune.strategy={strategy}",
        "--config.prune.batch_size=64",
        f"--workdir={workdir}",
    ]
    if strategy != "zero_one_shot":
        flags.append("--config.prune.proxies=()")
    assert cli.main("prune", tiny, pools, *flags) == 0
    assert (
        "180 of 400 training images are copies of others: scores draw from the 220 "
        "different ones" in caplog.text
    )
    prune = json.loads((workdir / "prune.json").read_text())
    assert prune["distinct_images"] == 220
    assert {ranker["batch_size"] for ranker in prune["rankers"]} == {64}
    assert prune["kept"] == 4
    scored = [row for row in prune["operations"] if not row.get("reason")]
    assert scored and all(np.isfinite(row["scores"]["nwot"]) for row in scored)


def test_too_few_different_images(cli, tiny, pools, tmp_path, capfd) -> None:
    workdir = tmp_path / "run"
    size = "--config.prune.batch_size=64"
    flags = [tiny, pools, *npz(tmp_path, different=20), f"--workdir={workdir}"]
    assert cli.main("prune", *flags, size) == 2
    error = capfd.readouterr().err
    assert error.count("\n") == 1
    assert (
        "--config.prune.batch_size is 64, but only 40 of the 400 training images differ"
        in error
    )
    assert "nwot can have no copies" in error
    assert not workdir.exists()
    # Either way out that the message names is one.
    assert "pass --config.prune.batch_size=40 or less" in error
    assert cli.main("prune", *flags, "--config.prune.batch_size=40") == 0
    assert "--config.prune.proxies that take copies: fisher, " in error
    other = [*flags[:-1], f"--workdir={tmp_path / 'other'}"]
    proxies = "--config.prune.proxies=('fisher',)"
    assert cli.main("prune", *other, size, proxies) == 0


def test_a_strategy_takes_what_different_images_there_are(
    cli, tiny, pools, tmp_path
) -> None:
    workdir = tmp_path / "run"
    # The strategy's own batch has 64 images.
    own = "--config.prune.batch_size=0"
    flags = [*npz(tmp_path, different=20), own, f"--workdir={workdir}"]
    assert cli.main("prune", tiny, pools, *flags) == 0
    prune = json.loads((workdir / "prune.json").read_text())
    assert {ranker["batch_size"] for ranker in prune["rankers"]} == {40}
    said = "nwot compares 40 images and not 64: there are no more different ones"
    assert said in prune["warnings"]


def test_score_draws_different_images(cli, tmp_path, capfd, caplog) -> None:
    json_file = tmp_path / "scores.json"
    flags = [
        *npz(tmp_path, different=20),
        *("--space=nasbench201", "--channels=2", "--cells=1", "--num=2"),
        f"--json={json_file}",
    ]
    compared = "--proxies=nwot,ntk_eigen"
    assert cli.main("score", *flags, compared, "--batch_size=40") == 0
    assert "360 of 400 training images are copies" in caplog.text
    capfd.readouterr()
    rows = json.loads(json_file.read_text())["rows"]
    assert all(np.isfinite(row["scores"]["nwot"]) for row in rows)
    json_file.unlink()
    assert cli.main("score", *flags, compared, "--batch_size=41") == 2
    error = capfd.readouterr().err
    assert "--batch_size is 41, but only 40 of the 400 training images" in error
    assert "nwot, ntk_eigen can have no copies" in error
    assert "pass --batch_size=40 or less" in error and "--proxies that take" in error
    assert not json_file.exists()
