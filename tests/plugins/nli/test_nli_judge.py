"""The NLI judge on tiny models: compared with one pair at a time, and with the facts that one model has learned."""

from __future__ import annotations

import functools
import itertools
import json
import random
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
import transformers

from semantic_entropy import EquivalenceError, Scorer, estimate, load_equivalence
from semantic_entropy.errors import OptionError
from semantic_entropy.plugin import Pair
from semantic_entropy.testing import check_equivalence
from semantic_entropy_plugins.nli.entailment_rules import RULES
from semantic_entropy_plugins.nli.nli_judge import NLI
from tests.plugins.tiny_models import ANSWERS, NLI_KINDS, QUESTION, tiny_nli

PAIRS = [Pair(QUESTION, left, right) for left, right in itertools.combinations(ANSWERS, 2)]
SWAPPED = [Pair(question, right, left) for question, left, right in PAIRS]


SEEDS = {"bert": 2, "roberta": 5, "deberta": 2, "deberta-v2": 2, "modernbert": 5}
"""Seeds of random weights with which the verdicts vary under each rule."""


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A tiny model of each architecture, with random weights."""
    root = tmp_path_factory.mktemp("nli")
    return {kind: str(tiny_nli(root / kind, kind, seed=SEEDS[kind])) for kind in NLI_KINDS}


@pytest.fixture(scope="module")
def taught(tmp_path_factory):
    """A tiny model that has learned the facts of `tiny_models`."""
    return str(tiny_nli(tmp_path_factory.mktemp("taught") / "roberta", "roberta", taught=True))


def hard_pairs() -> list[Pair]:
    """Pairs of texts of many lengths, some hostile."""
    draw = random.Random(0)
    words = "Paris Rome Oslo is it in the not 42 é 東京 </s> [SEP] {answer} \x00 \ud800".split(" ")
    texts = [" ".join(draw.choices(words, k=draw.choice((1, 2, 5, 12)))) for _ in range(24)]
    pairs = [Pair(draw.choice((None, QUESTION, "Why?")), *draw.sample(texts, 2)) for _ in range(60)]
    return [*pairs, *PAIRS]


def one_at_a_time(folder: str, rule: str, pair: Pair) -> tuple[bool, float]:
    """As in the published codes: one pair per forward pass, argmax, always both directions."""
    model = _reference(folder)
    left, right = (
        (text if pair.question is None else f"{pair.question} {text}").replace("\ud800", "\ufffd")
        for text in (pair.left, pair.right)
    )
    shorter, longer = sorted((left, right), key=lambda text: (len(text), text))
    there, back = model(shorter, longer), model(longer, shorter)
    relations = [probabilities.argmax().item() for probabilities in (there, back)]
    contradiction, neutral, entailment = zip(there.tolist(), back.tolist(), strict=True)
    if rule == "strict":
        return relations == [2, 2], min(entailment) if relations[0] == 2 else entailment[0]
    if rule == "either":
        return 2 in relations, entailment[1] if relations[1] == 2 else max(entailment)
    score = 1 - contradiction[0] if relations[0] == 0 else 1 - max(*contradiction, min(neutral))
    return 0 not in relations and relations != [1, 1], score


@functools.cache
def _reference(folder: str):
    model = transformers.AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)

    @functools.cache
    def run(premise: str, hypothesis: str) -> torch.Tensor:
        encoded = tokenizer([premise], [hypothesis], return_tensors="pt", split_special_tokens=True)
        with torch.no_grad():
            return model(**encoded).logits[0].softmax(-1)

    return run


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("kind", NLI_KINDS)
def test_verdicts_and_scores_equal_those_of_one_pair_at_a_time(folders, kind, rule):
    pairs = hard_pairs()
    verdicts = NLI(folders[kind], rule=rule, batch_tokens=256).judge(pairs)
    expected = [one_at_a_time(folders[kind], rule, pair) for pair in pairs]
    assert [verdict.same for verdict in verdicts] == [same for same, _ in expected]
    assert [verdict.score for verdict in verdicts] == pytest.approx([score for _, score in expected], abs=1e-5)
    assert len({same for same, _ in expected}) == 2, "all verdicts are the same, so these pairs test nothing"


@pytest.mark.parametrize(
    ("left", "right", "strict", "nonstrict", "either"),
    [
        ("Paris", "it is Paris", True, True, True),
        ("Paris", "Paris in France", False, True, True),  # the longer answer entails the shorter one, not the reverse
        ("Paris", "Rome", False, False, False),
        ("Rome in Italy", "it is Oslo", False, False, False),
    ],
)
def test_a_trained_model_judges_by_the_facts_it_has_learned(taught, left, right, strict, nonstrict, either):
    for rule, expected in (("strict", strict), ("nonstrict", nonstrict), ("either", either)):
        judge = _judge(taught, rule)
        for pair in (Pair(QUESTION, left, right), Pair(QUESTION, right, left), Pair(None, left, right)):
            (verdict,) = judge.judge([pair])
            assert verdict.same is expected
            assert (verdict.score > 0.5) is expected


@functools.cache
def _judge(folder: str, rule: str = "strict") -> NLI:
    return NLI(folder, rule=rule)


@pytest.mark.parametrize("rule", RULES)
def test_verdict_and_score_do_not_depend_on_which_answer_is_left(taught, rule):
    assert _judge(taught, rule).judge(PAIRS) == _judge(taught, rule).judge(SWAPPED)


@pytest.mark.parametrize("kind", NLI_KINDS)
def test_it_passes_the_conformance_checks(folders, kind):
    check_equivalence(load_equivalence("nli", model=folders[kind]))


@pytest.mark.parametrize(("rule", "direction"), [("strict", 0), ("either", 1)])
def test_the_second_direction_is_judged_only_where_the_first_does_not_decide(taught, rule, direction):
    judge, run = NLI(taught, rule=rule), _reference(taught)
    judge.judge(PAIRS)
    texts = [sorted((f"{QUESTION} {p.left}", f"{QUESTION} {p.right}"), key=lambda t: (len(t), t)) for p in PAIRS]
    first = [run(*(pair if direction == 0 else pair[::-1])).argmax().item() == 2 for pair in texts]
    open_after_first = sum(first) if rule == "strict" else len(PAIRS) - sum(first)
    assert judge.forward_rows == len(PAIRS) + open_after_first
    assert 0 < open_after_first < len(PAIRS)


def test_each_distinct_direction_runs_once_in_a_call(taught):
    once, often = NLI(taught), NLI(taught)
    expected = once.judge(PAIRS)
    assert often.judge([*PAIRS, *SWAPPED, *PAIRS]) == expected * 3
    assert often.forward_rows == once.forward_rows


def test_a_pair_longer_than_the_window_is_undecided_and_does_not_affect_the_others(taught):
    judge = _judge(taught)
    long = Pair(None, "Paris " * 300, "Rome")
    alone, *others = judge.judge([long, *PAIRS])
    assert alone.same is None
    assert alone.reason.startswith("too long: ")
    assert alone.reason.endswith("the model's window is 128")
    assert others == judge.judge(PAIRS)


def test_a_pair_that_exactly_fills_the_window_is_judged(folders):
    judge = NLI(folders["bert"], rule="either")
    fits, longer = judge.judge([Pair(None, "42 " * 124, "4"), Pair(None, "42 " * 125, "4")])
    assert fits.same is not None  # 124 + 1 tokens, and three special tokens
    assert longer.reason == "too long: 129 tokens, and the model's window is 128"


@pytest.mark.parametrize("batch_tokens", [1, 40, 10_000])
def test_verdicts_do_not_depend_on_the_batch_size(taught, batch_tokens):
    judge = NLI(taught, batch_tokens=batch_tokens)
    assert [v.same for v in judge.judge(PAIRS)] == [v.same for v in _judge(taught).judge(PAIRS)]


def test_verdicts_are_yielded_before_all_pairs_are_judged(taught):
    judge = NLI(taught, batch_tokens=40)
    verdicts = judge.stream(PAIRS)
    next(verdicts)
    assert judge.forward_calls == 1
    assert len(list(verdicts)) == len(PAIRS) - 1
    assert judge.forward_calls > 10


class Crowded:
    """A model on a device with memory for this many tokens."""

    def __init__(self, model: object, tokens: int) -> None:
        self.model, self.tokens = model, tokens

    def __call__(self, **inputs: torch.Tensor) -> object:
        if inputs["input_ids"].numel() > self.tokens:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return self.model(**inputs)


def crowded(judge: NLI, tokens: int) -> NLI:
    loaded = judge._classifier._loaded
    object.__setattr__(loaded, "model", Crowded(loaded.model, tokens))
    return judge


def test_out_of_memory_makes_batches_smaller_and_changes_no_verdict(taught):
    judge = crowded(NLI(taught), 60)
    assert [v.same for v in judge.judge(PAIRS)] == [v.same for v in _judge(taught).judge(PAIRS)]


def test_a_pair_that_does_not_fit_into_memory_is_undecided_with_the_reason(taught):
    verdicts = crowded(NLI(taught), 12).judge([Pair(None, "Paris " * 20, "Rome"), Pair(None, "Paris", "Rome")])
    assert verdicts[0].same is None
    assert verdicts[0].reason.startswith("out of memory at ")
    assert verdicts[1].same is False


def test_an_output_that_is_not_a_number_is_undecided_with_the_reason(taught):
    judge = NLI(taught)
    with torch.no_grad():
        judge._classifier._loaded.model.classifier.out_proj.bias[1] = float("nan")
    (verdict,) = judge.judge(PAIRS[:1])
    assert verdict.same is None
    assert "not a number" in verdict.reason


def test_without_the_question_verdicts_are_shared_between_questions(taught):
    questions, groups = ["Where?", "When?"], [["Paris", "Rome"], ["Paris", "Rome"]]
    for question, asked in ((True, 2), (False, 1)):
        judge = NLI(taught, question=question)
        with Scorer(judge) as scorer:
            results = scorer.estimate(groups, question=questions)
        assert sum(result.provenance.asked for result in results) == asked
    assert judge.judge([Pair("Where?", "Paris", "Rome")]) == judge.judge([Pair(None, "Paris", "Rome")])


def test_the_template_is_filled_and_nothing_in_it_is_evaluated(taught):
    judge = NLI(taught, template="{answer} <- {question} {answer.__class__} {0}")
    assert judge._text("Q {answer}", "A {question}") == "A {question} <- Q {answer} {answer.__class__} {0}"
    assert judge._text(None, "A") == "A"
    assert not NLI(taught, template="{answer}!").uses_question


@pytest.mark.parametrize(
    ("options", "part"),
    [
        (
            {"rule": "strickt"},
            "rule='strickt' is unknown. Did you mean 'strict'? Use one of: strict, nonstrict, either",
        ),
        ({"template": "{question}"}, "template='{question}' has no {answer}: the default is '{question} {answer}'"),
        ({"batch_tokens": 0}, "batch_tokens=0 must be a whole number of at least 1 or None"),
    ],
)
def test_an_invalid_option_is_an_error_before_a_model_is_loaded(options, part):
    with pytest.raises(OptionError) as caught:
        NLI("no/such-model", **options)
    assert part in str(caught.value)


@pytest.mark.parametrize("labels", [("NEGATIVE", "NEUTRAL", "POSITIVE"), ("LABEL_0", "LABEL_1", "LABEL_2")])
def test_a_model_without_nli_labels_is_an_error_that_shows_its_labels(tmp_path, labels):
    folder = tiny_nli(tmp_path / "model", labels=labels)
    with pytest.raises(OptionError) as caught:
        NLI(str(folder))
    assert f"its labels are {', '.join(labels)}" in str(caught.value)
    assert "entailment, neutral and contradiction" in str(caught.value)


@pytest.mark.parametrize("numbers", [("1", "2", "3"), ("0", "1", "3")])
def test_labels_that_do_not_number_the_outputs_are_an_error(tmp_path, numbers):
    folder = tiny_nli(tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    config["id2label"] = dict(zip(numbers, config["id2label"].values(), strict=True))
    config["label2id"] = {label: int(number) for number, label in config["id2label"].items()}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(OptionError, match=f"numbers its labels {', '.join(numbers)}.*count from 0"):
        NLI(str(folder))


def test_labels_in_another_order_are_read_from_the_model(tmp_path, folders):
    """The same weights, with the rows of the last layer and the labels in reverse order."""
    loaded = transformers.AutoModelForSequenceClassification.from_pretrained(folders["bert"])
    with torch.no_grad():
        loaded.classifier.weight.copy_(loaded.classifier.weight.flip(0))
        loaded.classifier.bias.copy_(loaded.classifier.bias.flip(0))
    loaded.config.id2label = {0: "entailment", 1: "neutral", 2: "contradiction"}
    loaded.save_pretrained(tmp_path)
    transformers.AutoTokenizer.from_pretrained(folders["bert"]).save_pretrained(tmp_path)
    for rule in RULES:
        expected = NLI(folders["bert"], rule=rule).judge(PAIRS)
        assert [v.same for v in NLI(str(tmp_path), rule=rule).judge(PAIRS)] == [v.same for v in expected]


def test_a_model_with_two_labels_works_with_strict_and_either(tmp_path):
    folder = str(tiny_nli(tmp_path / "model", labels=("entailment", "not_entailment"), num_labels=2, seed=2))
    assert {verdict.same for verdict in NLI(folder, rule="either").judge(PAIRS)} == {True, False}
    assert len(NLI(folder).judge(PAIRS)) == len(PAIRS)
    with pytest.raises(OptionError, match="rule='nonstrict' distinguishes neutral from contradiction.*rule='strict'"):
        NLI(folder, rule="nonstrict")


def test_a_model_that_does_not_run_here_is_an_error_at_construction(tmp_path):
    folder = tiny_nli(tmp_path / "model", type_vocab_size=1)  # its tokenizer has two kinds of segment
    with pytest.raises(EquivalenceError, match="loads, but does not run on cpu in torch.float32"):
        NLI(str(folder))


def test_settings_contain_exactly_what_a_verdict_depends_on(taught, folders):
    base = NLI(taught)
    assert NLI(taught, batch_tokens=7).settings == base.settings
    others = [
        NLI(folders["roberta"]),
        NLI(taught, rule="either"),
        NLI(taught, question=False),
        NLI(taught, template="{answer}"),
        NLI(taught, dtype="bfloat16"),
    ]
    assert len({base.settings, *(other.settings for other in others)}) == 6
    assert base.versions.keys() == {"torch", "transformers", Path(taught).name}
    assert base.versions[Path(taught).name] != others[0].versions[Path(folders["roberta"]).name]


def test_describe_shows_the_options_that_are_not_defaults(taught):
    assert NLI(taught).describe() == f"nli(model={taught!r})"
    assert NLI(taught, rule="either", question=False).describe() == (
        f"nli(model={taught!r}, rule='either', question=False)"
    )


@pytest.mark.parametrize("kind", NLI_KINDS)
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_gives_similar_scores(kind, dtype, tmp_path):
    folder = str(tiny_nli(tmp_path / kind, kind, initializer_range=0.1))
    exact, half = NLI(folder, rule="nonstrict").judge(PAIRS), NLI(folder, rule="nonstrict", dtype=dtype).judge(PAIRS)
    both = [pair for pair in zip(exact, half, strict=True) if pair[0].same == pair[1].same]
    assert len(both) >= len(PAIRS) - 4  # random weights: some decisions are close
    assert [v.score for _, v in both] == pytest.approx([v.score for v, _ in both], abs=0.02)


def test_a_compiled_model_gives_the_same_verdicts(taught, monkeypatch):
    graphs = []

    def eager(graph, _):  # no C++ compiler needed
        graphs.append(graph)
        return graph.forward

    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend=eager))
    assert [v.same for v in NLI(taught, compile=True).judge(PAIRS)] == [v.same for v in _judge(taught).judge(PAIRS)]
    assert graphs


def test_a_closed_judge_raises_an_error_and_can_be_closed_twice(taught):
    judge = NLI(taught)
    judge.close()
    judge.close()
    with pytest.raises(EquivalenceError, match="is closed: make a new one"):
        judge.judge(PAIRS)


def test_threads_may_share_a_judge(taught):
    judge = _judge(taught)
    expected = judge.judge(PAIRS)
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(judge.judge, [PAIRS] * 32)) == [expected] * 32


FORK = """
import os, sys, torch
from semantic_entropy.plugin import Pair
from semantic_entropy_plugins.nli.nli_judge import NLI
torch.set_num_threads(2)
judge = NLI(sys.argv[1])
pairs = [Pair(None, f"Paris {i} " * 10, f"Rome {i} " * 9) for i in range(40)]
expected = [verdict.same for verdict in judge.judge(pairs)]
child = os.fork()
if child == 0:
    os._exit(0 if [verdict.same for verdict in judge.judge(pairs)] == expected else 1)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no fork there")
def test_a_forked_process_can_use_the_judge(taught):
    """With two threads, because a fork does not copy OpenMP's threads, and torch would wait for them forever."""
    done = subprocess.run(
        [sys.executable, "-c", FORK, taught], timeout=120, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_no_pairs_need_no_forward_pass(taught):
    judge = NLI(taught)
    assert judge.judge([]) == []
    assert judge.forward_calls == 0


SENTENCES = ["It is Paris.", "The quick brown fox jumps over the lazy dog.", "Rome in Italy 42!"]
PASSAGES = ["It is Rome. Paris in France.", "The lazy dog is in Oslo. It is Paris.", "yes no"]


@pytest.mark.parametrize("kind", NLI_KINDS)
def test_the_uncertainty_of_a_sentence_is_selfcheck_nli_by_transformers_alone(folders, kind):
    result = estimate(
        [" ".join(SENTENCES), *PASSAGES],
        question=QUESTION,
        equivalence="exact",
        long=True,
        support="nli",
        support_options={"model": folders[kind], "device": "cpu"},
    )
    tokenizer = transformers.AutoTokenizer.from_pretrained(folders[kind])
    model = transformers.AutoModelForSequenceClassification.from_pretrained(folders[kind]).eval()
    assert [each.text for each in result.long_answer.sentences] == SENTENCES
    for found in result.long_answer.sentences:
        contradicted = []
        for passage in PASSAGES:
            with torch.inference_mode():
                logits = model(**tokenizer(passage, found.text, return_tensors="pt")).logits[0].double()
            two = torch.stack([logits[2], logits[0]]).softmax(-1)  # entailment, contradiction
            contradicted.append(two[1].item())
        assert found.uncertainty == pytest.approx(sum(contradicted) / len(contradicted), abs=1e-5)
        assert found.supported_by == sum(value <= 0.5 for value in contradicted)
    luq = 1 - sum(1 - each.uncertainty for each in result.long_answer.sentences) / len(SENTENCES)
    assert result.scores["unsupported"] == pytest.approx(luq)


def test_the_support_of_a_model_with_two_labels_is_the_probability_of_entailment(tmp_path):
    judge = NLI(
        str(tiny_nli(tmp_path, labels=("entailment", "not_entailment"), num_labels=2)), device="cpu", question=False
    )
    pairs = [Pair(None, passage, sentence) for passage in PASSAGES for sentence in SENTENCES]
    scores = [verdict.score for _, verdict in sorted(judge.support(pairs), key=lambda found: found[0])]
    assert scores == pytest.approx(list(judge.similarities(pairs)))


def test_a_sample_that_is_longer_than_the_window_is_undecided(folders):
    ((_, verdict),) = NLI(folders["bert"], device="cpu").support([Pair(None, "it is Paris " * 100, "it is Rome")])
    assert verdict.same is None
    assert "too long" in verdict.reason
