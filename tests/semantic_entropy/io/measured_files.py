"""Write, measure and read files in both formats, for the tests of io."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from semantic_entropy import Scorer
from semantic_entropy.io import FileRun
from semantic_entropy.io.formats import FOUND
from semantic_entropy.tables import FieldNames

ROWS = [
    {"id": 1, "question": "Capital of France?", "responses": ["Paris", "It is Paris", "Rome"]},
    {"id": 2, "responses": ["a", "b"], "logprobs": [[-0.1], [-0.2, -0.3]], "answer": "the row's own"},
    {"id": 3, "responses": ["x"], "answer": None},
]


def write(path: Path, rows) -> Path:
    if path.suffix == ".parquet":
        names = dict.fromkeys(name for row in rows for name in row) if isinstance(rows, list) else ()
        columns = {name: [row.get(name) for row in rows] for name in names}
        pq.write_table(pa.table(columns) if columns else rows, path)
    else:
        path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return path


def read(path: Path):
    if path.suffix == ".parquet":
        return pq.read_table(path).to_pylist()
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def measure(source: Path, output: Path, *, field="responses", question=None, equivalence="exact", **choices):
    run_choices = {"overwrite": False, "strict": False, "options": FOUND}
    run_choices |= {name: choices.pop(name) for name in run_choices.keys() & choices.keys()}
    with Scorer(equivalence, **choices) as scorer:
        run = FileRun(scorer, str(source), str(output), names=FieldNames(field, question), **run_choices)
        return run.execute(progress=False)
