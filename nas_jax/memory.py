"""Device memory of a compiled program, as the compiler planned it."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax


@dataclasses.dataclass(frozen=True)
class MemoryUse:
    """Bytes of one compiled program on one device.

    Attributes:
        temp_bytes: Buffers that live only while it runs: activations, gradients.
        argument_bytes: Inputs, such as parameters and the batch.
        output_bytes: Results.
        alias_bytes: Inputs whose memory becomes a result (donated state).
        peak_bytes: The largest sum of all of them at one time.
    """

    temp_bytes: int
    argument_bytes: int
    output_bytes: int
    alias_bytes: int
    peak_bytes: int

    @classmethod
    def of(cls, compiled: jax.stages.Compiled) -> MemoryUse:
        """Read a compiled program's `memory_analysis`."""
        analysis: Any = compiled.memory_analysis()
        temp = int(analysis.temp_size_in_bytes)
        arguments = int(analysis.argument_size_in_bytes)
        outputs = int(analysis.output_size_in_bytes)
        alias = int(analysis.alias_size_in_bytes)
        # Everything that the program needs resident: what the compiler calls the peak
        # differs between backends, and on a CPU leaves out the arguments.
        peak = temp + arguments + outputs - alias
        return cls(temp, arguments, outputs, alias, peak)
