"""The file of the report: its data, its policy, its size, and that the package has the files of the page."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import semantic_entropy
from semantic_entropy import estimate_file
from semantic_entropy.decisions import Calibration, Conditions, Origin, decide, learn_then_test
from semantic_entropy.decisions.calibration import CalibratedScore, LabelCounts, Mapped
from semantic_entropy.errors import InputError
from semantic_entropy.html_views.notebook import COLOURS
from semantic_entropy.html_views.offline_page import json_island
from semantic_entropy.report import report_html, write_report
from semantic_entropy.results import Result
from tests.semantic_entropy.report.hostile import TEXTS, hostile_rows

FOLDER = Path(semantic_entropy.__file__).parent / "report"
SCRIPTS = sorted(FOLDER.glob("*.js"))


class Elements(HTMLParser):
    """All elements of a page, with the text of scripts and styles."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.found, self.texts = [], {}
        self._inside = None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        self._inside = dict(attrs).get("type", tag) if tag in ("script", "style") else None

    def handle_endtag(self, tag):
        self._inside = None

    def handle_data(self, data):
        if self._inside:
            self.texts[self._inside] = self.texts.get(self._inside, "") + data


def data_of(text):
    return json.loads(Elements(text).texts["application/json"])


def scored(*groups, **fields):
    return [
        {**semantic_entropy.estimate(list(group), equivalence="exact").to_dict(), "responses": list(group), **fields}
        for group in groups
    ]


def test_the_policy_has_the_hashes_of_the_only_script_and_the_only_style():
    page = Elements(report_html(scored("ab")))
    (policy,) = [a["content"] for tag, a in page.found if a.get("http-equiv") == "Content-Security-Policy"]
    for kind in ("script", "style"):
        digest = base64.b64encode(hashlib.sha256(page.texts[kind].encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert [tag for tag, _ in page.found].count("script") == 2  # the data, which is not executed, and the script


def test_the_page_names_no_address_and_no_other_file():
    text = re.sub(r"http://www\.w3\.org/2000/svg", "", report_html(scored("ab")))  # the name of SVG, not an address
    assert not re.search(r"https?:|//[a-z]|@import|url\((?!#stripes)", re.sub(r"// .*", "", text))
    assert not [a for _, a in Elements(text).found if "src" in a or a.get("href", "#")[0] != "#"]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_no_script_makes_html_or_code_of_a_text(script):
    code = script.read_text(encoding="utf-8")
    forbidden = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function|DOMParser|setHTML"
    assert not re.search(forbidden, code)
    assert "</script" not in code.lower()
    assert "<!--" not in code


@given(st.text() | st.sampled_from(TEXTS))
def test_any_text_comes_back_from_the_json_island_and_ends_no_element(text):
    island = json_island({text: [text]})
    assert not set(island) & set("<>&\u2028\u2029")
    shown = re.sub("[\ud800-\udfff]", "\ufffd", text)
    assert json.loads(island) == {shown: [shown]}


def test_hostile_texts_add_no_element_to_the_page():
    plain = Elements(report_html(scored("ab"), title="a"))
    hostile = Elements(report_html(hostile_rows(), title=TEXTS[1]))
    assert hostile.found == plain.found
    assert len(json.loads(hostile.texts["application/json"])["rows"]) == len(TEXTS)


def test_results_are_shown_with_the_questions_of_the_caller():
    results = semantic_entropy.estimate([["a", "b"], ["c", "c"]], equivalence="exact")
    rows = data_of(report_html(results, questions=["First?", None]))["rows"]
    assert [row["question"] for row in rows] == ["First?", None]
    assert [row["rank"] for row in rows] == [0, 1]
    assert rows[0]["responses"] == ["a", "b"]
    assert len(data_of(report_html(results[0]))["rows"]) == 1


def test_a_field_of_the_row_is_not_taken_for_the_field_of_the_result():
    (row,) = scored("aab", answer="mine", id="q1", source="wiki", p_wrong="no number", flag="red")
    row["result_answer"] = "a"
    (shown,) = data_of(report_html([row]))["rows"]
    texts = data_of(report_html([row]))["texts"]
    assert shown["answer"] == "a"
    assert {texts[name]: value for name, value in shown["fields"]} == {
        "answer": "mine",
        "source": "wiki",
        "p_wrong": "no number",
        "flag": "red",
    }


def test_a_calibrated_row_shows_its_probability_and_its_flag():
    rows = scored("ab", p_wrong=0.75, flag=True, threshold=0.3) + scored("cc", p_wrong=0.1, flag=False, threshold=0.3)
    for row in rows:
        row["provenance"]["calibration"] = "5f0c2a9b"
    data = data_of(report_html(rows))
    assert data["score"] == "p_wrong"
    assert [(row["action"], row["score"]) for row in data["rows"]] == [("flagged", 0.75), ("passed", 0.1)]
    assert [data["texts"][i] for i in data["rows"][0]["basis"]] == [
        "p(wrong) is 75.0%",
        "the certified threshold is 0.3",
    ]


def test_a_report_with_a_calibration_shows_what_the_gate_decides_and_why(tmp_path):
    rows = scored("aaaa", "abcd", "aab", id="1")
    for row in rows:
        row["provenance"]["model"] = "m"
    calibration = Calibration(
        scores=(CalibratedScore("discrete", higher_is_uncertain=True),),
        method="platt",
        parameters=Mapped(-1.0, (2.0,), (0.5,), (0.25,)),
        conditions=Conditions.of([Origin.of(rows[0]["provenance"], 4)], ["discrete"]),
        labels=LabelCounts(20, 60, 5, 10, "main"),
        guarantee=learn_then_test([0.0] * 50 + [1.0] * 10, [False] * 50 + [True] * 10, [0.0, 1.0], 0.1),
        quantiles=(0.0, 0.0, 1.0),
    )
    calibration.save(tmp_path / "calibration.json")
    data = data_of(report_html(rows, calibration=tmp_path / "calibration.json"))
    decisions = [decide(Result.from_dict(row), calibration) for row in rows]
    assert [row["action"] for row in data["rows"]] == [each.action for each in decisions] == ["allow", "block", "defer"]
    for row, decision in zip(data["rows"], decisions, strict=True):
        assert [data["texts"][i] for i in row["basis"]] == list(decision.reasons)
        assert row.get("p_wrong") == (decision.p_wrong and round(decision.p_wrong, 4))
    assert data["score"] == "p_wrong"


def test_rows_without_a_result_are_left_out_and_named(tmp_path):
    good, bad, broken = *scored("ab", id="1"), {"responses": ["x"]}, *scored("ab", n_valid="two")
    file = tmp_path / "scored.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in (good, bad, broken)))
    file.with_name("scored.jsonl.bad.jsonl").write_text('{"line": 4}\n{"line": 5}\n')
    summary = write_report(file, tmp_path / "report.html")
    assert (summary.rows, summary.left_out) == (1, 2)
    assert summary.problems[0].startswith("line 2: no result")
    assert summary.problems[1].startswith("line 3: the field n_valid")
    left_out = data_of((tmp_path / "report.html").read_text(encoding="utf-8"))["left_out"]
    assert (left_out["rows"], left_out["unmeasured"]) == (2, 2)


def test_a_file_without_results_is_an_error_that_says_what_to_run(tmp_path):
    file = tmp_path / "in.jsonl"
    file.write_text('{"responses": ["a"]}\n')
    with pytest.raises(InputError, match="output of semantic-entropy estimate"):
        write_report(file, tmp_path / "report.html")
    with pytest.raises(InputError, match="both input and report"):
        write_report(file, file)
    with pytest.raises(InputError, match="label="):
        write_report(file, tmp_path / "report.html", label="most")
    with pytest.raises(InputError, match="one for each"):
        report_html(scored("ab"), questions=["a", "b"])


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
def test_both_formats_of_estimate_give_the_same_report(tmp_path, suffix):
    if suffix == ".parquet":
        pytest.importorskip("pyarrow")
    row = {"id": "a", "question": "Where?", "responses": ["Paris", "Rome", "It is Paris"]}
    source = tmp_path / "in.jsonl"
    source.write_text(json.dumps({**row, "correct": [True, False, True]}) + "\n")
    semantic_entropy.estimate_file(source, tmp_path / f"out{suffix}", progress=False)
    (row,) = data_of(report_html(tmp_path / f"out{suffix}"))["rows"]
    assert row["responses"] == ["Paris", "Rome", "It is Paris"]
    assert (row["id"], row["question"], row["wrong"], row["correct"]) == ("a", "Where?", 0, [1, 0, 1])
    assert row["answer"] == "Paris"


def test_the_notebook_and_the_page_have_the_same_colours():
    style = (FOLDER / "page.css").read_text(encoding="utf-8")
    assert [re.search(rf"--m{i}: (#\w+);", style)[1] for i in range(len(COLOURS))] == list(COLOURS)


def test_the_wheel_has_the_files_of_the_page(tmp_path):
    pytest.importorskip("hatchling")
    from hatchling.builders.wheel import WheelBuilder

    root = FOLDER.parent.parent
    files = {file.distribution_path for file in WheelBuilder(str(root)).recurse_included_files()}
    expected = {path.name for path in FOLDER.iterdir() if path.suffix in (".js", ".css", ".html")}
    assert {f"semantic_entropy/report/{name}" for name in expected} <= files
    assert len(expected) == 8


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_the_scripts_are_valid_without_a_build_step(script):
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed: the tests in Chromium run the scripts")
    done = subprocess.run([node, "--check", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_parquet_file_whose_rows_have_different_judges_loses_no_row(tmp_path):
    """Its column of versions has the keys of all judges, with null in the rows of the other ones."""
    pytest.importorskip("pyarrow")
    rows = [("Capital?", ["Paris", "Lyon"]), ("Sum?", [r"\boxed{4}", r"\boxed{5}"])]
    questions, measured = tmp_path / "questions.jsonl", tmp_path / "measured.parquet"
    questions.write_text("".join(json.dumps({"question": q, "responses": r}) + "\n" for q, r in rows), encoding="utf-8")
    estimate_file(questions, measured)
    summary = write_report(str(measured), tmp_path / "report.html")
    assert (summary.rows, summary.left_out) == (2, 0)
