"""Device memory of a compiled program, as the compiler planned it."""

from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import jax

_POWERS = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4}


@dataclasses.dataclass(frozen=True)
class MemoryUse:
    """Bytes of one compiled program on one device.

    Attributes:
        temp_bytes: Buffers that live only while it runs: activations, gradients. One
            block of this size is held from start to end.
        argument_bytes: Inputs, such as parameters, the batch and the data set.
        output_bytes: Results.
        alias_bytes: Inputs whose memory becomes a result (donated state).
        peak_bytes: What the device must hold at once for the program to run:
            temp + argument + output - alias. Not in it: the program's code, and what
            the runtime keeps for itself.
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
        temp, arguments, outputs, alias = (
            int(getattr(analysis, f"{kind}_size_in_bytes"))
            for kind in ("temp", "argument", "output", "alias")
        )
        # Not the analysis' own peak_memory_in_bytes: it leaves out most of the
        # temporaries on a CPU, counts on-chip memory on a TPU, and on a GPU is the
        # largest sum of live buffers, which is less than the block that holds them.
        peak = temp + arguments + outputs - alias
        return cls(temp, arguments, outputs, alias, peak)


def refused_bytes(message: str) -> int | None:
    """What a program needs that a TPU's compiler refused, from its error message.

    The TPU's compiler stops where a program does not fit, and names the bytes that it
    needs: arguments, results and temporaries, which is `peak_bytes`.

    Returns:
        The bytes, to three or four digits; None where the message is another one.
    """
    found = re.search(
        r"memory required .*?\(([\d.]+)([KMGT]?)\) exceeds available", message
    )
    return found and round(float(found[1]) * 1024 ** _POWERS[found[2]])
