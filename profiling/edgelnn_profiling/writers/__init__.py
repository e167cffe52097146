"""What a report looks like: one module a format, over tables and sentences that they share."""

from __future__ import annotations

from edgelnn_profiling.writers.csv_rows import write_csv as write_csv
from edgelnn_profiling.writers.markdown import write_markdown as write_markdown
from edgelnn_profiling.writers.page import write_html as write_html

__all__ = ["write_csv", "write_html", "write_markdown"]
