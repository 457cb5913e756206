"""Networks as proxies see them: the one way from `Scorable` to `ScoredNetwork`."""

from __future__ import annotations

from typing import Any

import jax

from nas_jax.errors import ConfigError
from nas_jax.networks import Architectures, Observed, Scorable, Size, family_of
from nas_jax.networks.layers import Norm
from nas_jax.proxies import ScoredNetwork
from nas_jax.proxies.proxy import require
from nas_jax.spaces import SearchSpace


def scored_network(
    network: Scorable,
    params: Any,
    codes: Any,
    *,
    norm: Norm | None = None,
    rows_at_once: int = 1,
) -> ScoredNetwork:
    """The network of one architecture, or of one mask, as proxies see it.

    Args:
        network: Networks of shared weights.
        params: Their weights.
        codes: Which of them; may be traced.
        norm: What batch normalisation does; None for what each proxy asks.
        rows_at_once: See `ScoredNetwork`.
    """
    fixed = norm

    def logits(params: Any, images: jax.Array, *, norm: Any) -> jax.Array:
        return network.logits(params, codes, images, fixed or norm)

    def observe(
        params: Any, images: jax.Array, *, norm: Any, gates: Any = None
    ) -> Observed:
        return network.observe(params, codes, images, fixed or norm, gates)

    def macs(image_shape: tuple[int, ...]) -> jax.Array:
        leaf = jax.tree.leaves(params)[0]
        image = jax.numpy.zeros((2, *image_shape), leaf.dtype)
        told = jax.jit(lambda: network.observe(params, codes, image, "batch").macs)()
        return require("flops", "macs", told)

    return ScoredNetwork(
        logits,
        params,
        network.live(params, codes),
        observe,
        macs,
        network.operations(codes),
        rows_at_once=rows_at_once,
        unbuilt=network.unbuilt(codes),
    )


class ScoredArchitectures:
    """All architectures of a space, to be scored by the thousand."""

    def __init__(
        self,
        space: SearchSpace,
        num_classes: int = 10,
        *,
        channels: int | None = None,
        cells: int | None = None,
    ) -> None:
        """Nothing is traced yet.

        Args:
            space: The search space.
            num_classes: Number of logits.
            channels: Channels of the first cells; None is the usual number.
            cells: Cells of the network, or of each stage; None is the usual number.

        Raises:
            ConfigError: A number is less than 1, or the space has no such networks.
        """
        usual = family_of(space).usual_size
        self.size = Size(
            usual.channels if channels is None else channels,
            usual.cells if cells is None else cells,
        )
        for what, number in {**self.size._asdict(), "num_classes": num_classes}.items():
            if number < 1:
                raise ConfigError(f"{what} is {number}; it must be at least 1")
        self.space = space
        self._network = Architectures(space, self.size, num_classes)
        self.init = self._network.init
        self.encode = self._network.encode

    def scored(self, params: Any, codes: Any) -> ScoredNetwork:
        """The network of one architecture's codes, a row of what `encode` returns."""
        return scored_network(self._network, params, codes)
