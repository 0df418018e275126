"""Real tables of other libraries: the same kind comes back, with the results that lists give."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import datasets
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from semantic_entropy import EvidenceError, InputError, Scorer, aestimate, estimate
from semantic_entropy.io import InputOptions, find_row
from semantic_entropy.tables import FieldNames

DATA = {
    "id": [7, 8, 9],
    "responses": [["Paris", "It is Paris", "Rome"], ["x", "y"], ["", "z"]],
    "question": ["Capital of France?", None, None],
    "logprobs": [[[-0.1], [-0.2, -0.3], [-1.0]], None, [[-0.5], [-0.5]]],
    "answer": ["the row's own", "", None],
}
LISTS = estimate(DATA["responses"], question=DATA["question"], logprobs=DATA["logprobs"])
KINDS = {"pandas": pd.DataFrame, "polars": pl.DataFrame, "datasets": datasets.Dataset.from_dict}
FIELDS = list(LISTS[0].to_dict())


def column(table, name):
    return list(table[name].to_list() if isinstance(table, pl.DataFrame) else table[name])


@pytest.mark.parametrize("kind", KINDS)
def test_a_table_comes_back_as_its_kind_with_the_results_of_lists(kind):
    table = KINDS[kind](DATA)
    out = estimate(table)
    assert type(out) is type(table)
    names = list(table.column_names if kind == "datasets" else table.columns)
    added = ["result_answer" if field == "answer" else field for field in FIELDS]
    assert list(out.column_names if kind == "datasets" else out.columns) == [*DATA, *added]
    assert names == list(DATA)  # the given table is unchanged
    assert column(out, "answer")[0] == "the row's own"
    assert column(out, "result_answer") == [result.answer for result in LISTS]
    assert column(out, "entropy") == list(LISTS.entropies)
    assert [list(labels) for labels in column(out, "labels")] == [list(result.labels) for result in LISTS]
    assert column(out, "clusters")[0][0] == {"indices": [0, 1], "representative": "Paris", "share": 2 / 3}
    assert column(out, "scores")[0]["likelihood"] == LISTS[0].scores["likelihood"]
    assert column(out, "provenance")[0] == LISTS[0].to_dict()["provenance"]


@pytest.mark.parametrize("kind", KINDS)
def test_columns_can_have_other_names(kind):
    data = {"samples": DATA["responses"], "prompt": DATA["question"], "tokens": DATA["logprobs"]}
    out = estimate(KINDS[kind](data), column="samples", question="prompt", logprobs="tokens")
    assert column(out, "entropy") == list(LISTS.entropies)
    assert column(out, "scores")[0]["likelihood"] == LISTS[0].scores["likelihood"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_table_without_rows_gets_the_columns_and_no_rows(kind):
    full = KINDS[kind](DATA)
    out = estimate(full.select([]) if kind == "datasets" else full[:0])
    assert len(out) == 0
    assert {"entropy", "clusters", "result_answer"} <= set(out.column_names if kind == "datasets" else out.columns)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("choices", "says"),
    [
        ({"column": "response"}, "no column is named 'response'. Did you mean 'responses'?.*id, responses, question"),
        (
            {"question": "prompt"},
            "no column is named 'prompt'.*The table has: id.*pass the name of a column as question=",
        ),
        ({"question": ["a", "b", "c"]}, "for a table, pass the name of a column"),
        ({"column": "id"}, "group 0: responses=7 must be a list of str"),
        ({"estimator": "likelihood"}, "needs logprobs"),
    ],
)
def test_an_unusable_column_is_an_error_that_lists_the_columns(kind, choices, says):
    with pytest.raises(InputError, match=says):
        estimate(KINDS[kind](DATA), **choices)


def test_a_pandas_frame_keeps_its_index_attributes_and_types():
    frame = pd.DataFrame(DATA, index=pd.Index(["a", "a", "b"], name="key"))
    frame.attrs["source"] = "mine"
    out = estimate(frame)
    assert out.index.equals(frame.index)
    assert out.index.name == "key"
    assert out.attrs == {"source": "mine"}
    assert (out["entropy"].dtype, out["n_valid"].dtype) == ("float64", "int64")
    pd.testing.assert_frame_equal(out[list(DATA)], frame)


def test_an_unknown_entropy_is_nan_in_pandas_and_null_in_polars():
    data = {"responses": [[""], ["a"]]}
    assert np.isnan(estimate(pd.DataFrame(data), invalid="drop")["entropy"][0])
    assert estimate(pl.DataFrame(data), invalid="drop")["entropy"].to_list() == [None, 0.0]


def test_a_pandas_frame_with_arrays_from_parquet_is_measured(tmp_path):
    pd.DataFrame(DATA).to_parquet(tmp_path / "data.parquet")
    frame = pd.read_parquet(tmp_path / "data.parquet")
    assert isinstance(frame["responses"][0], np.ndarray)
    assert estimate(frame)["entropy"].tolist() == list(LISTS.entropies)


@pytest.mark.parametrize("missing", [None, float("nan"), pd.NA])
def test_missing_values_of_pandas_mean_no_question(missing):
    frame = pd.DataFrame({"responses": [["a"], ["b"]], "question": pd.Series(["q", missing], dtype=object)})
    assert len(estimate(frame)) == 2


def test_a_missing_response_is_an_error_with_its_group():
    with pytest.raises(InputError, match="group 1: response 1 is None"):
        estimate(pl.DataFrame({"responses": [["a"], ["b", None]]}))


def test_polars_and_datasets_columns_have_their_types():
    frame = estimate(pl.DataFrame(DATA))
    assert frame.schema["labels"] == pl.List(pl.Int64)
    assert frame.select(pl.col("scores").struct.field("discrete")).to_series().to_list() == list(LISTS.entropies)
    features = estimate(datasets.Dataset.from_dict(DATA)).features
    assert features["clusters"].feature["share"].dtype == "float64"
    empty = estimate(pl.DataFrame(DATA)[:0])
    assert {name: kind for name, kind in empty.schema.items() if name != "scores"} == {
        name: kind for name, kind in frame.schema.items() if name not in ("scores", "provenance")
    } | {"provenance": empty.schema["provenance"]}


def test_a_shuffled_and_formatted_dataset_keeps_order_and_format():
    data = datasets.Dataset.from_dict(DATA).select([2, 0]).with_format("numpy", columns=["id"])
    out = estimate(data)
    assert out.format["type"] == "numpy"
    assert isinstance(out[0]["entropy"], np.floating)
    assert out.with_format(None)["id"][:] == [9, 7]
    assert out.with_format(None)["entropy"][:] == [LISTS[2].entropy, LISTS[0].entropy]


def test_subclasses_of_a_frame_are_frames():
    class Mine(pd.DataFrame):
        @property
        def _constructor(self):
            return Mine

    assert isinstance(estimate(Mine(DATA)), Mine)


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (pl.DataFrame(DATA).lazy(), "pass its .collect"),
        (datasets.DatasetDict(train=datasets.Dataset.from_dict(DATA)), "one of its splits"),
        (pa.table({"a": [1]}), "is a Table; pass a list of str"),
    ],
)
def test_an_unsupported_table_class_is_an_error_that_says_what_to_pass(value, says):
    with pytest.raises(InputError, match=says):
        estimate(value)


def test_column_without_a_table_is_an_error():
    with pytest.raises(InputError, match="column='a' is for a table, and responses is a list"):
        estimate(["a"], column="a")


def test_scorers_and_async_calls_accept_tables():
    frame = pl.DataFrame(DATA)
    with Scorer() as scorer:
        assert scorer.estimate(frame).drop("provenance").equals(estimate(frame).drop("provenance"))
        assert len(asyncio.run(scorer.aestimate(frame))) == 3
    assert len(asyncio.run(aestimate(frame))) == 3
    with pytest.raises(EvidenceError, match="needs logprobs"), Scorer(estimator="likelihood") as scorer:
        scorer.estimate(frame)


@given(
    st.lists(st.lists(st.text(st.characters(codec="utf-8"), max_size=3), min_size=1, max_size=4), max_size=4),
    st.sampled_from(list(KINDS)),
)
def test_any_texts_give_the_results_of_lists(groups, kind):
    typed = pa.table({"responses": pa.array(groups, pa.list_(pa.string()))})
    if kind == "pandas":
        table = pd.DataFrame({"responses": groups})
    else:
        table = pl.from_arrow(typed) if kind == "polars" else datasets.Dataset(typed)
    labels = [list(labels) for labels in column(estimate(table, equivalence="exact"), "labels")]
    assert labels == [list(estimate(group, equivalence="exact").labels) for group in groups]


def test_measuring_lists_imports_no_table_library():
    code = (
        "import sys, semantic_entropy as s; s.estimate([['a'], ['b']])\n"
        "print([m for m in ('pandas', 'polars', 'datasets', 'pyarrow', 'sqlite3') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("kind", [pd.DataFrame, pl.DataFrame, datasets.Dataset.from_dict])
def test_a_question_column_is_found_under_a_common_name_and_named_in_a_warning(kind):
    table = kind({"prompt": ["half full or half empty?"], "responses": [["half full", "half empty"]]})
    with pytest.warns(UserWarning, match="the column 'prompt'; confirm it with question='prompt'") as seen:
        found = estimate(table, equivalence="text")
    assert column(found, "entropy") == column(estimate(table, equivalence="text", question="prompt"), "entropy")
    assert len(seen) == 1
    assert seen[0].filename == __file__


def test_rows_without_a_question_get_a_warning_if_the_judge_uses_it():
    table = pl.DataFrame({"ask": ["a or b?", "c or d?"], "responses": [["a", "b"], ["c", "d"]]})
    with pytest.warns(
        UserWarning, match=r"2 of 2 rows have no field with a question, .* name the field with question=NAME"
    ):
        estimate(table, equivalence="text")
    estimate(table, equivalence="exact")


def test_chat_messages_in_a_column_are_a_question():
    table = pd.DataFrame({"chat": [[{"role": "user", "content": "a or b?"}]], "responses": [["a", "b"]]})
    assert estimate(table, equivalence="text", question="chat").loc[0, "n_valid"] == 2


LONG = {
    "qid": [1, 2, 1, 1, 2],
    "prompt": ["France?", "Italy?", "France?", "France?", "Italy?"],
    "response": ["Paris", "Rome", "It is Paris", "Lyon", "Rome"],
    "score": [0.1, 0.2, 0.3, 0.4, 0.5],
}


@pytest.mark.parametrize("kind", KINDS)
def test_rows_with_one_response_are_joined_by_a_column(kind):
    table = KINDS[kind](LONG)
    out = estimate(table, group_by="qid", column="response", question="prompt")
    assert type(out) is type(table)
    assert column(out, "qid") == [1, 2]
    assert column(out, "prompt") == ["France?", "Italy?"]
    assert list(map(list, column(out, "response"))) == [["Paris", "It is Paris", "Lyon"], ["Rome", "Rome"]]
    assert list(map(list, column(out, "score"))) == [[0.1, 0.3, 0.4], [0.2, 0.5]]
    assert list(map(list, column(out, "labels"))) == [[0, 0, 1], [0, 0]]
    assert len(table) == 5
    with Scorer("exact") as scorer, pytest.warns(UserWarning, match="responses: the column 'response'") as seen:
        assert column(scorer.estimate(table, group_by="qid", question="prompt"), "n_valid") == [3, 2]
    assert seen[0].filename == __file__


@pytest.mark.parametrize("kind", KINDS)
def test_an_empty_cell_among_single_responses_is_an_invalid_answer_as_in_a_csv(kind, tmp_path):
    data = {"qid": ["1", "1", "1"], "response": ["Paris", None, "Rome"], "question": ["Where?"] * 3}
    out = estimate(KINDS[kind](data), group_by="qid", column="response")
    pd.DataFrame(data).to_csv(tmp_path / "in.csv", index=False)
    options = InputOptions(group_by="qid")
    in_csv = estimate(find_row(str(tmp_path / "in.csv"), None, FieldNames("response"), options).group.responses)
    assert column(out, "n_valid") == [in_csv.n_valid] == [2]
    assert column(out, "entropy") == [pytest.approx(in_csv.entropy)]


WIDE = {
    "id": [1, 2],
    "question": ["Capital?", "Which?"],
    "response_1": ["Paris", "x"],
    "response_2": ["It is Paris", None],
    "response_3": ["Rome", ""],
}


@pytest.mark.parametrize("kind", KINDS)
def test_numbered_columns_and_patterns_hold_one_response_each_as_in_a_csv(kind, tmp_path):
    with pytest.warns(UserWarning, match=r"columns response_1, response_2, response_3; .*column='response_\*'"):
        found = estimate(KINDS[kind](WIDE))
    assert column(estimate(KINDS[kind](WIDE), column="response_*"), "entropy") == column(found, "entropy")
    pd.DataFrame(WIDE).to_csv(tmp_path / "in.csv", index=False)
    in_csv = [find_row(str(tmp_path / "in.csv"), str(number), FieldNames()).group.responses for number in WIDE["id"]]
    assert in_csv == [("Paris", "It is Paris", "Rome"), ("x",)]
    assert column(found, "entropy") == pytest.approx([estimate(list(responses)).entropy for responses in in_csv])


@pytest.mark.parametrize(
    ("data", "choices", "says"),
    [
        ({"response_1": ["a", None], "response_2": ["b", ""]}, {"column": "response_*"}, "row 1 has no response"),
        ({"reply_1": ["a"]}, {"column": "answer_*"}, r"no column is named 'answer_\*'.*or a pattern such as"),
        ({"id": [1], **{f"response_{n}": ["a"] for n in (1, 2)}}, {"group_by": "id"}, "leave group_by= out"),
    ],
)
def test_several_columns_that_cannot_be_used_are_an_error_with_the_fix(data, choices, says):
    with pytest.raises(InputError, match=says):
        estimate(pd.DataFrame(data), **choices)


def test_a_column_to_group_by_must_exist_and_be_filled():
    frame = pd.DataFrame({**LONG, "gap": [1, None, 1, 1, 2]})
    with pytest.raises(InputError, match="no column is named 'id'.*as group_by="):
        estimate(frame, group_by="id", column="response")
    with pytest.raises(InputError, match="row 1 has no value in the column 'gap' of group_by="):
        estimate(frame, group_by="gap", column="response")
    with pytest.raises(InputError, match="group_by='qid' is for a table"):
        estimate(["a"], group_by="qid")
    with pytest.raises(InputError, match="rows with the same 'qid' have different questions"):
        estimate(frame, group_by="qid", column="response", question="response")


def test_a_table_that_the_judge_cannot_decide_gets_a_warning():
    frame = pd.DataFrame({"responses": [["a", "b"], ["c", "c"]], "question": ["p", "q"]})
    with pytest.warns(UserWarning, match=r"1 of 1 pairs \(100%\) are undecided") as seen:
        assert len(estimate(frame, equivalence=lambda left, right: None)) == 2
    assert seen[0].filename == __file__
