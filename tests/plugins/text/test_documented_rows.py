"""The table of what `text` gets wrong, in docs/explanation/equivalences.md, is true: each pair has its verdict."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from semantic_entropy import Pair, load_equivalence

PAGE = Path(__file__).parents[3] / "docs" / "explanation" / "equivalences.md"
_PAIR = re.compile(r"`([^`]+)`, `([^`]+)`(?=; `|$)")
_WORDS = {"same": True, "different": False}


def documented_pairs():
    table = PAGE.read_text(encoding="utf-8").partition("| answers | verdict | why |")[2].partition("\n\n")[0]
    for line in table.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        if len(cells) == 3 and cells[1] in _WORDS:
            for left, right in _PAIR.findall(cells[0]):
                yield pytest.param(left, right, _WORDS[cells[1]], id=f"{left}-{right}")


def test_the_table_has_pairs():
    assert len(list(documented_pairs())) > 50


@pytest.mark.parametrize(("left", "right", "same"), list(documented_pairs()))
def test_a_documented_pair_has_its_verdict(left, right, same):
    judge = load_equivalence("text")
    assert [v.same for v in judge.judge([Pair(None, left, right), Pair(None, right, left)])] == [same, same]
