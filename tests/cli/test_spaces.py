"""Search spaces as a configuration names them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nas_jax.config import DataConfig, ExperimentConfig
from nas_jax.errors import MaskError
from nas_jax.run.experiment import load_data
from nas_jax.spaces import SpaceMask, get_mask, get_space


def config(name: str) -> ExperimentConfig:
    images = DataConfig(source="synthetic", image_size=16, num_train=256, num_test=8)
    made = ExperimentConfig(data=images)
    made.space.name = name
    return made


@pytest.mark.parametrize("name", ["darts", "nasbench201", "s1", "s2", "s3", "s4"])
def test_a_search_starts_from_the_published_operations(name: str) -> None:
    _, space, start = load_data(config(name))
    assert start == get_mask(name) and start.space == space


def test_a_mask_file_takes_from_the_published_operations(tmp_path: Path) -> None:
    file = tmp_path / "mask.json"
    darts = get_space("darts")
    separable = [o for o in darts.operations() if o[2] == "skip_connect"]
    file.write_text(SpaceMask.full(darts).drop(separable).to_json())
    made = config("s2")
    made.space.mask = str(file)
    _, _, start = load_data(made)
    ops = {edge for edges in start.kept for edge in edges}
    assert ops == {("sep_conv_3x3",)}
    # A file without any operation of S2 on an edge cuts it.
    cells = json.loads(SpaceMask.full(darts).to_json())
    cells["cells"]["normal"][3] = ["max_pool_3x3"]
    file.write_text(json.dumps(cells))
    with pytest.raises(MaskError, match="edge 3 .* keeps no operation"):
        load_data(made)
