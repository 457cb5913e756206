"""The registry of data sources: each one file with one `register_source`."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from nas_jax.data.dataset import Dataset
from nas_jax.errors import DataError

# A path that is silently ignored would train on other data than the user thinks. The
# others have defaults that are not empty, so whether they were given is not known.
_NEVER_IGNORED = ("path", "name", "image_size")
OPTIONS = (
    *_NEVER_IGNORED,
    *("test_fraction", "seed", "num_train", "num_test", "num_classes", "channels"),
)
"""What a source may be told: fields of a config's `data`."""


@dataclasses.dataclass(frozen=True)
class Source:
    """Where images come from.

    Attributes:
      load: makes the data set; its parameters are named as in `OPTIONS`.
      title: what it is, in a few words, for help texts.
      needs: what some of these options must hold, in words, by their names.
    """

    name: str
    load: Callable[..., Dataset]
    title: str
    needs: Mapping[str, str]

    @property
    def uses(self) -> tuple[str, ...]:
        """Names of the options that `load` takes."""
        return tuple(inspect.signature(self.load).parameters)


_SOURCES: dict[str, Source] = {}
SOURCES: Mapping[str, Source] = MappingProxyType(_SOURCES)
"""The sources by name; `register_source` adds one."""


def register_source(
    name: str,
    load: Callable[..., Dataset],
    *,
    title: str,
    needs: Mapping[str, str] | None = None,
) -> Source:
    """Makes a source a value of `--config.data.source`.

    Args:
      load: makes the data set, best by `Dataset.from_arrays`, and raises DataError
        where it cannot. Its parameters say which of `OPTIONS` it uses, and it is given
        these by keyword.
      needs: options that may not be empty, with what they must hold in words, such as
        `{"path": "the path of an .npz file"}`.

    Raises:
      DataError: the name is taken, or an option is none of `OPTIONS`.
    """
    source = Source(name, load, title, dict(needs or {}))
    if name in _SOURCES:
        raise DataError(f"a source {name!r} is registered already; choose another name")
    unknown = [o for o in (*source.uses, *source.needs) if o not in OPTIONS]
    if unknown:
        raise DataError(
            f"source {name!r} cannot take {', '.join(unknown)}; a config has "
            f"{', '.join(OPTIONS)}"
        )
    _SOURCES[name] = source
    return source


def load(source: str, **options: Any) -> Dataset:
    """Loads a data set from one of `SOURCES`.

    Args:
      **options: those of `OPTIONS` that differ from the source's own defaults. One that
        the source does not use is passed over, but for a path, a name or a size.

    Raises:
      DataError: the source or an option is unknown, an option is missing or does not
        belong to the source, or the data cannot be used.
    """
    if source not in SOURCES:
        raise DataError(
            f"source={source!r} is unknown. Choose one of {', '.join(SOURCES)}."
        )
    chosen = SOURCES[source]
    for name, value in options.items():
        if name not in OPTIONS:
            raise DataError(f"no source has {name}; allowed: {', '.join(OPTIONS)}")
        if value and name in _NEVER_IGNORED and name not in chosen.uses:
            users = [other.name for other in SOURCES.values() if name in other.uses]
            raise DataError(
                f"{name}={value!r} has no meaning for source={source!r}. Leave it out, "
                f"or choose a source that uses it: {', '.join(users)}."
            )
    for name, what in chosen.needs.items():
        if not options.get(name):
            raise DataError(
                f"source={source!r} needs {name}, which is empty. Give {what}."
            )
    return chosen.load(**{k: v for k, v in options.items() if k in chosen.uses})
