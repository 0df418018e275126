"""Labels and rules without a model, compared with the clusters of the published codes from the same logits."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from semantic_entropy import Equivalence, Scorer, Verdict, estimate
from semantic_entropy_plugins.nli.entailment_rules import RULES, Direction, decide, read_direction, read_labels
from tests.shared_data import SHARED, golden

E, N, C = "entailment", "neutral", "contradiction"
GOLDEN_ORDER = (C, N, E)  # of the logits in golden/cases.json


def sure(relation: str) -> Direction:
    shares = {E: 0.1, N: 0.1, C: 0.1} | {relation: 0.8}
    return Direction(relation, shares[E], shares[N], shares[C])


@pytest.mark.parametrize(
    ("there", "back", "strict", "nonstrict", "either"),
    [  # Farquhar et al. 2024: bidirectional entailment, and its code's non-strict variant; uqlm: one direction
        (E, E, True, True, True),
        (E, N, False, True, True),
        (E, C, False, False, True),
        (N, N, False, False, False),
        (N, C, False, False, False),
        (C, C, False, False, False),
    ],
)
def test_each_rule_decides_as_its_source_does(there, back, strict, nonstrict, either):
    for rule, expected in (("strict", strict), ("nonstrict", nonstrict), ("either", either)):
        assert decide(rule, sure(there), sure(back)).same is expected
        assert decide(rule, sure(back), sure(there)).same is expected


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("first", [E, N, C])
def test_the_second_direction_is_needed_exactly_where_it_could_change_the_verdict(rule, first):
    verdicts = {decide(rule, sure(first), sure(second)).same for second in (E, N, C)}
    alone = decide(rule, sure(first))
    assert (alone is None) == (len(verdicts) == 2)
    if alone is not None:
        assert verdicts == {alone.same}


probabilities = st.lists(st.floats(0.01, 1), min_size=3, max_size=3).map(lambda many: [one / sum(many) for one in many])


@given(st.sampled_from(sorted(RULES)), probabilities, probabilities)
def test_scores_are_in_the_unit_interval(rule, first, second):
    there, back = read_direction(GOLDEN_ORDER, first), read_direction(GOLDEN_ORDER, second)
    for verdict in (decide(rule, there, back), decide(rule, there)):
        assert verdict is None or 0 <= verdict.score <= 1


@pytest.mark.parametrize(
    ("rule", "expected"),
    [("strict", 0.6), ("nonstrict", 0.7), ("either", 0.9)],
)
def test_scores_are_those_of_the_docstring(rule, expected):
    first, second = Direction(E, 0.6, 0.1, 0.3), Direction(E, 0.9, 0.05, 0.05)
    found = (
        decide(rule, first, second).score
        if rule != "either"
        else decide(rule, Direction(N, 0.3, 0.6, 0.1), second).score
    )
    assert found == pytest.approx(expected)


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (("CONTRADICTION", "NEUTRAL", "ENTAILMENT"), (C, N, E)),  # microsoft/deberta-large-mnli, roberta-large-mnli
        (("contradiction", "entailment", "neutral"), (C, E, N)),  # cross-encoder/nli-deberta-v3-base
        (("entailment", "neutral", "contradiction"), (E, N, C)),  # MoritzLaurer/DeBERTa-v3-base-mnli-fever-anli
        (("entailment", "not_entailment"), (E, "not_entailment")),  # MoritzLaurer's binary models
        (("Not Entailment", "Entailment"), ("not_entailment", E)),
        (("non-entailment", "entailment"), ("not_entailment", E)),
        (("Entails", "Contradicts", "Neutral"), (E, C, N)),
        (("LABEL_0", "LABEL_1", "LABEL_2"), None),
        (("NEGATIVE", "POSITIVE"), None),
        (("negative", "neutral", "positive"), None),
        (("entailment", "neutral"), None),
        (("entailment", "entailment", "contradiction"), None),
        (("entailment", "neutral", "contradiction", "other"), None),
        ((), None),
    ],
)
def test_labels_are_read_in_any_order_and_spelling_and_other_labels_are_refused(labels, expected):
    assert read_labels(labels) == expected


class FromLogits(Equivalence):
    """Our rules on the logits of a golden case; the second direction where the first does not decide."""

    name = "from-logits"

    def __init__(self, case, rule):
        self.logits, self.rule = case["nli_logits"], rule
        self.index = {text: i for i, text in enumerate(case["responses"])}

    def judge(self, pairs):
        return [self.verdict(self.index[pair.left], self.index[pair.right]) for pair in pairs]

    def verdict(self, i: int, j: int) -> Verdict:
        there = self.direction(i, j)
        verdict = decide(self.rule, there) or decide(self.rule, there, self.direction(j, i))
        assert verdict.same == decide(self.rule, self.direction(j, i), there).same
        return verdict

    def direction(self, premise: int, hypothesis: int) -> Direction:
        powers = [math.exp(logit) for logit in self.logits[premise][hypothesis]]
        return read_direction(GOLDEN_ORDER, [power / sum(powers) for power in powers])


def cases():
    path = SHARED / "golden" / "cases.json"
    if not path.exists():
        return [pytest.param(None, marks=pytest.mark.skip(reason="golden/cases.json is not beside this checkout"))]
    return [pytest.param(case, id=f"case {case['id']}") for case in json.loads(path.read_text())]


def expected_of(case, results):
    (found,) = [result for result in results if str(result["id"]) == str(case["id"])]
    return found


def exactly(value):
    return pytest.approx(value, abs=1e-9, rel=0)


@pytest.mark.parametrize("case", cases())
def test_strict_gives_the_clusters_of_lm_polygraph(case):
    expected = expected_of(case, golden("expected_lm_polygraph.json")["results"])
    result = estimate(case["responses"], equivalence=FromLogits(case, "strict"), convention="lm-polygraph")
    assert [list(cluster.indices) for cluster in result.clusters] == expected["class_to_sample"]
    assert result.entropy == exactly(expected["SemanticEntropy[frequency,mean]"])


@pytest.mark.parametrize("rule", ["strict", "nonstrict"])
@pytest.mark.parametrize("case", cases())
def test_strict_and_nonstrict_give_the_clusters_of_the_nature_2024_code(case, rule):
    expected = expected_of(case, golden("expected_jlko_kuhn.json"))
    result = estimate(case["responses"], equivalence=FromLogits(case, rule), convention="nature-2024")
    assert list(result.labels) == expected[f"semantic_ids[{rule}]"]
    assert result.entropy == exactly(expected[f"cluster_assignment_entropy[{rule}]"])


@pytest.mark.parametrize("case", cases())
def test_either_gives_the_clusters_of_uqlm_where_these_do_not_overlap(case):
    expected = expected_of(case, golden("expected_uqlm.json")["results"])
    if expected["overlapping"]:
        pytest.skip("uqlm's clusters overlap here: a defect not to match")
    with Scorer(FromLogits(case, "either"), convention="uqlm") as scorer:
        result = scorer.estimate(case["responses"])
    assert [list(cluster.indices) for cluster in result.clusters] == expected["cluster_indices"]
    assert result.entropy == exactly(expected["discrete_semantic_entropy"])
