"""What --help prints: the command, its flags, and the fields of the config."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from absl import flags

from nas_jax.config import OneOf, config_fields, config_sections, used_by

_PLACEHOLDERS = {
    "config": "FILE[:ARGUMENT]",
    "workdir": "FOLDER",
    "plugin": "FILE_OR_MODULE",
}


def help_text_of(
    help_text: str,
    values: flags.FlagValues,
    unused: Sequence[str],
    fields: Sequence[str],
) -> str:
    """The help text: what the command does, its flags, the fields of the config.

    Args:
        unused: Names of flags that every command has and this one does not take.
        fields: Beginnings of the paths of the config's fields that it reads.
    """
    lines = [_wrapped(help_text), "", "Flags:"]
    for name in (name for name in values if name not in unused):
        value = "" if values[name].boolean else f"={_PLACEHOLDERS.get(name, 'VALUE')}"
        lines += [f"  --{name}{value}", _wrapped(values[name].help, indent=6)]
    if fields:
        lines += ["", "Fields of the config, each set with --config.FIELD=VALUE:"]
    sections = config_sections()
    for path, config_field in config_fields().items():
        if not path.startswith(tuple(fields)):
            continue
        section = path.partition(".")[0]
        if section in sections:
            lines += ["", _wrapped(f"{section}: {sections.pop(section)}", indent=2)]
        lines.append(f"  {path} = {config_field.default!r}")
        rule, meaning = config_field.rule, config_field.meaning
        if users := used_by(path):
            meaning += f" For {', '.join(users)}."
        if rule:
            meaning += f" Allowed: {rule.allowed}."
        lines.append(_wrapped(meaning, indent=6))
        titles = rule.titles if isinstance(rule, OneOf) else {}
        lines += [_wrapped(f"{n}: {t}.", indent=8) for n, t in titles.items() if t]
    return "\n".join(lines)


def _wrapped(text: str, indent: int = 0) -> str:
    """Text as a paragraph; nothing that could be copied is broken."""
    return textwrap.fill(
        " ".join(text.split()),
        width=88,
        initial_indent=" " * indent,
        subsequent_indent=" " * indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
