"""`nas-jax report`: write report.html from what a workdir holds."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from nas_jax.cli import app

HELP = "Write report.html from what a workdir holds; nothing is computed again."


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""

    def run(call: app.Call) -> int:
        from nas_jax.report import summary_text, write_report

        workdir = Path(call.workdir)
        path = write_report(workdir)
        print(summary_text(workdir))
        print(f"report: {path}")
        return 0

    return app.run(run, argv, name="report", help_text=HELP, needs_config=False)


if __name__ == "__main__":
    sys.exit(main())
