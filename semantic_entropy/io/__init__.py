"""Files with many groups: `FileRun` measures every row of a file, and continues where an interrupted run stopped.

Modules: `run` (one pass over a file), `formats` (file suffix -> reader and writer), `rows` (the two interfaces),
`jsonl` and `parquet` (a reader and a writer each: both sides of a format share its conversions), `sampled_rows` (rows
with a question only), `rejected` (rows without a result).
"""

from semantic_entropy.io.formats import find_row
from semantic_entropy.io.run import FileRun, RunSummary

__all__ = ["FileRun", "RunSummary", "find_row"]
