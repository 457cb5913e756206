"""The report of a run: reads the artefacts of a working directory, never trains."""

from nas_jax.report.page import write_report
from nas_jax.report.text import summary_text

__all__ = ["summary_text", "write_report"]
