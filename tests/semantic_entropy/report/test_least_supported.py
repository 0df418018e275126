"""A report of long answers: ranked by `unsupported`, sentences marked, the least supported ones of all; mixed files."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest

import semantic_entropy
from semantic_entropy.report import write_report
from semantic_entropy.report.findings import ResponseAgreement, rank_score, ranking, reasons, totals
from semantic_entropy.report.least_supported import MOST_OF_A_ROW, least_supported, sentence_fields
from semantic_entropy.report.report_page import report_data
from semantic_entropy.report.scored_rows import ReportRow, ScoredRows
from tests.chromium import CHROMIUM, Chromium
from tests.semantic_entropy.report.hostile import RUN, TEXTS

pytest.importorskip("sentencex", reason="the extra `sentences` is not installed")
in_chromium = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed (Debian: apt install chromium)")
READY = "document.documentElement.dataset.ready === 'yes'"
ADA = (
    "Ada \U0001f600 was born in 1815. She lived in Oslo.",
    "Ada \U0001f600 was born in 1815. In Rome.",
    "Yes. Ada \U0001f600 was born in 1815.",
)
BOB = ("Bob was born in 1900. Bob sang.", "Bob was born in 1900. Bob sang well.", "Bob was born in 1900. Bob sang.")
EVE = ("Eve was born in 1700. Eve danced.", "Nobody knows this person at all, sorry.", "There was a dog in a barn.")


def contains(sample, sentence):
    """A support of the tests: 1 if the sample contains the sentence."""
    return float(sentence in sample)


def long_row(responses, name="a", **options):
    chosen = {"long": True, "support": contains, "equivalence": "exact", **options}
    result = semantic_entropy.estimate(list(responses), **chosen)
    return ReportRow(name, f"Who is {name}?", tuple(responses), result)


def short_row(*responses, name="s"):
    return ReportRow(name, f"{name}?", responses, semantic_entropy.estimate(list(responses), equivalence="exact"))


def order_of(rows):
    return ranking(rows, [ResponseAgreement.of(row.result) for row in rows])


def test_long_answers_are_ranked_by_unsupported_and_not_by_the_entropy_of_the_wholes():
    rows = [long_row(BOB, "bob"), long_row(ADA, "ada"), long_row(EVE, "eve")]
    assert rank_score(rows) == "unsupported"
    scores = [row.result.scores["unsupported"] for row in rows]
    assert scores == sorted(scores)
    assert order_of(rows) == [2, 1, 0]
    assert rows[1].result.entropy == rows[2].result.entropy  # all responses differ


def test_rows_that_were_measured_with_the_maximum_are_ranked_by_it():
    even = ("One. Two.", "One. Six.", "Ten. Two.", "Nothing.")  # 2/3 and 2/3: the mean is higher
    worst = ("One. Two. Six.", "One. Two.", "One. Two.", "One. Two.")  # 0, 0 and 1: the highest is higher
    assert order_of([long_row(even), long_row(worst)]) == [0, 1]
    estimator = semantic_entropy.load_estimator("unsupported", roll_up="max")
    rows = [long_row(each, estimator=estimator) for each in (even, worst)]
    assert [row.result.scores["unsupported"] for row in rows] == [pytest.approx(2 / 3), 1.0]
    assert order_of(rows) == [1, 0]


def test_a_long_row_is_in_a_band_by_its_doubtful_sentences_and_the_reason_names_the_worst_one():
    found = [ResponseAgreement.of(long_row(each).result) for each in (BOB, ADA, EVE)]
    assert [each.band for each in found] == ["agree", "split", "split"]
    assert [(each.largest, each.counted) for each in found] == [(2, 2), (1, 2), (0, 2)]
    assert str(found[1]) == "1 of 2 sentences is doubtful; 0 of 2 samples support \u201cShe lived in Oslo.\u201d"
    alone = ResponseAgreement.of(long_row(BOB[:1]).result)
    assert (alone.band, alone.largest) == ("unknown", 0)
    assert "0 of 0 samples support" in str(alone)


def test_the_reasons_of_a_long_row_do_not_say_that_its_entropy_says_little():
    row = long_row(EVE)
    assert any("the entropy says little" in warning for warning in row.result.warnings)
    assert not any("the entropy says little" in reason for reason in reasons(row, ResponseAgreement.of(row.result)))


def test_a_long_row_with_an_unknown_uncertainty_is_no_certain_one():
    rows = [long_row(BOB), long_row(BOB[:1]), long_row(EVE)]
    assert order_of(rows) == [2, 0, 1]
    unknown = replace(rows[2].result, scores={}, long_answer=replace(rows[2].result.long_answer, uncertainty=math.nan))
    assert order_of([replace(rows[2], result=unknown), rows[0]]) == [1, 0]


def test_a_mixed_file_has_one_ranking_from_0_to_1_and_both_kinds_of_totals():
    rows = [short_row("x", "y", "z"), long_row(EVE), short_row("x", "x", "x"), long_row(BOB)]
    assert rank_score(rows) == "uncertainty"
    assert order_of(rows) == [1, 0, 3, 2]  # 1, 1, 0.25, 0: no sentence is supported, a third of the responses agrees
    found = totals(rows, [ResponseAgreement.of(row.result) for row in rows])
    assert (found["long"], found["sentences"], found["bands"]["agree"]) == (2, 4, 2)


def test_the_least_supported_sentences_of_all_rows_have_their_row_and_equal_ones_are_counted():
    rows = [long_row(BOB, "bob"), long_row(ADA, "ada"), short_row("x", "y"), long_row(EVE, "eve")]
    found = least_supported(rows, order_of(rows))
    values = [each[2] for each in found["sentences"]]
    assert values == sorted(values, reverse=True)
    assert {rows[each[0]].id for each in found["sentences"]} == {"bob", "ada", "eve"}
    assert (found["known"], found["unknown"], len(values)) == (6, 0, 6)
    assert found["equal"] == values.count(values[0])
    assert least_supported(rows[2:3], [0]) is None
    assert least_supported([long_row(BOB[:1])], [0]) == {"sentences": [], "known": 0, "unknown": 2, "equal": 0}


def test_places_of_sentences_count_utf_16_units_as_the_page_does():
    found = sentence_fields(long_row(ADA).result.long_answer)
    units = ADA[0].encode("utf-16-le")
    cut = [units[2 * start : 2 * end].decode("utf-16-le") for start, end, *_ in found["sentences"]]
    assert cut == ["Ada \U0001f600 was born in 1815.", "She lived in Oslo."]


def test_of_very_many_sentences_the_least_supported_ones_are_shown():
    answer = " ".join(f"Item{i} is ready." for i in range(400))
    found = sentence_fields(long_row([answer, answer.replace("Item377", "Other")]).result.long_answer)
    assert (found["count"], len(found["sentences"])) == (400, MOST_OF_A_ROW)
    doubted = [each for each in found["sentences"] if each[2] > 0]
    assert [answer[start:end] for start, end, *_ in doubted] == ["Item377 is ready."]


def test_the_summary_says_what_the_ranking_is_by(tmp_path):
    def summary(rows):
        given = [{**row.result.to_dict(), "id": row.id, "responses": list(row.responses)} for row in rows]
        return str(write_report(given, tmp_path / "report.html"))

    assert "check first, by how little the samples support the answers" in summary([long_row(EVE)])
    mixed = summary([long_row(EVE), short_row("x", "y")])
    assert "check first, long answers by how little the samples support them, others by their entropy" in mixed
    assert "check first:" in summary([short_row("x", "y")])


def test_labels_of_long_answers_give_curves_of_unsupported_first():
    rows = ScoredRows()
    rows.rows = [replace(long_row(each), wrong=each is EVE) for each in (BOB, ADA, EVE)]
    data, _ = report_data(rows, "t")
    assert data["labelled"]["scores"][0]["name"] == "unsupported"
    assert data["labelled"]["scores"][0]["metrics"]["auroc"][0] == 1.0
    assert sum(data["histogram"]["wrong"]) == 1


@pytest.fixture(scope="module")
def tab():
    with Chromium() as opened:
        yield opened


def shown(tab, tmp_path, rows):
    path = tmp_path / "report.html"
    given = [
        {**row.result.to_dict(), "id": row.id, "question": row.question, "responses": list(row.responses)}
        for row in rows
    ]
    write_report(given, path)
    tab.events.clear()
    tab.open(path)
    tab.wait(READY)
    return path


def texts(tab, selector):
    return tab.evaluate(f"[...document.querySelectorAll({json.dumps(selector)})].map((node) => node.textContent)")


@in_chromium
def test_the_page_marks_doubtful_sentences_and_lists_the_worst_of_all_answers(tab, tmp_path):
    rows = [long_row(BOB, "bob"), long_row(ADA, "ada"), long_row(EVE, "eve")]
    shown(tab, tmp_path, rows)
    assert texts(tab, "#first-list .question") == ["Who is eve?", "Who is ada?"]  # no sentence of bob is doubtful
    assert "2 of 2 sentences are doubtful" in texts(tab, "#first-list .why")[0]
    assert "by the estimator unsupported" in texts(tab, "#first-note")[0]
    assert texts(tab, "#first-list li:nth-child(2) mark.doubt") == [
        each.text for each in rows[1].result.long_answer.sentences if each.doubtful
    ]
    assert len(texts(tab, "#least-list > li")) == 5
    assert "Who is eve?" in texts(tab, "#least-list > li")[0]
    assert "entropy" not in " ".join(texts(tab, "#heads th")).lower()
    tab.click("#least-list .link")
    assert texts(tab, "td.detail h3")[:3] == ["Question", "Answer", "Sentences, the least supported first"]
    assert EVE[0] in texts(tab, "td.detail .text")


@in_chromium
def test_an_opened_long_answer_marks_its_doubtful_sentences(tab, tmp_path):
    responses = ("Ada was born in 1815. She lived in <b>Oslo</b>.", "Ada was born in 1815. She had a dog.")
    shown(tab, tmp_path, [long_row(responses, support="text")])
    tab.click("#first-list .link")
    items = texts(tab, "#first-list .opened li")
    assert "Ada was born in 1815. supported by 1 of 1 sample uncertainty 0.00" in items
    assert "She lived in <b>Oslo</b>. doubtful: supported by 0 of 1 sample uncertainty 1.00" in items
    assert "The support text compares words and numbers" in texts(tab, ".notice")[0]


@in_chromium
def test_an_opened_answer_of_claims_shows_the_answer_and_lists_the_claims(tab, tmp_path):
    responses = ("Ada lived in <b>Oslo</b>, from 1815.", "Ada lived in 1815.")
    claims = ["Ada lived in <b>Oslo</b>.", "Ada lived in 1815."]
    shown(tab, tmp_path, [long_row(responses, support="text", claims=lambda _answer, _question: claims)])
    tab.click("#first-list .link")
    items = texts(tab, "#first-list .opened li")
    assert "Ada lived in <b>Oslo</b>. doubtful: supported by 0 of 1 sample uncertainty 0.50" in items
    assert "Ada lived in 1815. supported by 1 of 1 sample uncertainty 0.00" in items
    assert "Claims, the least supported first" in texts(tab, "#first-list .opened h3")
    assert texts(tab, "#first-list .opened .text")[:2] == ["Who is a?", responses[0]]


@in_chromium
def test_a_mixed_report_shows_each_kind_by_itself(tab, tmp_path):
    rows = [short_row("x", "y", "z", name="s"), long_row(EVE, "eve"), long_row(BOB, "bob")]
    shown(tab, tmp_path, rows)
    assert "Both are from 0 to 1, and different measures" in texts(tab, "#first-note")[0]
    for kind, number in (("long", 2), ("short", 1), ("", 3)):
        tab.evaluate(
            f"(() => {{ const select = document.querySelector('[name=kind]'); select.value = '{kind}'; "
            "select.dispatchEvent(new Event('change')); })()"
        )
        assert len(texts(tab, "tr.row")) == number
    tab.resize(320, 640, phone=True)
    assert tab.evaluate("document.documentElement.scrollWidth") <= 320
    tab.resize(1200, 800)


@in_chromium
def test_hostile_sentences_are_shown_as_texts(tab, tmp_path):
    rows = []
    for text in TEXTS:
        responses = (f"Plain words. {text} \u202e\u200b end.", "Nothing of this.")
        rows.append(replace(long_row(responses, text), question=text))
    path = shown(tab, tmp_path, rows)
    for _ in range(3):
        tab.evaluate("document.querySelector('#least-more button').click()")
    tab.evaluate("document.querySelectorAll('#least-list .link, #first-list .link').forEach((node) => node.click())")
    assert tab.evaluate("window.ran") is None
    assert RUN in " ".join(texts(tab, "#least-list mark"))
    assert tab.requests == [path.as_uri()]
    assert tab.problems == []
