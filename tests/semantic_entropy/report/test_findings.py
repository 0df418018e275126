"""What a report says about rows: bands, reasons, the ranking, totals."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

import semantic_entropy
from semantic_entropy.report.findings import (
    ResponseAgreement,
    compared_by_words,
    equally_uncertain,
    rank_score,
    ranking,
    reasons,
    totals,
)
from semantic_entropy.report.scored_rows import ReportRow
from semantic_entropy.types import Usage


def row(*responses, wrong=None, **changes):
    result = semantic_entropy.estimate(list(responses), equivalence="exact")
    return ReportRow("a", "Question?", responses, replace(result, **changes) if changes else result, wrong=wrong)


@pytest.mark.parametrize(
    ("responses", "band", "sentence"),
    [
        (("x", "x", "x"), "agree", "all 3 responses mean the same"),
        (("x", "x", "y"), "majority", "2 of 3 responses mean the same; the rest: 1 other meaning"),
        (("x", "x", "y", "z"), "split", "only 2 of 4 responses mean the same; the rest: 2 other meanings"),
        (("x", "y", "z"), "split", "3 responses, and no two of them mean the same"),
        (("x", "y", ""), "split", "1 of 3 responses without a valid answer; no two of the others mean the same"),
        (("x", "x", ""), "majority", "2 of 3 responses mean the same; the rest: 1 without a valid answer"),
        (("x", "", ""), "unknown", "1 valid answer in 3 responses: nothing to compare"),
        (("", ""), "unknown", "0 valid answers in 2 responses: nothing to compare"),
    ],
)
def test_a_row_is_in_a_band_and_has_a_sentence_that_says_why(responses, band, sentence):
    found = ResponseAgreement.of(row(*responses).result)
    assert (found.band, str(found)) == (band, sentence)


def test_the_reasons_say_why_no_decision_can_rest_on_a_row_and_nothing_twice():
    found = row("x", "x", "y", "", "", "", "")
    assert reasons(found, ResponseAgreement.of(found.result)) == [
        "only 2 of 7 responses mean the same; the rest: 1 other meaning, 4 without a valid answer",
        "only 3 of 7 answers are valid",
    ]


def test_the_most_uncertain_row_is_first_and_unknown_rows_are_last():
    rows = [row("x", "x", "x"), row("x", "", ""), row("x", "y", "z"), row("x", "x", "y"), row("a", "b", "c", "d")]
    assert ranking(rows, [ResponseAgreement.of(each.result) for each in rows]) == [4, 2, 3, 0, 1]


def test_a_row_with_an_unknown_entropy_never_ranks_as_certain_or_uncertain():
    rows = [row("x", "y"), row("x", "y", entropy=math.nan), row("x", "x")]
    assert ranking(rows, [ResponseAgreement.of(each.result) for each in rows]) == [0, 2, 1]


def test_rows_with_equal_entropies_are_ranked_by_the_share_of_the_largest_meaning():
    rows = [row("x", "x", "y", entropy=1.0), row("x", "y", "z", entropy=1.0), row("a", "b", "c", entropy=1.0)]
    assert ranking(rows, [ResponseAgreement.of(each.result) for each in rows]) == [1, 2, 0]


def test_rows_that_only_the_order_of_the_file_puts_behind_the_first_ones_are_counted():
    rows = [row("x", "y"), row("a", "b"), row("x", "y"), row("x", "x", "y"), row("x", "x"), row("y", "y")]
    agreements = [ResponseAgreement.of(each.result) for each in rows]
    order = ranking(rows, agreements)
    assert [equally_uncertain(rows, agreements, order, shown) for shown in (1, 2, 3, 4, 5, 6)] == [3, 3, 0, 0, 0, 0]


@pytest.mark.parametrize(("judge", "warned"), [("text", True), ("ngram(n=2)", True), ("nli", False)])
def test_a_judge_that_compares_words_is_named_if_the_answers_are_long(judge, warned):
    def warning(answer):
        given = row(answer, answer)
        provenance = replace(given.result.provenance, equivalence=judge)
        return compared_by_words([replace(given, result=replace(given.result, provenance=provenance))])

    long = "the capital of France is the city of Paris, by the river Seine"
    assert warning("Paris") is None
    assert (warning(long) is not None) == warned
    if warned:
        name = judge.partition("(")[0]
        assert f"{name} compares words and numbers, and half of the answers have 13 words or more" in warning(long)


def test_calibrated_rows_are_ranked_by_the_probability_of_a_wrong_answer():
    rows = [row("x", "y", p_wrong=0.2, flag=False), row("x", "x", p_wrong=0.7, flag=True), row("z", "y")]
    assert rank_score(rows) == "p_wrong"
    assert ranking(rows, [ResponseAgreement.of(each.result) for each in rows]) == [1, 0, 2]


def test_totals_count_labels_bands_and_costs():
    usage = row("x", "x").result.provenance
    paid = replace(usage, usage=Usage(2, 10, 3, 0.25))
    rows = [row("x", "x", wrong=True), row("x", "y", wrong=False, provenance=paid), row("x", "", provenance=paid)]
    found = totals(rows, [ResponseAgreement.of(each.result) for each in rows])
    assert found["bands"] == {"agree": 1, "majority": 0, "split": 1, "unknown": 1}
    assert (found["labelled"], found["wrong"], found["wrong_agree"]) == (2, 1, 1)
    assert found["costs"] == [["judging", "4 requests, 20 tokens in, 6 out, cost 0.5"]]
    assert found["entropy"] == pytest.approx((0 + math.log(2) + math.log(2)) / 3)
    assert found["judges"] == [["exact", "as asked", 3, sum(each.result.provenance.pairs for each in rows)]]
