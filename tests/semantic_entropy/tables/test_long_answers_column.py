"""Long answers in a table: a column, if a row has one."""

from __future__ import annotations

import pytest

from semantic_entropy import Result, estimate

pytest.importorskip("sentencex", reason="the extra `sentences` is not installed")
RESPONSES = [["Ada was born in 1815. She lived in Oslo.", "Ada was born in 1815. She lived in Rome."], ["x", "y"]]


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_a_table_has_the_column_if_a_row_has_a_long_answer(library):
    frames = pytest.importorskip(library)
    table = frames.DataFrame({"question": ["Who was Ada?"] * 2, "responses": RESPONSES})
    assert "long_answer" not in estimate(table).columns
    measured = estimate(table, long=True)
    expected = estimate(RESPONSES[0], question="Who was Ada?", long=True)
    first = measured.to_dict("records")[0] if library == "pandas" else measured.to_dicts()[0]
    assert first["long_answer"]["sentences"][1]["text"] == "She lived in Oslo."
    assert first["long_answer"]["uncertainty"] == expected.long_answer.uncertainty
    assert Result.from_dict(expected.to_dict()) == expected
