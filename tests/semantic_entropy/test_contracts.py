"""Components that break their contract are named, whatever they do; and nothing remembers what it should not."""

from __future__ import annotations

import copy
import json
import math
import sys
import threading
from itertools import islice

import numpy as np
import pytest
from click.testing import CliRunner

from semantic_entropy import (
    Clusterer,
    EntropyEstimator,
    Equivalence,
    EquivalenceError,
    InputError,
    OptionError,
    PluginError,
    SamplingError,
    Scorer,
    Verdict,
    estimate,
    load_equivalence,
    register,
)
from semantic_entropy.cli import main
from semantic_entropy.contracts import judge_pairs
from semantic_entropy.types import Estimate, Pair, Sample, Usage
from tests.semantic_entropy.sampling.dice import Dice


class Judge(Equivalence):
    """Says `same` to everything, and breaks one rule."""

    name = "judge"

    def __init__(self, same=True, **broken):
        self.same, self.broken = same, broken

    @property
    def settings(self):
        return self.broken.get("settings", super().settings)

    def judge(self, pairs):
        return self.broken["judge"] if "judge" in self.broken else [Verdict(self.same)] * len(pairs)

    def keys(self, question, answers):
        return self.broken.get("keys", answers)

    def extract(self, responses):
        return self.broken.get("extract", responses)


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        ({"judge": None}, "returned a NoneType"),
        ({"judge": [Verdict(True)] * 3}, "returned 3 verdicts for 1 pairs"),
        ({"judge": [True]}, "returned True for Pair.*return Verdict"),
        ({"judge": [Verdict("no")]}, "returned Verdict.same='no'"),
        ({"judge": [Verdict(True, 1.7)]}, "score=1.7.*the score is a number in .0, 1. or None"),
        ({"judge": [Verdict(True, "0.9")]}, "score='0.9'.*the score is a number"),
        ({"judge": [Verdict(True, reason=3)]}, "reason=3.*reason and by are texts"),
        ({"judge": [Verdict(True, usage=3)]}, "usage=3.*usage is a Usage"),
        ({"judge": [Verdict(True)], "settings": ["a list"]}, "settings is .'a list'., which has no hash"),
        ({"keys": None}, r"raised TypeError.* in keys\(\)"),
        ({"keys": ["a"]}, r"returned the keys \['a'\] for 2 answers"),
        ({"keys": [[], []]}, "one hashable key"),
        ({"extract": None}, r"raised TypeError.* in extract\(\)"),
        ({"extract": ["a"]}, r"extracted \['a'\] from 2 responses"),
        ({"extract": ["a", 3]}, "one str or None"),
    ],
)
def test_a_judge_that_returns_the_wrong_thing_is_named(broken, says):
    with pytest.raises(EquivalenceError, match=f"(?s)'judge'.*{says}"):
        estimate(["a", "b"], equivalence=Judge(**broken))


@pytest.mark.parametrize(
    ("attribute", "value", "says"),
    [
        ("versions", 3, "equivalence 'judge': versions is 3; return a mapping"),
        ("describe", lambda: None, r"equivalence 'judge': describe\(\) returned None; return a text"),
        ("describe", sys.exit, r"equivalence 'judge' raised SystemExit:  in describe\(\)"),
    ],
)
def test_a_judge_that_cannot_be_described_is_named(attribute, value, says):
    judge = type("Undescribed", (Judge,), {attribute: staticmethod(value) if callable(value) else value})()
    with pytest.raises(PluginError, match=says):
        estimate(["a", "b"], equivalence=judge)


@pytest.mark.parametrize(
    "verdict", [Verdict(np.True_, np.float32(0.9)), Verdict(1, 1), Verdict(True, np.float64(1 + 1e-7))]
)
def test_the_numbers_of_numpy_in_a_verdict_become_those_of_python(verdict):
    (plain,) = judge_pairs(Judge(judge=[verdict]), [Pair(None, "a", "b")])
    assert plain.same is True
    assert type(plain.score) is float
    assert 0 <= plain.score <= 1


@pytest.mark.parametrize("nan", [math.nan, np.float32("nan")])
def test_a_verdict_with_the_score_nan_is_undecided_and_counted(nan):
    result = estimate(["a", "b"], equivalence=Judge(judge=[Verdict(True, nan)]))
    assert (result.labels, result.provenance.undecided) == ((0, 1), 1)
    assert result.undecided[0].reason == "its score is not a number"


def test_a_blank_answer_that_a_judge_extracts_is_invalid():
    result = estimate(["a", "b"], equivalence=Judge(extract=["", " "]))
    assert (result.n_valid, result.labels) == (0, (0, 1))


class Odd(Clusterer):
    """A clusterer with one planted defect."""

    name = "odd"

    def __init__(self, defect):
        self.defect = defect

    def flow(self, size):
        if self.defect == "out of range":
            yield [(0, size)]
        if self.defect == "raises":
            raise KeyError(size)
        if self.defect == "not an index":
            yield [(0, 0.5)]
        while self.defect == "never ends":
            yield []
        if self.defect == "a judge's pair":
            yield [(np.int64(0), np.int64(1))]
            return [0, 0]

    def for_judge(self, equivalence):
        return None if self.defect == "for nobody" else self


@pytest.mark.parametrize(
    ("defect", "says"),
    [
        ("out of range", "on 2 answers, asked for the pairs"),
        ("not an index", "on 2 answers, asked for the pairs"),
        ("raises", "on 2 answers, raised KeyError"),
        ("never ends", "on 2 answers, asked for 21 pairs and did not end"),
        ("none", "on 2 answers, returned None"),
        ("for nobody", r"for_judge\(\) returned None; return a Clusterer"),
    ],
)
def test_a_clusterer_that_breaks_its_contract_is_named(defect, says):
    with pytest.raises(PluginError, match=f"clusterer 'odd'[,:] {says}"):
        estimate(["a", "b"], equivalence="exact", clusterer=Odd(defect))


def test_a_clusterer_may_use_the_integers_of_numpy():
    assert estimate(["a", "b"], equivalence="exact", clusterer=Odd("a judge's pair")).labels == (0, 0)


class Unprintable:
    def __repr__(self):
        raise RuntimeError("no repr")

    __iter__ = __float__ = __repr__


class Returns(EntropyEstimator):
    name = "returns"

    def __init__(self, returned):
        self.returned = returned

    def estimate(self, evidence):
        return self.returned


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (Estimate(math.nan), "returned Estimate.value=nan"),
        (Estimate(math.inf), "returned Estimate.value=inf.*with a finite number"),
        (Estimate("0.5"), "returned Estimate.value='0.5'"),
        (Estimate(1.0, ()), r"returned the probabilities \(\) for 2 clusters"),
        (Estimate(0.0, (0.5, 0.25, 0.25)), "probabilities .* for 2 clusters; return one for each cluster"),
        (Estimate(0.0, (3.0, -2.0)), r"probabilities \(3.0, -2.0\) .*in \[0, 1\], with the sum 1"),
        (Estimate(0.0, (0.5, 0.4)), r"probabilities \(0.5, 0.4\)"),
        (Estimate(0.0, (math.nan, 1.0)), "probabilities .nan, 1.0"),
        (Estimate(0.0, 1.0), "probabilities 1.0"),
        (Estimate(0.0, {0: 0.5, 1: 0.5}), "probabilities {0: 0.5, 1: 0.5}"),
        (Estimate(0.0, {0.25, 0.75}), "probabilities {0.*; return one for each cluster"),
        (Estimate(0.0, "01"), "probabilities '01'"),
        (Estimate(0.0, (10**400, 1)), r"probabilities \(10000"),
        (Estimate(10**400), "returned Estimate.value=10000"),
        pytest.param(Estimate(0.0, Unprintable()), "probabilities <Unprintable, whose repr raises>", id="no repr"),
        pytest.param(Unprintable(), "returned <Unprintable, whose repr raises>", id="no repr alone"),
    ],
    ids=str,
)
def test_an_estimator_that_returns_no_number_or_no_distribution_is_named(wrong, says):
    with pytest.raises(PluginError, match=f"estimator 'returns' .*{says}"):
        estimate(["a", "b"], equivalence="exact", estimator=Returns(wrong))


def test_the_numbers_of_numpy_in_an_estimate_become_floats_that_json_accepts():
    shares = np.array([2, 1], np.float32) / 3
    result = estimate(["a", "a", "b"], equivalence="exact", estimator=Returns(Estimate(np.float32(0.5), shares)))
    assert json.loads(result.to_json())["probabilities"] == pytest.approx([2 / 3, 1 / 3])
    assert type(result.entropy) is type(result.scores["returns"]) is type(result.probabilities[0]) is float


class Nameless(Returns):
    name = ""


@pytest.mark.parametrize(
    ("attribute", "value", "says"),
    [
        ("name", None, "estimator Odd: name is None; it is a text"),
        ("name", "", "estimator Odd: name is ''"),
        ("rules", 0, "estimator 'returns': rules is 0; it is a whole number from 1"),
        ("rules", "2", "rules is '2'"),
        ("requires", "logprobs", "requires is 'logprobs'; it is a set of fields of Evidence: labels, logprobs"),
        ("requires", frozenset({"logprob"}), "requires is frozenset.*'logprob'.*it is a set of fields of Evidence"),
        ("describe", lambda: 3, r"describe\(\) returned 3; return a text"),
    ],
)
def test_a_component_with_an_unusable_attribute_is_an_error_before_anything_is_measured(attribute, value, says):
    estimator = type("Odd", (Returns,), {})(Estimate(1.0))
    setattr(estimator, attribute, value)
    with pytest.raises(PluginError, match=says):
        Scorer("exact", estimator=estimator)


def test_a_component_without_a_name_has_the_name_of_its_class():
    assert Nameless.name == "Nameless"
    assert type("Whole", (Clusterer,), {}).name == "Whole"


@pytest.mark.parametrize("error", [ValueError("boom"), SystemExit("boom")])
def test_an_extractor_that_raises_is_an_error_that_shows_the_response(error):
    def answer(response):
        raise error

    with pytest.raises(InputError, match=f"extract: 'answer' raised {type(error).__name__}: boom for 'Paris'"):
        estimate(["Paris"], extract=answer)


@pytest.mark.parametrize("estimator", [["discrete", "discrete"], [Returns(Estimate(1.0)), Returns(Estimate(2.0))]])
def test_two_estimators_of_one_name_are_an_error_because_one_score_would_replace_the_other(estimator):
    with pytest.raises(InputError, match="two estimators are named '(discrete|returns)'"):
        estimate(["a", "b"], equivalence="exact", estimator=estimator)


def test_a_name_registered_anew_is_loaded_anew():
    for same in (True, False):
        register("equivalence", "changing", lambda same=same: Judge(same))
        assert (estimate(["a", "b"], equivalence="changing").labels == (0, 0)) is same


def test_a_judge_that_loads_for_long_does_not_block_the_others():
    started, go = threading.Event(), threading.Event()

    def slow():
        started.set()
        assert go.wait(60)
        return Judge()

    register("equivalence", "loads-for-long", slow)
    waiting = threading.Thread(target=estimate, args=(["a", "b"],), kwargs={"equivalence": "loads-for-long"})
    waiting.start()
    assert started.wait(60)
    assert estimate(["a", "a"], equivalence="cascade").labels == (0, 0)  # loaded by name, for the first time
    assert waiting.is_alive()
    go.set()
    waiting.join(timeout=60)
    assert not waiting.is_alive()


def test_two_classes_with_equal_settings_do_not_share_verdicts():
    def judge(same):
        class Soundex(Judge):
            settings = ("v1",)

        return Soundex(same)

    assert estimate(["a", "b"], equivalence=judge(True)).labels == (0, 0)
    assert estimate(["a", "b"], equivalence=judge(False)).labels == (0, 1)


def test_a_changed_copy_of_a_judge_does_not_get_the_verdicts_of_the_original():
    original = Judge(True)
    assert estimate(["a", "b"], equivalence=original).labels == (0, 0)
    changed = copy.copy(original)
    changed.same = False
    assert estimate(["a", "b"], equivalence=changed).labels == (0, 1)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"estimator": 7}, "estimator=7 is not usable"),
        ({"convention": None}, "convention=None is unknown"),
        ({"extract": 7}, "extract=7 is not usable"),
        ({"clusterer": None, "invalid": None}, "invalid=None is unknown"),
    ],
)
def test_arguments_of_the_wrong_type_are_errors_that_show_them(arguments, says):
    with pytest.raises(InputError, match=says):
        estimate(["a"], **arguments)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("ngram", {"n": "two"}),
        ("regex", {"pattern": 5}),
        ("math", {"timeout": "x"}),
        ("math", {"timeout": float("nan")}),
        ("math", {"timeout": float("inf")}),
        ("math", {"memory_mb": 1.5}),
        ("math", {"workers": True}),
    ],
)
def test_options_of_the_wrong_type_are_errors_that_name_the_component(name, options):
    with pytest.raises(OptionError, match=name):
        load_equivalence(name, **options)
    with pytest.raises(InputError, match="7 is not a name"):
        load_equivalence(7)


@pytest.mark.parametrize(
    ("responses", "options", "judge", "labels"),
    [
        (["<think>hmm</think>1/2", "<think>..</think>0.5"], {}, "math", (0, 0)),
        ([r"<think>\boxed{3}?</think>Paris it is", r"<think>\boxed{4}</think>Paris"], {}, "text", (0, 0)),
        (["We add\n1/2", "The sum is\n0.5"], {"extract": "last-line"}, "math", (0, 0)),
        (["1914-1918", "1915-1919", "1939\u20131943"], {}, "text", (0, 1, 2)),
        (["3-2", "2-1", "1-0"], {}, "text", (0, 1, 2)),
        (["2020-01-05", "2020-02-04"], {}, "text", (0, 1)),
        (["555-1234", "556-1235"], {}, "text", (0, 1)),
    ],
)
def test_auto_looks_at_the_answers_and_knows_a_range_from_a_difference(responses, options, judge, labels):
    result = estimate(responses, **options)
    assert (result.provenance.equivalence, result.labels) == (judge, labels)


def test_closing_while_others_wait_for_a_worker_leaves_nobody_waiting():
    judge = load_equivalence("math", workers=1)
    with Scorer(judge) as scorer:
        groups = [[rf"\boxed{{x+{i}}}", rf"\boxed{{{i}+x}}"] for i in range(20)]
        threads = [threading.Thread(target=scorer.estimate, args=(group,)) for group in groups]
        for thread in threads:
            thread.start()
        judge.close()
        for thread in threads:
            thread.join(timeout=120)
        assert not any(thread.is_alive() for thread in threads)
    judge.close()


class Raises(EntropyEstimator):
    name = "raises"

    def __init__(self, error):
        self.error = error

    def estimate(self, evidence):
        raise self.error


@pytest.mark.parametrize("error", [ValueError("boom"), SystemExit("boom")])
def test_an_estimator_that_raises_is_named(error):
    with pytest.raises(PluginError, match=f"estimator 'raises' raised {type(error).__name__}: boom"):
        estimate(["a", "b"], estimator=Raises(error), equivalence="exact")


def test_an_estimate_that_is_a_number_is_an_error_that_says_what_to_return():
    with pytest.raises(PluginError, match="estimator 'returns' returned 0.5 for 2 clusters; return Estimate"):
        estimate(["a", "b"], estimator=Returns(0.5), equivalence="exact")


class EndsEarly(Dice):
    """Draws the responses to two questions, and ends its stream, in each process."""

    cache_identity = "tests:EndsEarly"

    def stream(self, requests):
        yield from super().stream(islice(requests, 2))


def test_in_a_file_the_rows_that_a_sampler_left_out_are_bad_rows_that_the_next_run_retries(tmp_path):
    register("sampler", "ends-early", EndsEarly)
    rows, output = tmp_path / "rows.jsonl", tmp_path / "out.jsonl"
    rows.write_text("".join(f'{{"id": {i}, "question": "question {i}"}}\n' for i in range(8)))
    command = ["estimate", str(rows), "-o", str(output), "--sampler", "ends-early", "-n", "3"]
    for measured in (2, 4, 6, 8):
        run = CliRunner().invoke(main, command)
        assert len(output.read_text().splitlines()) == measured
        assert (run.exit_code != 0) == ("ended its stream" in run.output) == (measured < 8), run.output
    assert sorted(json.loads(line)["id"] for line in output.read_text().splitlines()) == list(range(8))


class WantsNothing(Clusterer):
    name = "wants-nothing"

    def flow(self, size):
        yield None
        return [0] * size


def test_an_index_of_a_stream_that_is_no_whole_number_is_an_error():
    class Floats(Judge):
        def stream(self, pairs):
            yield from ((float(index), Verdict(True)) for index in range(len(pairs)))

    with pytest.raises(EquivalenceError, match="stream.. with the index of each"):
        estimate(["a", "b"], equivalence=Floats())


@pytest.mark.parametrize(
    ("part", "says"),
    [
        ({"logprobs": "12"}, "logprobs '12'; they are a tuple of floats"),
        ({"logprobs": (10**400,)}, "logprobs .1000.*; they are a tuple of floats"),
        ({"usage": Usage("x", 0, 0)}, "usage Usage.requests='x'.*its numbers are finite, not negative"),
        ({"usage": Usage(1, -5, 0)}, "input_tokens=-5"),
        ({"usage": Usage(1, 5, 2**70)}, "output_tokens=11805"),
        ({"usage": Usage(1, 5, 5, math.nan)}, "cost=nan"),
    ],
)
def test_a_sample_with_wrong_numbers_is_an_error_that_shows_them(part, says):
    class Wrong(Dice):
        def stream(self, requests):
            yield from ((request, Sample("a", **part)) for request in requests for _ in range(request.n))

    with pytest.raises(SamplingError, match=says):
        Scorer(sampler=Wrong(), n=2).estimate(question=["q"])


def test_a_clusterer_may_yield_none_for_no_pairs():
    assert estimate(["a", "b"], clusterer=WantsNothing(), equivalence="exact").labels == (0, 0)
