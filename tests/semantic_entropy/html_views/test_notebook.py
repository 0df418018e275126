"""How a notebook shows results: escaped HTML with the same meanings as the report, and in a real notebook run."""

from __future__ import annotations

import math
import os
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

import semantic_entropy
from semantic_entropy.html_views.notebook import letter, meanings
from semantic_entropy.results import BatchResult
from tests.semantic_entropy.report.hostile import TEXTS


class Page(HTMLParser):
    def __init__(self, html):
        super().__init__()
        self.tags, self.text, self.names = set(), "", set()
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.names |= {name for name, _ in attrs}

    def handle_data(self, data):
        self.text += data


def test_a_result_shows_its_entropy_its_meanings_and_its_warnings():
    result = semantic_entropy.estimate(["Paris", "It is Paris", "Rome", ""], equivalence="text")
    text = Page(result._repr_html_()).text
    assert f"semantic entropy {result.entropy:.3f} nats ({result.normalized:.0%} of the maximum)" in text
    assert re.search(r"A50%2 of 4Paris\s*B25%1 of 4Rome\s*–25%1 of 4no valid answer", text)
    assert result.warnings[0] in text
    assert f"judge: text (as asked) · {result.provenance.pairs} pairs compared" in text


def test_letters_go_on_after_z():
    assert [letter(i) for i in (0, 25, 26, 27, 51, 52, 701, 702)] == ["A", "Z", "AA", "AB", "AZ", "BA", "ZZ", "AAA"]


def test_the_largest_meaning_is_a_and_invalid_answers_are_last():
    fields = semantic_entropy.estimate(["", "", "", "y", "x", "x"], equivalence="exact", invalid="together").to_dict()
    assert [(found.name, found.answer) for found in meanings(fields)] == [("A", "x"), ("B", "y"), ("–", None)]


@pytest.mark.parametrize("text", TEXTS)
def test_hostile_texts_are_shown_as_texts(text):
    result = semantic_entropy.estimate([text, "other"], equivalence="exact")
    result = replace(result, warnings=(text,), provenance=replace(result.provenance, equivalence=text))
    for html in (result._repr_html_(), BatchResult([result])._repr_html_()):
        page = Page(html)
        assert page.tags <= {"div", "b", "span", "table", "tr", "td", "th", "small", "bdi", "i", "br"}
        assert page.names <= {"style", "title", "colspan"}


def test_a_batch_shows_its_most_uncertain_results_and_an_unknown_entropy_first():
    sure, unsure = (semantic_entropy.estimate(list(text), equivalence="exact") for text in ("aa", "ab"))
    batch = BatchResult([*[sure] * 30, unsure, replace(sure, entropy=math.nan)])
    text = Page(batch._repr_html_()).text
    assert text.startswith("BatchResult: 32 groups")
    assert "The 20 most uncertain" in text
    assert re.search(r"#entropymeaningsanswer31unknown.*30.*0\.693", text)
    assert "write_report" in text
    assert Page(BatchResult([])._repr_html_()).text == "BatchResult: 0 groups"


def test_a_real_notebook_shows_the_html(tmp_path):
    nbformat = pytest.importorskip("nbformat", reason="no notebook can run: pip install nbclient ipykernel")
    nbclient = pytest.importorskip("nbclient", reason="no notebook can run: pip install nbclient ipykernel")
    pytest.importorskip("ipykernel", reason="no notebook can run: pip install ipykernel")
    code = (
        "import semantic_entropy\nsemantic_entropy.estimate(['Paris', 'Rome', '<b>Paris</b>'], equivalence='exact')",
        "semantic_entropy.estimate([['a', 'b'], ['c', 'c']], equivalence='exact')",
    )
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell.strip()) for cell in code])
    root = Path(semantic_entropy.__file__).parents[1]
    paths = [str(root), str(root / "plugins"), os.environ.get("PYTHONPATH", "")]
    nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute(
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    )
    shown = [cell["outputs"][-1]["data"] for cell in notebook.cells]
    assert "&lt;b&gt;Paris&lt;/b&gt;" in shown[0]["text/html"]
    assert shown[0]["text/plain"].startswith("Result: entropy 1.099 nats")
    assert "BatchResult: 2 groups" in shown[1]["text/html"]


def test_a_long_answer_shows_its_sentences_and_marks_the_doubtful_ones():
    pytest.importorskip("sentencex", reason="the extra `sentences` is not installed")
    answer = "Ada <b>was</b> born in 1815. She lived in Oslo & Rome."
    html = semantic_entropy.estimate([answer, "Ada <b>was</b> born in 1815. Yes."], long=True)._repr_html_()
    assert html.count("<mark") == 1
    assert "She lived in Oslo &amp; Rome." in html.partition("<mark")[2].partition("</mark>")[0]
    assert "uncertainty 1.000, supported by 0 of 1" in html
    assert "<b>was</b>" not in html
    assert html.index("2 sentences, uncertainty") < html.index("semantic entropy")  # the sentences first
    assert "The support text compares words and numbers" in html


def test_a_judge_that_compares_words_is_named_where_it_compared_long_answers():
    answers = [
        "the capital of France is the city of Paris, by the river Seine",
        "it is said to be Paris by most people I know of",
    ]
    html = semantic_entropy.estimate(answers, equivalence="text", long=False)._repr_html_()
    assert "The judge text compares words and numbers" in html
    assert "compares words" not in semantic_entropy.estimate(["Paris", "Rome"], equivalence="text")._repr_html_()


def test_a_batch_of_long_answers_is_ordered_by_their_uncertainty():
    pytest.importorskip("sentencex", reason="the extra `sentences` is not installed")
    sure, unsure = (
        ["Ada sang. Bob ran.", "Ada sang. Bob ran fast."],
        ["Ada sang. Eve <b>ate</b>.", "Ada slept. Bob ran."],
    )
    long = semantic_entropy.estimate([sure, unsure], long=True, equivalence="exact")
    assert re.search(
        r"#unsupporteddoubtfulanswer1\d\.\d+2 of 2 sentencesAda sang. Eve <b>ate</b>\.0", Page(long._repr_html_()).text
    )
    short = semantic_entropy.estimate(["a", "b"], equivalence="exact")
    assert re.search(
        r"#uncertaintymeanings, or doubtfulanswer11\.000AB", Page(BatchResult([long[0], short])._repr_html_()).text
    )
