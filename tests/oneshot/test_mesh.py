"""A step on a mesh of devices: simulated ones, in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys

MESHES = """
import json
import jax, jax.numpy as jnp, numpy as np, optax
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P
from nas_jax.errors import ConfigError
from nas_jax.networks import Supernet
from nas_jax.oneshot import OneShotSearch
from nas_jax.spaces import SpaceMask, darts_space

assert len(jax.devices()) == 8
space = darts_space(1, ("skip_connect", "dil_conv_3x3"))
network = Supernet(SpaceMask.full(space), 2, 1, 3)
algorithm = OneShotSearch(network, optax.sgd(0.1), optax.sgd(0.7))
state = algorithm.init(jax.random.key(0), (8, 8, 1))
images = jax.random.normal(jax.random.key(1), (16, 8, 8, 1))
labels = jnp.arange(16) % 3
train, valid = (images[:8], labels[:8]), (images[8:], labels[8:])
step = jax.jit(algorithm.step)
key = jax.random.key(2)
found = {}


def put(mesh):
    batches = jax.device_put((train, valid), NamedSharding(mesh, P("d")))
    return jax.device_put(state, NamedSharding(mesh, P())), *batches


mesh = jax.make_mesh((8,), ("d",), axis_types=(AxisType.Auto,))
spread = step(*put(mesh), key)
found["devices"] = len(spread[0].step.sharding.device_set)
found["distance"] = max(
    float(np.max(np.abs(np.asarray(one) - np.asarray(other))))
    for one, other in zip(
        *map(jax.tree.leaves, (step(state, train, valid, key), spread)), strict=True
    )
)
explicit = jax.make_mesh((8,), ("d",), axis_types=(AxisType.Explicit,))
cases = {
    "jitted": lambda: step(*put(explicit), key),
    "eager": lambda: algorithm.step(*put(explicit), key),
    "batch": lambda: step(state, *put(explicit)[1:], key),
    "state": lambda: step(put(explicit)[0], train, valid, key),
}
for name, case in cases.items():
    try:
        case()
        found[name] = "computed"
    except ConfigError as error:
        found[name] = str(error)
print(json.dumps(found))
"""


def test_a_sharded_batch_is_the_batch_and_explicit_axes_are_refused() -> None:
    devices = {"XLA_FLAGS": "--xla_force_host_platform_device_count=8"}
    done = subprocess.run(
        [sys.executable, "-c", MESHES],
        env=os.environ | devices,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["devices"] == 8
    assert found["distance"] < 1e-5
    for name in ("jitted", "eager", "batch", "state"):
        assert "explicit axes d" in found[name] and "\n" not in found[name]
        assert "axis_types=(jax.sharding.AxisType.Auto,)" in found[name]
