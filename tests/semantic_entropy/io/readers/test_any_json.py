"""Whatever JSON a file holds, its rows are measured, or are bad rows, or the input is refused: no other error."""

from __future__ import annotations

import contextlib
import json

from hypothesis import given, settings
from hypothesis import strategies as st

from semantic_entropy import SemanticEntropyError
from semantic_entropy.io.formats import FOUND, InputOptions, open_reader
from semantic_entropy.tables import FieldNames

NAMES = (
    "responses question prompt messages logprobs id custom_id response result error status_code body choices message"
    " content role text finish_reason doc arguments resps filtered_resps samples output input scores attachments epoch"
    " type object"
).split()
WORDS = ["a", "user", "assistant", "succeeded", "response", "output_text", "attachment://a"]
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 300) | st.floats() | st.sampled_from(WORDS),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=4),
    max_leaves=12,
)
ROWS = st.lists(st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=6) | VALUES, min_size=1, max_size=4)
OPTIONS = [
    FOUND,
    InputOptions(group_by="question"),
    *(InputOptions(format=name) for name in ("jsonl", "json", "openai", "lm-eval", "inspect", "csv")),
]


@settings(max_examples=2 * settings().max_examples)
@given(options=st.sampled_from(OPTIONS), form=st.sampled_from(["lines", "array", "samples"]), rows=ROWS)
def test_any_json_gives_rows_or_an_error_of_this_package(tmp_path_factory, options, form, rows):
    path = tmp_path_factory.getbasetemp() / f"any_{form}.json"
    texts = {
        "lines": "".join(json.dumps(row) + "\n" for row in rows),
        "array": json.dumps(rows, indent=1),
        "samples": json.dumps({"version": 2, "status": "", "eval": {}, "samples": rows}, indent=1),
    }
    path.write_text(texts[form])
    with contextlib.suppress(SemanticEntropyError):
        for row in open_reader(str(path), FieldNames(), options).rows():
            assert (row.group is None) == (row.problem is not None)


def test_responses_that_are_nested_deeply_are_a_bad_row(tmp_path):
    path = tmp_path / "in.jsonl"
    path.write_text('{"responses": ' + "[" * 400 + "]" * 400 + "}\n")
    assert [row.group for row in open_reader(str(path), FieldNames()).rows()] == [None]
