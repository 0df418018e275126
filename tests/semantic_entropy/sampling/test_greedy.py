"""`greedy=True`: one more draw for each question at temperature 0, kept, counted, and scored."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from click.testing import CliRunner

from semantic_entropy import InputError, SamplingError, Scorer, estimate, estimate_file, register
from semantic_entropy.cli import main
from semantic_entropy.plugin import Sample, SampleFailure, Usage
from semantic_entropy.results import Result
from tests.semantic_entropy.sampling.dice import Dice

ONE = ("discrete", "perplexity", "cocoa")


class Model(Dice):
    """A die with a greedy answer. `asked_greedy`: the questions of its greedy draws; `numbers`: of its answer."""

    def __init__(self, numbers=(-1.0, -3.0), fails_greedy="", cold=False, asked_greedy=None, **options):
        super().__init__(**options)
        self.numbers, self.fails_greedy, self.cold = numbers, fails_greedy, cold
        self.asked_greedy = [] if asked_greedy is None else asked_greedy

    @property
    def settings(self):
        return (*super().settings, "cold" if self.cold else "warm")

    def greedy_sampler(self):
        return Model(self.numbers, self.fails_greedy, True, self.asked_greedy)

    def stream(self, requests):
        if not self.cold:
            yield from super().stream(requests)
            return
        for request in requests:
            assert (request.n, request.first) == (1, 0)
            self.asked_greedy.append(request.question)
            if self.fails_greedy and self.fails_greedy in request.question:
                yield request, SampleFailure("refused", Usage(1, 3, 0))
                continue
            if self.fails_greedy == "all":
                raise SamplingError("the server is away")
            yield request, Sample(f"It is {request.question}", self.numbers, "stop", usage=Usage(1, 3, 7))


def test_the_greedy_answer_is_scored_and_its_cost_is_counted():
    result = estimate(question="Bern", sampler=Model(), greedy=True, n=4, estimator=ONE)
    assert result.greedy_sample == Sample("It is Bern", (-1.0, -3.0), "stop", usage=Usage(1, 3, 7))
    assert result.scores["perplexity"] == pytest.approx(math.exp(2))  # of the samples: exp(0.15)
    assert result.provenance.sampling_usage == Usage(5, 15, 4 * 2 + 7)
    texts = [sample.text for sample in result.samples]
    given = {"text": "It is Bern", "logprobs": [-1.0, -3.0]}
    logprobs = [[-0.1, -0.2]] * 4
    assert estimate(texts, question="Bern", logprobs=logprobs, greedy=given, estimator=ONE).scores == result.scores
    assert Result.from_dict(json.loads(result.to_json())) == result


def test_without_the_option_no_greedy_answer_is_drawn():
    model = Model()
    result = estimate(question="Bern", sampler=model, n=4, estimator="perplexity")
    assert (model.asked_greedy, result.greedy_sample) == ([], None)
    assert "greedy_sample" not in result.to_dict()
    assert estimate(question="Bern", sampler=model, n=4, greedy=False, estimator="perplexity") == result


def test_many_questions_in_several_windows_keep_their_order_and_their_answers():
    model, questions = Model(), [f"q{i % 90}" for i in range(150)]
    results = estimate(question=questions, sampler=model, greedy=True, n=2)
    assert [result.greedy_sample.text for result in results] == [f"It is {question}" for question in questions]
    assert model.asked_greedy == questions[:90]  # once each
    assert [asked[0] for asked in model.asked] == questions[:90]


def test_a_sampler_without_a_greedy_answer_is_refused_before_anything_is_drawn():
    sampler = Dice()
    with pytest.raises(InputError, match=r"greedy=True: the sampler 'dice' draws no greedy answer \(its class"):
        Scorer(sampler=sampler, greedy=True)
    with pytest.raises(InputError, match="greedy=True draws the greedy answer of each question: pass sampler= too"):
        estimate(["a", "b"], greedy=True)
    assert sampler.asked == []
    assert len(estimate(question="q", sampler=sampler, n=2).labels) == 2  # without the option, it works as before


def test_a_question_whose_greedy_answer_fails_has_no_result_and_costs_no_responses():
    model = Model(fails_greedy="secret")
    lost, fine = estimate(question=["secret", "Bern"], sampler=model, greedy=True, n=3, estimator=ONE)
    assert math.isnan(lost.entropy)
    assert lost.warnings[0] == "0 of 3 responses: no greedy answer: refused"
    assert lost.provenance.sampling_usage == Usage(1, 3, 0)
    assert fine.greedy_sample.text == "It is Bern"
    assert [asked[0] for asked in model.asked] == ["Bern"]


def test_the_greedy_answer_of_a_question_without_responses_is_paid_and_not_scored():
    model = Model(refuses="secret")
    lost, _ = estimate(question=["secret", "Bern"], sampler=model, greedy=True, n=3, estimator=ONE)
    assert lost.greedy_sample is None
    assert math.isnan(lost.scores["perplexity"])
    assert lost.provenance.sampling_usage == Usage(1, 3, 7)


@pytest.mark.parametrize("numbers", [(math.nan,), (0.5,), ()])
def test_unusable_numbers_of_the_greedy_answer_are_never_those_of_the_other_responses(numbers):
    choices = {"question": "Bern", "sampler": Model(numbers), "greedy": True, "n": 2}
    result = estimate(**choices)
    assert "the numbers of the greedy answer left out: sampler 'dice': greedy: logprobs" in result.warnings[0]
    assert (result.greedy_sample.text, result.greedy_sample.logprobs) == ("It is Bern", None)
    with pytest.raises(InputError, match="estimator 'perplexity'.* the greedy answer"):
        estimate(**choices, estimator="perplexity")


def test_rounds_of_an_adaptive_run_score_the_greedy_answer():
    model = Model(sides=1)
    result = estimate(
        question="Bern", sampler=model, greedy=True, n="auto", threshold=0.5, estimator=["discrete", "cocoa"]
    )
    assert result.provenance.n < 10
    assert model.asked_greedy == ["Bern"]
    given = {"text": "It is Bern", "logprobs": [-1.0, -3.0]}
    texts = [sample.text for sample in result.samples]
    assert estimate(texts, greedy=given, estimator=["discrete", "cocoa"]).scores == result.scores


def test_the_store_keeps_greedy_answers_apart_and_a_second_run_draws_none(tmp_path):
    path = tmp_path / "samples.jsonl"
    choices = {"question": ["Bern", "Oslo"], "greedy": True, "samples": path, "estimator": ONE}
    first = estimate(sampler=Model(), n=2, **choices)
    model = Model()
    again = estimate(sampler=model, n=3, **choices)
    assert model.asked_greedy == []
    assert model.asked == [("Bern", 1, 2), ("Oslo", 1, 2)]
    assert [result.greedy_sample for result in again] == [result.greedy_sample for result in first]
    assert len(path.read_text().splitlines()) == 2 + 6


# Files.

ROWS = [{"id": i, "question": f"q{i}"} for i in range(4)]


@pytest.fixture
def models():
    made = []

    def factory(**options):
        made.append(Model(**options))
        return made[-1]

    register("sampler", "dice", factory)
    return made


def run(*arguments):
    estimators = [option for name in ONE for option in ("--estimator", name)]
    return CliRunner().invoke(main, ["estimate", *map(str, arguments), "--sampler", "dice", "-n", "3", *estimators])


def write(path, rows=ROWS):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def read(path):
    return [json.loads(line) for line in Path(path).read_text().splitlines()]


def test_an_interrupted_run_over_a_file_draws_no_greedy_answer_twice(models, tmp_path):
    source, output = write(tmp_path / "q.jsonl"), tmp_path / "out.jsonl"
    assert run(source, "-o", output, "--greedy", "--sampler-option", "breaks_after=7").exit_code == 1
    assert [row["id"] for row in read(output)] == [0, 1]
    done = run(source, "-o", output, "--greedy")
    assert done.exit_code == 0, done.output
    assert models[0].asked_greedy == ["q0", "q1", "q2", "q3"]
    assert models[1].asked_greedy == []
    rows = read(output)
    known = {"text": "It is q3", "finish_reason": "stop", "logprobs": [-1.0, -3.0]}
    assert rows[3]["greedy"] == known
    assert "greedy_sample" not in rows[3]
    # the rows of the output, with their greedy answers, give the same scores without a sampler
    again = estimate_file(output, tmp_path / "again.jsonl", estimator=ONE)
    assert again.rows == 4
    assert [row["result_scores"] for row in read(tmp_path / "again.jsonl")] == [row["scores"] for row in rows]
    assert "0 rows in" in run(source, "-o", output, "--greedy").output


def test_an_output_without_greedy_answers_is_not_continued_with_them(models, tmp_path):
    source, output = write(tmp_path / "q.jsonl"), tmp_path / "out.jsonl"
    choices = {"sampler": "dice", "n": 3}
    estimate_file(source, output, **choices)
    with pytest.raises(InputError, match="was made with no greedy answer, and this run has greedy 'dice'"):
        estimate_file(source, output, greedy=True, **choices)


def test_a_row_with_a_greedy_answer_gets_no_second_one(models, tmp_path):
    source = write(tmp_path / "q.jsonl", [{**ROWS[0], "greedy": {"text": "x", "logprobs": [-1]}}, ROWS[1]])
    done = run(source, "-o", tmp_path / "out.jsonl", "--greedy")
    assert done.exit_code == 1
    (bad,) = read(f"{tmp_path / 'out.jsonl'}.bad.jsonl")
    assert bad["problem"].startswith("the field 'greedy' holds an answer, and --greedy would draw another one")
    assert models[0].asked_greedy == ["q1"]


def test_the_greedy_answer_is_a_column_of_a_parquet_output(models, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    source, output = write(tmp_path / "q.jsonl"), tmp_path / "out.parquet"
    assert run(source, "-o", output, "--greedy").exit_code == 0
    rows = parquet.read_table(output).to_pylist()
    assert [row["greedy"]["text"] for row in rows] == [f"It is q{i}" for i in range(4)]
    write(source, [*ROWS, {"id": 9, "question": "q9"}])
    assert run(source, "-o", output, "--greedy").exit_code == 0
    assert models[1].asked_greedy == ["q9"]
    rows = parquet.read_table(output).to_pylist()
    assert [row["greedy"]["text"] for row in rows][3:] == ["It is q3", "It is q9"]


def test_on_the_command_line_the_option_needs_a_sampler(tmp_path):
    done = CliRunner().invoke(main, ["estimate", str(write(tmp_path / "q.jsonl")), "--greedy"])
    assert done.exit_code == 1
    assert "--greedy need --sampler NAME" in done.output


def test_explain_prints_the_greedy_answer(models):
    done = CliRunner().invoke(main, ["explain", "--sampler", "dice", "-n", "2", "--greedy", "-q", "Oslo"])
    assert "greedy answer: It is Oslo" in done.output
