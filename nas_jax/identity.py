"""What an artefact was made from, and whether that is still the same.

Paths are not identity, content is: the same images at another place are the same, and
other images at the same place are others.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

from nas_jax.errors import WorkdirError
from nas_jax.jsonable import differences, to_jsonable

FIELD = "made_from"
"""Where artefacts, rows of logs and checkpoints keep it."""

_DIGESTS = re.compile(r'(\S+): "[0-9a-f]{64}", now "[0-9a-f]{64}"')
_SHOWN = 4


@dataclasses.dataclass(frozen=True)
class MadeFrom:
    """Everything that a stage reads: what it computes follows from this alone.

    Attributes:
        inputs: Plain values; content that is large is there as its SHA-256.
    """

    inputs: Mapping[str, Any]

    @property
    def digest(self) -> str:
        """SHA-256 of the inputs, in hexadecimal."""
        return json_digest(self.inputs)

    def to_dict(self) -> dict[str, Any]:
        """`{"digest", "from"}`, as artefacts keep it."""
        return {"digest": self.digest, "from": to_jsonable(self.inputs)}

    @classmethod
    def of(cls, stored: Any) -> MadeFrom | None:
        """What `to_dict` wrote; None where that does not say it."""
        inputs = stored.get("from") if isinstance(stored, Mapping) else None
        return cls(inputs) if isinstance(inputs, Mapping) else None

    def refuse_others(self, what: str, stored: MadeFrom | None) -> None:
        """Refuses what was made from something else.

        Args:
            what: What is refused, such as a path.
            stored: What it was made from; None where that is not recorded.

        Raises:
            WorkdirError: Names what changed, and the remedy.
        """
        if stored is None:
            changed = ["it does not record what it was made from"]
        else:
            changed = list(map(_clause, differences(stored.inputs, self.inputs)))
        if changed:
            more = len(changed) - _SHOWN
            shown = [*changed[:_SHOWN], *[f"and {more} more"] * (more > 0)]
            raise WorkdirError(
                f"{what} is of another making: {'; '.join(shown)}. Give a new "
                "--workdir, or what it was made from; nothing was changed"
            )


def json_digest(value: Any) -> str:
    """SHA-256 of a value that JSON can hold; the order of keys does not matter."""
    text = json.dumps(to_jsonable(value), sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _clause(line: str) -> str:
    """A difference in words: digests say nothing to people."""
    found = _DIGESTS.fullmatch(line)
    return f"the content of {found[1]} has changed" if found else line
