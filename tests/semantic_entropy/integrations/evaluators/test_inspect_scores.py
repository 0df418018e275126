"""Real evaluations of inspect_ai with its model `mockllm`, and their logs in both formats."""

import math
from pathlib import Path

import pytest

inspect_ai = pytest.importorskip("inspect_ai", reason="the extra `inspect`: python3 noxfile.py evaluators")
import anyio  # noqa: E402
from inspect_ai import Epochs, Task  # noqa: E402
from inspect_ai import eval as run_eval  # noqa: E402
from inspect_ai.dataset import Sample  # noqa: E402
from inspect_ai.log import read_eval_log, recompute_metrics  # noqa: E402
from inspect_ai.model import ModelOutput, ModelUsage, get_model  # noqa: E402
from inspect_ai.scorer import NOANSWER, Score, accuracy, includes, scorer  # noqa: E402
from inspect_ai.scorer._reducer.registry import create_reducers  # noqa: E402

from semantic_entropy import InputError, estimate  # noqa: E402
from semantic_entropy.integrations.evaluators.inspect_scores import (  # noqa: E402
    entropy,
    sampled_entropy,
    score_log,
)

FRANCE = ["Paris", "It is Paris.", "Lyon", "paris"]
PERU = ["I don't know.", "Lima", "I cannot answer that.", ""]
EXPECTED = estimate(FRANCE).entropy


def answering(answers):
    """A model that answers each question with the next of its answers."""
    left = {question: iter(texts) for question, texts in answers.items()}

    def reply(messages, *_):
        output = ModelOutput.from_content("mockllm", next(left[messages[-1].text]))
        output.usage = ModelUsage(input_tokens=1, output_tokens=1)  # else it downloads a vocabulary to count tokens
        return output

    return get_model("mockllm/model", custom_outputs=reply)


def evaluated(tmp_path, reducers="mean", log_format="eval", scoring=None):
    """Run two samples over four epochs."""
    samples = [
        Sample(input="Capital of France?", target="Paris", id=1),
        Sample(input="Capital of Peru?", target="Lima", id="peru"),
    ]
    (log,) = run_eval(
        Task(dataset=samples, scorer=scoring or includes(), epochs=Epochs(4, reducers)),
        model=answering({"Capital of France?": FRANCE, "Capital of Peru?": PERU}),
        log_dir=str(tmp_path),
        log_format=log_format,
        display="none",
    )
    assert log.status == "success", log.error
    return log


def test_the_reducer_is_found_by_name_through_the_entry_point_and_gives_the_entropy_of_the_epochs(tmp_path):
    log = evaluated(tmp_path, ["mean", "semantic_entropy/entropy"])
    assert sorted(sample.output.completion for sample in log.samples if sample.id == 1) == sorted(FRANCE)
    (reduced,) = [each for each in log.reductions if each.reducer == "semantic_entropy/entropy"]
    france, peru = reduced.samples
    assert france.value == pytest.approx(EXPECTED)
    assert france.answer.lower() == "paris"
    assert france.metadata["n_valid"] == 4
    assert "3 x" in france.explanation
    assert math.isnan(peru.value)
    assert peru.explanation == "no score: 1 of 4 answers are valid; at least 2 are needed"
    (score,) = [each for each in log.results.scores if each.reducer == "semantic_entropy/entropy"]
    assert score.metrics["accuracy"].value == pytest.approx(EXPECTED)
    assert (score.scored_samples, score.unscored_samples) == (1, 1)


@scorer(metrics=[accuracy()])
def kept_in_metadata():
    async def score(state, target):
        text = state.output.completion
        return Score(value=NOANSWER if not text else "C", metadata={"short": text[:4]})

    return score


def test_the_reducer_reads_a_field_and_counts_a_score_without_an_answer_as_invalid():
    reduce = entropy(field="short", equivalence="exact")
    scores = [Score(value="C", metadata={"short": text}) for text in ("Pari", "Pari", "Lyon")]
    unanswered = [Score(value=NOANSWER, metadata={"short": "Lima"}), Score.unscored(), Score(value="C", metadata=None)]
    assert reduce(scores).value == pytest.approx(estimate(["Pari", "Pari", "Lyon"], equivalence="exact").entropy)
    assert reduce([*scores, *unanswered]).metadata["invalid"] == 3
    assert math.isnan(reduce(unanswered).value)
    assert math.isnan(reduce(scores[:1]).value)
    assert create_reducers("semantic_entropy/entropy")


def test_the_reducer_reads_the_metadata_of_a_real_evaluation(tmp_path):
    log = evaluated(tmp_path, entropy(field="short"), scoring=kept_in_metadata())
    (reduced,) = log.reductions
    assert reduced.samples[0].metadata["clusters"][0]["size"] == 2


def test_the_scorer_asks_the_model_again_within_one_epoch(tmp_path):
    (log,) = run_eval(
        Task(dataset=[Sample(input="Capital of France?", target="Paris")], scorer=sampled_entropy(n=4)),
        model=answering({"Capital of France?": ["first", *FRANCE]}),
        log_dir=str(tmp_path),
        display="none",
    )
    assert log.status == "success", log.error
    (score,) = log.samples[0].scores.values()
    assert score.value == pytest.approx(EXPECTED)
    assert log.results.scores[0].metrics["mean"].value == pytest.approx(EXPECTED)
    with pytest.raises(InputError, match="n=1"):
        sampled_entropy(n=1)


def test_the_scorer_sends_its_requests_side_by_side(tmp_path):
    """The limit of connections is that of the evaluation: 10 answers need not take ten times as long as one."""
    started, all_started = [], anyio.Event()

    async def reply(*_):
        started.append(None)
        if len(started) == 5:  # the first is the answer of the task
            all_started.set()
        if len(started) > 1:
            with anyio.fail_after(60):
                await all_started.wait()
        output = ModelOutput.from_content("mockllm", "Paris")
        output.usage = ModelUsage(input_tokens=1, output_tokens=1)
        return output

    (log,) = run_eval(
        Task(dataset=[Sample(input="Capital of France?", target="Paris")], scorer=sampled_entropy(n=4)),
        model=get_model("mockllm/model", custom_outputs=reply),
        log_dir=str(tmp_path),
        display="none",
    )
    assert log.status == "success", log.error
    assert log.results.scores[0].metrics["mean"].value == 0.0


@pytest.mark.parametrize("log_format", ["eval", "json"])
def test_a_finished_log_is_scored_and_a_second_run_replaces_the_score(tmp_path, log_format):
    log = evaluated(tmp_path, ["mean", "pass_at_2"], log_format)
    place = log.location
    for _ in range(2):
        summary = score_log(place)
        assert [score.value for score in summary.scores] == [pytest.approx(EXPECTED), None]
        assert (summary.written, summary.unreadable) == (4, {})
        assert "Capital of Peru?: 1 of 4 answers are valid" in str(summary)
        read = read_eval_log(place)
        assert [score.name for score in read.results.scores].count("semantic_entropy") == 1
        assert [reduction.scorer for reduction in read.reductions].count("semantic_entropy") == 1
        assert read.eval.config.epochs_reducer == ["mean", "pass_at_2"]
        (total,) = [score for score in read.results.scores if score.name == "semantic_entropy"]
        assert total.metrics["mean"].value == pytest.approx(EXPECTED)
        assert (total.scored_samples, total.unscored_samples) == (1, 1)
        for sample in read.samples:
            assert set(sample.scores) == {"includes", "semantic_entropy"}
            value = sample.scores["semantic_entropy"].value
            assert value == pytest.approx(EXPECTED) if sample.id == 1 else math.isnan(value)
    read.eval.config.epochs_reducer = ["semantic_entropy/entropy"]
    recompute_metrics(read)  # what inspect_ai does after a person edits a score: it finds the scorer by its name
    (total,) = [score for score in read.results.scores if score.name == "semantic_entropy"]
    assert total.metrics["mean"].value == pytest.approx(EXPECTED)  # and not the entropy of equal scores
    assert [path.name for path in tmp_path.iterdir()] == [Path(place).name]


def test_a_log_goes_to_another_file_and_a_header_is_an_error(tmp_path):
    log = evaluated(tmp_path)
    output = tmp_path / "scored.eval"
    score_log(log.location, output, equivalence="exact")
    assert "semantic_entropy" not in read_eval_log(log.location).samples[0].scores
    assert "semantic_entropy" in read_eval_log(str(output)).samples[0].scores
    with pytest.raises(InputError, match="has no samples"):
        score_log(read_eval_log(log.location, header_only=True))


def test_an_epoch_that_failed_is_named_and_is_no_answer(tmp_path):
    log = evaluated(tmp_path)
    read = read_eval_log(log.location)
    broken = next(sample for sample in read.samples if sample.output.completion == "Lyon")
    broken.output.choices.clear()
    summary = score_log(read)
    assert summary.unreadable == {f"1 epoch {broken.epoch}": "the epoch has no output"}
    assert summary.scores[0].value == 0.0
