"""Evidence beyond log-probabilities: shapes and ranges, errors that name the place, and what dropped answers take."""

from __future__ import annotations

import math

import datasets
import numpy as np
import pandas as pd
import polars as pl
import pytest

from semantic_entropy import EvidenceError, InputError, Scorer, estimate
from semantic_entropy.clusters import evidence_of_samples, one_group
from semantic_entropy.plugin import EntropyEstimator, Estimate, Sample

GREEDY = {"text": "Rome", "logprobs": [-0.5, -0.25], "hidden_state": [1, 2, 3], "correct": True}
VALID = {
    "top_logprobs": [[[-0.1, -3.0]], [[-0.2, -2.0], [-0.3, -math.inf]]],
    "token_entropies": [[0.5], [0.1, 1e-9]],
    "tokens": [["Paris"], ["Ro", "me"]],
    "token_similarity": [[0.5], [0.5, 1.0000001]],
    "sentence_support": [[1.0, 0.75], [0.5, 1.0]],
    "similarity": [[1.0, 0.25], [0.5, 1.0]],
    "greedy_similarity": [0.5, 0.25],
    "embeddings": [[1, 2], [3, 4]],
    "hidden_state": [[1], [2]],
    "greedy": GREEDY,
}


class Keeps(EntropyEstimator):
    """Keeps the evidence that it gets."""

    name = "keeps"
    uses = frozenset(VALID)

    def __init__(self) -> None:
        self.seen = []

    def estimate(self, evidence):
        self.seen.append(evidence)
        return Estimate(0.0)


def seen(responses, **given):
    keeps = Keeps()
    Scorer("exact", estimator=keeps, invalid=given.pop("invalid", "separate")).estimate(responses, **given)
    return keeps.seen[0]


@pytest.mark.parametrize("as_array", [False, True])
def test_an_estimator_gets_the_evidence_of_its_group(as_array):
    given = {name: np.array(value) for name, value in VALID.items() if name in ("similarity", "embeddings")}
    evidence = seen(["Paris", "Rome"], **{**VALID, **(given if as_array else {})})
    assert evidence.top_logprobs == (((-0.1, -3.0),), ((-0.2, -2.0), (-0.3, -math.inf)))
    assert evidence.tokens == (("Paris",), ("Ro", "me"))
    assert evidence.token_similarity == ((0.5,), (0.5, 1.0))
    assert evidence.sentence_support == ((1.0, 0.75), (0.5, 1.0))
    assert evidence.similarity == ((1.0, 0.25), (0.5, 1.0))
    assert evidence.embeddings == ((1.0, 2.0), (3.0, 4.0))
    assert evidence.greedy == Sample("Rome", (-0.5, -0.25), hidden_state=(1.0, 2.0, 3.0))
    assert (evidence.responses, evidence.texts) == (("Paris", "Rome"), ("Paris", "Rome"))


def test_a_dropped_answer_takes_its_evidence_with_it():
    matrices = ("similarity", "sentence_support")
    three = {name: [*value, value[0]] for name, value in VALID.items() if name not in ("greedy", "tokens", *matrices)}
    matrix = [[1, 0.1, 0.2], [0.3, 1, 0.4], [0.5, 0.6, 1]]
    three |= dict.fromkeys(matrices, matrix) | {"tokens": [["Paris"], ["", " "], ["Rome"]]}
    evidence = seen(["Paris", "", "Rome"], **three, invalid="drop")
    assert evidence.tokens == (("Paris",), ("Rome",))
    assert evidence.sentence_support == ((1.0, 0.2), (0.5, 1.0))
    assert evidence.responses == ("Paris", "Rome")
    assert evidence.similarity == ((1.0, 0.2), (0.5, 1.0))
    assert evidence.embeddings == ((1.0, 2.0), (1.0, 2.0))
    assert evidence.greedy_similarity == (0.5, 0.5)


def test_the_last_row_of_a_larger_matrix_belongs_to_the_greedy_answer():
    matrix = [[1, 0.1, 0.2], [0.3, 1, 0.4], [0.5, 0.6, 1]]
    evidence = seen(["Paris", "Rome"], similarity=matrix, greedy={"text": "Lyon"})
    assert evidence.similarity == ((1.0, 0.1), (0.3, 1.0))
    assert evidence.greedy_similarity == (0.5, 0.6)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"similarity": [[1, 2], [0, 1]]}, "similarity of response 0 hold 2.0; a similarity is in"),
        ({"similarity": [[1, math.nan], [0, 1]]}, "similarity of response 0 hold nan"),
        ({"similarity": [[1, 0]]}, "similarity has 1 entries for 2 responses; response 1 has no similarities"),
        ({"similarity": [[1], [1]]}, "similarity of response 0 has 1 numbers for 2 responses"),
        ({"similarity": 0.5}, "similarity=0.5 must be a list"),
        ({"embeddings": [[1], [1, 2]]}, "embeddings of response 1 has 2 numbers, and that of response 0 has 1"),
        ({"embeddings": [[1], [math.inf]]}, "embeddings of response 1 hold inf"),
        ({"hidden_state": [[1], None]}, "hidden_state of response 1 are missing"),
        (
            {"token_entropies": [[1], [-1]]},
            "token_entropies of response 1 hold -1.0; an entropy is finite",
        ),
        ({"token_entropies": [[1], []]}, "token_entropies of response 1 are empty"),
        ({"top_logprobs": [[[-1]], [[0.5]]]}, "response 1: top_logprobs of token 0 hold 0.5"),
        ({"top_logprobs": [[-1], [-1]]}, "response 0: top_logprobs of token 0 are -1; pass a list of floats"),
        (
            {"top_logprobs": [[[-1, -2]], [[-0.22, -0.52]]]},  # the logarithms to base 10 of 0.6 and 0.3
            "response 1: top_logprobs of token 0 are those of probabilities with the sum 1.4",
        ),
        ({"similarity": [[1] * 3] * 3}, "similarity has 3 rows for 2 responses, and the last one belongs to a greedy"),
        (
            {"greedy": {"text": "Rome", "logprobs": [-1], "top_logprobs": [[-1, -2], [-1, -2]]}},
            "greedy has 1 logprobs and 2 top_logprobs",
        ),
        ({"greedy_similarity": [1]}, "greedy_similarity has 1 numbers for 2 responses"),
        ({"greedy": 5}, "greedy=5 must be a text, or a mapping with a text"),
        ({"greedy": {"text": "Rome", "logprobs": []}}, "greedy: logprobs are empty"),
        (
            {"logprobs": [[-1], [-1]], "token_entropies": [[1], [1, 2]]},
            "response 1 has 1 logprobs and 2 token_entropies",
        ),
    ],
)
def test_impossible_evidence_is_an_error_that_names_its_place(given, message):
    with pytest.raises(EvidenceError) as error:
        estimate(["a", "b"], estimator=Keeps(), **given)
    assert message in str(error.value)
    with pytest.raises(EvidenceError, match=r"^group 1: "):
        estimate([["a", "b"]] * 2, estimator=Keeps(), **{name: [None, value] for name, value in given.items()})


@pytest.mark.parametrize(
    ("name", "value"), [("embeddings", [[1], [2]]), ("greedy", {"text": "a"}), ("similarity", [[1, 0], [0, 1]])]
)
def test_evidence_that_no_estimator_reads_is_an_error_that_names_its_readers(name, value):
    readers = {"embeddings": "eigenscore", "greedy": "perplexity", "similarity": "eigv"}[name]
    for estimator in (None, "discrete"):
        with pytest.raises(InputError, match=rf"^{name}= is given, and no estimator .* \(discrete.*{readers}"):
            estimate(["a", "b"], estimator=estimator, **{name: value})
    with pytest.raises(InputError, match=f"^{name}= is given"):
        estimate(pd.DataFrame({"responses": [["a", "b"]], "v": [value]}), **{name: "v"})
    frame = pd.DataFrame({"responses": [["a", "b"]], name: [value]})
    assert estimate(frame, equivalence="exact").n_valid[0] == 2  # a column that no argument names


@pytest.mark.parametrize(("estimator", "name"), [("eigenscore", "embeddings"), ("token_sar", "token_similarity")])
def test_the_group_without_evidence_is_named_if_there_are_many(estimator, name):
    given = {"logprobs": [[[-1], [-1]]] * 2, name: [[[0.5], [0.25]], None]}
    given = given if estimator == "token_sar" else {name: given[name]}
    with pytest.raises(EvidenceError, match=f"^group 1: estimator '{estimator}' needs"):
        estimate([["a", "b"], ["c", "d"]], estimator=estimator, **given)
    with pytest.raises(EvidenceError, match=f"^estimator '{estimator}' needs"):
        estimate(["c", "d"], estimator=estimator)


def test_a_similarity_that_no_estimator_reads_is_an_error():
    with pytest.raises(InputError, match=r"similarity= is given.*makes the clusters is equivalence="):
        Scorer(similarity=lambda left, right: 0.5)
    with Scorer(similarity=lambda left, right: 0.5, estimator="deg") as scorer:
        assert scorer.derive(estimator="discrete").similarity is None
        assert scorer.derive(invalid="drop").estimate(["a", "b"]).scores["deg"] == 0.25


def test_a_table_has_evidence_in_columns_of_the_same_names():
    keeps = Keeps()
    frame = pd.DataFrame(
        {"responses": [["a", "b"]], "question": ["q"], "similarity": [[[1, 0.5], [0.5, 1]]], "v": [[[1], [2]]]}
    )
    estimate(frame, estimator=keeps, equivalence="exact", embeddings="v")
    assert keeps.seen[0].similarity == ((1.0, 0.5), (0.5, 1.0))
    assert keeps.seen[0].embeddings == ((1.0,), (2.0,))


def test_samples_bring_their_evidence_if_all_have_it():
    full = Sample("a", (-1.0,), token_entropies=(0.5,), hidden_state=(1.0, 2.0), top_logprobs=((-1.0, -2.0),))
    found = evidence_of_samples([full, full])
    assert found is not None
    assert (found.token_entropies, found.hidden_state) == (((0.5,), (0.5,)), ((1.0, 2.0), (1.0, 2.0)))
    assert found.top_logprobs == (((-1.0, -2.0),),) * 2
    assert evidence_of_samples([full, Sample("b")]) is None


def test_an_unknown_kind_of_evidence_is_an_error_with_the_nearest_name():
    with pytest.raises(TypeError, match=r"'similarities'. Did you mean 'similarity'"):
        Scorer().estimate(["a", "b"], similarities=[[1, 0], [0, 1]])


def test_groups_without_evidence_have_none():
    assert one_group(["a"], None, None).evidence is None


@pytest.mark.parametrize("values", ["00", b"00", {-1.0: 0}, {-1.0, -2.0}])
def test_a_text_a_dict_or_a_set_is_no_list_of_numbers(values):
    with pytest.raises(EvidenceError, match="pass a list of floats"):
        estimate(["a", "b"], equivalence="exact", logprobs=[[-1.0], values])
    with pytest.raises(EvidenceError, match="must be a list"):
        estimate(["a", "b"], equivalence="exact", logprobs=values)


@pytest.mark.parametrize("kind", [pd.DataFrame, pl.DataFrame, datasets.Dataset.from_dict])
def test_equal_evidence_in_all_rows_of_a_table_is_that_of_each_response(kind):
    keeps, rows = Keeps(), {"id": [1, 1], "responses": ["x", "y"], "token_entropies": [[0.5, 0.25], [0.5, 0.25]]}
    estimate(kind(rows), group_by="id", equivalence="exact", estimator=keeps)
    assert keeps.seen[0].token_entropies == ((0.5, 0.25), (0.5, 0.25))


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        (
            [["Paris"], ["Ro\u0120me"]],
            "tokens of response 1 write 'Ro\u0120me', and the response is 'Rome': pass the decoded",
        ),
        ([["Paris"], ["Ro"]], "write 'Ro'"),
        ([["Paris"], "Rome"], "tokens of response 1 are 'Rome'; pass a list of str"),
        ([["Paris"], ["Ro", 3]], r"tokens of response 1 are \['Ro', 3\]"),
        ([["Paris"]], "tokens has 1 entries for 2 responses"),
        ("Paris", "tokens='Paris' must be a list with one list of str for each response"),
    ],
)
def test_tokens_are_texts_that_write_their_response(tokens, message):
    with pytest.raises(EvidenceError, match=message):
        estimate(["Paris", "Rome"], tokens=tokens, equivalence="exact", estimator=Keeps())


def test_tokens_may_have_space_and_reasoning_around_the_response():
    evidence = seen(["Paris", " Rome\n"], tokens=[["<think>", "a", "</think>", "\n", "Paris", ""], [" Rome"]])
    assert evidence.tokens[1] == (" Rome",)


def test_each_token_has_a_log_probability():
    with pytest.raises(EvidenceError, match="response 1 has 1 logprobs and 2 tokens"):
        estimate(
            ["Paris", "Rome"],
            logprobs=[[-1], [-1]],
            tokens=[["Paris"], ["Ro", "me"]],
            equivalence="exact",
            estimator=Keeps(),
        )
