"""Images of the user's own: size, channels and classes follow the data."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image


def test_image_folder(cli, tiny, pools, tmp_path) -> None:
    random = np.random.default_rng(0)
    for index in range(60):
        folder = tmp_path / "images" / ("dark" if index % 2 else "light")
        folder.mkdir(parents=True, exist_ok=True)
        pixels = random.integers(0, 120, (8, 8, 3)) + 120 * (index % 2 == 0)
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{index}.png")
    workdir = tmp_path / "run"
    source = (
        "--config.data.source=folder",
        f"--config.data.path={tmp_path / 'images'}",
    )
    # No pruning: the search step is the same before and after.
    level = "--config.prune.level=0"
    assert cli.main("run", tiny, pools, *source, level, f"--workdir={workdir}") == 0
    summary = json.loads((workdir / "summary.json").read_text())
    assert summary["num_test"] == 12
    peak = summary["peak_memory_bytes"]
    assert peak["pruned"] == peak["unpruned"] > 0
    assert weights(workdir) == {"stem": [3, 3, 3], "classes": 2}


def test_npz_file(cli, tiny, pools, tmp_path) -> None:
    random = np.random.default_rng(0)
    arrays = {}
    for part, count in (("train", 48), ("test", 10)):
        labels = np.arange(count) % 4
        # Another height than width, in grey.
        images = random.integers(0, 60, (count, 8, 12)) + 60 * labels[:, None, None]
        arrays |= {f"x_{part}": images.astype(np.uint8), f"y_{part}": labels}
    np.savez(tmp_path / "own.npz", **arrays)
    workdir = tmp_path / "run"
    source = (
        "--config.data.source=npz",
        f"--config.data.path={tmp_path / 'own.npz'}",
        "--config.data.image_size=0",
    )
    assert cli.main("run", tiny, pools, *source, f"--workdir={workdir}") == 0
    summary = json.loads((workdir / "summary.json").read_text())
    assert summary["num_test"] == 10
    # A start of 16 operations is half of the space; a quarter of it is kept.
    assert summary["kept_fraction"] == 0.25
    assert weights(workdir) == {"stem": [3, 3, 1], "classes": 4}


def weights(workdir: Path) -> dict[str, object]:
    """Receptive field and inputs of the stem, and outputs of the last layer."""
    newest = max(
        (workdir / "checkpoints" / "retrain").iterdir(), key=lambda p: int(p.name)
    )
    shapes = json.loads((newest / "structure.json").read_text())
    found: dict[str, object] = {}
    for name, text in shapes.items():
        shape = json.loads(text[text.index("[") :])
        if name.startswith("state.params") and name.endswith("['kernel']"):
            if "stem" in name.lower():
                found["stem"] = shape[:3]
            if len(shape) == 2:
                found["classes"] = shape[1]
    return found
