"""`nas-jax report`: write report.html from what a workdir holds."""

from __future__ import annotations

from collections.abc import Sequence

from nas_jax.cli import app
from nas_jax.cli.stage_command import report

HELP = "Write report.html from what a workdir holds; nothing is computed again."


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    return app.run(report, argv, name="report", help_text=HELP, needs_config=False)
