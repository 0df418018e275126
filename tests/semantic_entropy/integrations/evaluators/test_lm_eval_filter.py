"""Real runs of lm-evaluation-harness: a task in YAML, a local dataset, a small local model with answers that vary."""

import itertools
import json
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

lm_eval = pytest.importorskip("lm_eval", reason="the extra `lm-eval`: python3 noxfile.py evaluators")
from lm_eval.api.model import LM  # noqa: E402
from lm_eval.filters import build_filter_ensemble  # noqa: E402
from lm_eval.tasks import TaskManager  # noqa: E402

from semantic_entropy import InputError, estimate  # noqa: E402
from semantic_entropy.integrations.evaluators import lm_eval_filter  # noqa: E402

ANSWERS = {
    "Capital of France?": ["Lyon", "Paris", "It is Paris.", "paris"],
    "Capital of Peru?": ["I don't know.", "Lima", "I cannot answer that.", ""],
}
MODULE = "semantic_entropy.integrations.evaluators.lm_eval_filter"
TASK = """
    task: {name}
    dataset_path: json
    dataset_kwargs: {{data_files: {{test: {data}}}}}
    test_split: test
    output_type: generate_until
    doc_to_text: "{{{{question}}}}"
    doc_to_target: "{{{{gold}}}}"
    repeats: 4
    generation_kwargs: {{do_sample: true, temperature: 1.0, until: []}}
"""
MAJORITY = """
    filter_list:
      - name: first
        filter: [{{function: take_first}}]
      - name: majority
        filter:
          - {{function: !function {module}.SemanticMajority, equivalence: text}}
          - function: take_first
    metric_list:
      - {{metric: exact_match, aggregation: mean, higher_is_better: true, ignore_case: true}}
"""
ENTROPY = """
    filter_list:
      - name: entropy
        filter:
          - function: !function {module}.SemanticEntropyFilter
    process_results: !function {module}.process_results
    metric_list:
      - {{metric: semantic_entropy, aggregation: mean, higher_is_better: false}}
      - {{metric: semantic_entropy_missing, aggregation: mean, higher_is_better: false}}
"""


class Varying(LM):
    """Answers each question with the next of its answers."""

    def __init__(self):
        super().__init__()
        self.answers = {question: itertools.cycle(texts) for question, texts in ANSWERS.items()}

    def generate_until(self, requests, disable_tqdm=False):
        return [next(self.answers[request.args[0]]) for request in requests]

    def loglikelihood(self, requests, disable_tqdm=False):
        raise NotImplementedError

    def loglikelihood_rolling(self, requests, disable_tqdm=False):
        raise NotImplementedError


@pytest.fixture
def tasks(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    data = tmp_path / "questions.jsonl"
    golds = {"Capital of France?": "Paris", "Capital of Peru?": "Lima"}
    data.write_text("".join(json.dumps({"question": q, "gold": gold}) + "\n" for q, gold in golds.items()))
    for name, rest in (("capitals_majority", MAJORITY), ("capitals_entropy", ENTROPY)):
        text = textwrap.dedent(TASK).format(name=name, data=data) + textwrap.dedent(rest).format(module=MODULE)
        (tmp_path / f"{name}.yaml").write_text(text)
    return tmp_path


def evaluated(tasks, name):
    return lm_eval.simple_evaluate(
        Varying(), tasks=[name], task_manager=TaskManager(include_path=str(tasks)), bootstrap_iters=0
    )


def test_the_metrics_of_a_task_score_the_answer_of_the_largest_meaning(tasks):
    found = evaluated(tasks, "capitals_majority")
    scores = found["results"]["capitals_majority"]
    assert scores["exact_match,first"] == 0.0  # Lyon, and a refusal
    assert scores["exact_match,majority"] == 1.0  # Paris, and Lima: the only valid answer
    kept = {
        sample["doc"]["question"]: sample["filtered_resps"]
        for sample in found["samples"]["capitals_majority"]
        if sample["filter"] == "majority"
    }
    assert kept == {"Capital of France?": ["Paris"], "Capital of Peru?": ["Lima"]}


def test_the_entropy_is_a_metric_over_the_documents_that_have_one(tasks):
    found = evaluated(tasks, "capitals_entropy")
    scores = found["results"]["capitals_entropy"]
    france = ANSWERS["Capital of France?"]
    assert scores["semantic_entropy,entropy"] == pytest.approx(estimate(france).entropy)
    assert scores["semantic_entropy_missing,entropy"] == 0.5
    peru = found["samples"]["capitals_entropy"][1]
    assert "semantic_entropy" not in peru["metrics"]
    assert peru["filtered_resps"][0]["reason"] == "1 of 4 answers are valid; at least 2 are needed"


def test_the_command_of_the_docs_runs_a_task_file(tasks):
    command = [sys.executable, "-m", "lm_eval", "run", "--model", "dummy", "--tasks", "capitals_entropy"]
    command += ["--include_path", str(tasks), "--output_path", str(tasks / "out"), "--log_samples"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=240, cwd=tasks)
    assert done.returncode == 0, done.stdout + done.stderr
    (results,) = (tasks / "out").rglob("results_*.json")
    assert (
        json.loads(results.read_text())["results"]["capitals_entropy"]["semantic_entropy,entropy"] == 0.0
    )  # "lol" x 4


def test_the_filters_have_names_after_an_import_and_take_the_options_of_estimate():
    answers, doc = ["x = 4", "5", "4"], {"question": "2 + 2?"}
    (measured,) = lm_eval_filter.SemanticEntropyFilter(extract="number", equivalence="exact").apply([answers], [doc])
    assert measured["clusters"] == [{"size": 2, "answer": "4"}, {"size": 1, "answer": "5"}]
    assert build_filter_ensemble("x", [("semantic_majority", {"question": "q"}), ("semantic_entropy", None)]).filters
    assert lm_eval_filter.SemanticMajority(invalid="drop").apply([["", "no"], ["", ""], ["a"]], [doc] * 3) == [
        ["no"],
        [""],
        ["a"],
    ]


def test_wrong_places_of_the_filter_are_errors():
    with pytest.raises(InputError, match="document 0 has 'Paris'"):
        lm_eval_filter.SemanticMajority().apply(["Paris"], [{}])
    with pytest.raises(InputError, match="document 0 has"):
        lm_eval_filter.SemanticMajority().apply([[(-1.0, True)]], [{}])
    with pytest.raises(InputError, match="SemanticEntropyFilter"):
        lm_eval_filter.process_results({}, ["Paris"])


def test_the_task_of_the_docs_runs(tasks):
    page = Path(__file__).parents[4] / "docs" / "how-to" / "evaluators.md"
    text = page.read_text().partition("```yaml\n")[2].partition("```")[0]
    assert text.startswith("task: capitals\n")
    (tasks / "capitals.yaml").write_text(text.replace("questions.jsonl", str(tasks / "questions.jsonl")))
    scores = evaluated(tasks, "capitals")["results"]["capitals"]
    assert scores["semantic_entropy_missing,entropy"] == 0.0  # ten responses: each refusal comes with a "Lima" or two
    assert scores["semantic_entropy,entropy"] > 0
