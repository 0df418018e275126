"""Files with many groups: `FileRun` measures every row of a file, and keeps the results of earlier runs.

The modules are: `run` (one pass over a file), `run_summary` (what it did), `formats` (selects the reader and the
writer, checks the paths), `rows` (the interfaces of readers and writers), `jsonl` and `parquet` (the reader and the
writer of each format), the folder `readers` (formats that are only read), `fingerprints` (the key of a row and the
choices of a run), `result_lines` (a file of results by key), `sentence_lines` (the sentences of long answers),
`sampled_rows` (rows with a question and no responses), and `bad_rows` (rows without a result).
"""

from semantic_entropy.io.formats import InputOptions, check_paths, find_row, format_of, open_reader
from semantic_entropy.io.readers.parquet_folder import unfinished_shards
from semantic_entropy.io.rows import check_row
from semantic_entropy.io.run import FileRun
from semantic_entropy.io.run_summary import RunSummary
from semantic_entropy.io.sentence_lines import write_sentences

__all__ = [
    "FileRun",
    "InputOptions",
    "RunSummary",
    "check_paths",
    "check_row",
    "find_row",
    "format_of",
    "open_reader",
    "unfinished_shards",
    "write_sentences",
]
