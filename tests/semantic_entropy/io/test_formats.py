"""The suffix selects the format; a row is found by its id."""

from __future__ import annotations

import pytest

from semantic_entropy import InputError
from semantic_entropy.io import find_row
from semantic_entropy.tables import FieldNames
from tests.semantic_entropy.io.measured_files import ROWS, measure, write


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("in.parquet", b"not a table", "not a Parquet file"),
        ("in.parquet", None, "no such file"),
        ("in.jsonl", b'{"responses": ["a"]}', None),
    ],
)
def test_a_file_in_another_format_than_its_suffix_is_an_error(tmp_path, name, content, says):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    if says is None:
        assert measure(tmp_path / name, tmp_path / "out.parquet").rows == 1
    else:
        with pytest.raises(InputError, match=says):
            measure(tmp_path / name, tmp_path / "out.parquet")


def test_a_row_is_found_by_its_id(tmp_path):
    source = write(tmp_path / "in.parquet", ROWS)
    assert find_row(str(source), "2", FieldNames()).group.responses == ("a", "b")
    assert find_row(str(source), None, FieldNames()).group.question == "Capital of France?"
