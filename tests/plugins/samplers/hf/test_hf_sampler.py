"""The sampler `hf` on architectures of transformers: samples agree with the model on one text at a time."""

from __future__ import annotations

import contextlib
import itertools
import json
import math
import signal
import subprocess
import sys
import threading
import time

import pytest
import torch
import transformers

from semantic_entropy import estimate, load_sampler
from semantic_entropy.plugin import Request, Sample, SampleFailure, Usage, errors
from semantic_entropy.sampling.store import SampleStore
from semantic_entropy.testing import check_sampler
from semantic_entropy_plugins.samplers.hf.hf_sampler import HFSampler
from tests.plugins.tiny_models import CHAT
from tests.plugins.tiny_samplers import CERTAIN, MODES, OPEN, WINDOW, checkpoint, trained

QUESTIONS = ("What is the capital?", "The quick brown fox jumps over the lazy dog. 0 1 2 3 4", "Yes", "is it Rome?")
END_IDS = list(range(2, 60))  # so many end tokens that random weights end at every length


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return checkpoint(tmp_path_factory.mktemp("model"), ends=END_IDS)


@pytest.fixture(scope="module")
def learned(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("taught"))


def make_sampler(folder, **options):
    return HFSampler(str(folder), **{"max_tokens": 12, "seed": 0, "chat": False, **options})


def draw(sampler, *questions, n=3, first=0):
    """The outcomes of each question."""
    outcomes = {question: [] for question in questions}
    for request, outcome in sampler.stream(Request(i, question, n, first) for i, question in enumerate(questions)):
        outcomes[request.question].append(outcome)
    return list(outcomes.values())


def texts(drawn):
    return [[sample.text for sample in samples] for samples in drawn]


class SingleTexts:
    """The model on one text at a time, without padding or cache."""

    def __init__(self, folder, dtype=torch.float32):
        self.tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        self.model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=dtype).eval()

    @torch.inference_mode()
    def logits(self, prompt, ids):
        """(T, vocabulary) before each of the ids."""
        return self.model(input_ids=torch.tensor([prompt + ids])).logits[0, len(prompt) - 1 : -1].float()


# Agreement with the model.


def spy(sampler, monkeypatch):
    """Record the rows and the tokens that the engine draws."""
    generation, seen = sampler._open_engine.generation, []
    original = generation.draw

    def draw(rows, cancelled):
        tokens = original(rows, cancelled)
        seen.extend(zip(rows, tokens, strict=True))
        return tokens

    monkeypatch.setattr(generation, "draw", draw)
    return seen


@pytest.mark.filterwarnings("ignore:hf. model=:RuntimeWarning")
@pytest.mark.parametrize("kind", MODES)
def test_log_probabilities_entropies_and_states_agree_with_the_model_on_single_texts(tmp_path, kind, monkeypatch):
    checkpoint(tmp_path, kind, ends=END_IDS)
    kept = {"token_entropies": True, "hidden_states": True, "tokens": True, "top_logprobs": 50}
    options = {"temperature": 0.7, "top_k": 40, "top_p": 0.95, **kept}
    sampler, alone = make_sampler(tmp_path, end_token=True, **options), SingleTexts(tmp_path)
    assert sampler._open_engine.generation.mode.name == MODES[kind]
    seen = spy(sampler, monkeypatch)
    drawn = draw(sampler, *QUESTIONS, n=4)
    assert len(seen) == 16
    lengths = set()
    samples = {(row.question, row.number): one for row, one in seen}
    for question, of_question in zip(QUESTIONS, drawn, strict=True):
        prompt = alone.tokenizer(question)["input_ids"]
        for number, sample in enumerate(of_question):
            ids = samples[question, number].ids
            ended = ids[-1] in END_IDS
            lengths.add(len(ids))
            scores = alone.logits(prompt, ids)
            for one in (
                transformers.TemperatureLogitsWarper(0.7),
                transformers.TopKLogitsWarper(40),
                transformers.TopPLogitsWarper(0.95),
            ):
                scores = one(None, scores)
            expected = scores.log_softmax(-1)
            assert sample.logprobs == pytest.approx(expected[range(len(ids)), ids].tolist(), abs=1e-4)
            entropy = torch.special.entr(expected.exp()).sum(-1)
            assert sample.token_entropies == pytest.approx(entropy.tolist(), abs=1e-4)
            for top, step in zip(sample.top_logprobs, expected, strict=True):
                possible = step[step.isfinite()].sort(descending=True).values[:50]  # top_k leaves 40 at most
                assert top == pytest.approx(possible.tolist(), abs=1e-4)
            text_ids = ids[:-1] if ended else ids
            assert sample.text == alone.tokenizer.decode(text_ids, skip_special_tokens=True)
            assert "".join(sample.tokens) == sample.text
            assert len(sample.tokens) == len(ids)
            assert sample.finish_reason == ("stop" if ended else "length")
            with torch.inference_mode():
                states = alone.model(
                    input_ids=torch.tensor([prompt + text_ids]), output_hidden_states=True
                ).hidden_states
            assert sample.hidden_state == pytest.approx(states[-1][0, -1].tolist(), abs=1e-4)
    assert len(lengths) > 3  # so rows that end early are covered


@pytest.mark.parametrize("own", [{"top_k": 2}, {"repetition_penalty": 9.0}, {"temperature": 9.0}, {"min_p": 0.5}])
def test_the_models_own_generation_settings_are_not_used(folder, tmp_path, own):
    for name in folder.iterdir():
        (tmp_path / name.name).write_bytes(name.read_bytes())
    path = tmp_path / "generation_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "do_sample": True, **own}))
    assert texts(draw(make_sampler(tmp_path), *QUESTIONS)) == texts(draw(make_sampler(folder), *QUESTIONS))


def test_log_probabilities_of_the_model_or_none(folder):
    hot = {"temperature": 2.0, "top_k": 30}
    (of_drawn,), (own,), (none,) = (
        draw(make_sampler(folder, **hot, logprobs=logprobs), CERTAIN) for logprobs in ("drawn", "model", False)
    )
    alone = SingleTexts(folder)
    for a, b, c in zip(of_drawn, own, none, strict=True):
        assert a.text == b.text == c.text
        assert c.logprobs is None
        assert a.logprobs != b.logprobs
    (cold,) = draw(make_sampler(folder, logprobs="model"), CERTAIN)
    (same,) = draw(make_sampler(folder, logprobs="drawn"), CERTAIN)
    assert [sample.logprobs for sample in cold] == [sample.logprobs for sample in same]  # at temperature 1
    assert alone.model.config.vocab_size > 30


def test_the_end_token_has_a_log_probability_only_if_requested_or_if_it_is_the_only_token(folder):
    (plain,), (whole,) = (draw(make_sampler(folder, end_token=end), CERTAIN, n=40) for end in (False, True))
    empty = 0
    for a, b in zip(plain, whole, strict=True):
        assert a.text == b.text
        assert len(b.logprobs) == b.usage.output_tokens
        if a.usage.output_tokens == 1 and a.finish_reason == "stop":
            empty += 1
            assert a.text == ""
            assert a.logprobs == b.logprobs
        else:
            assert a.logprobs == (b.logprobs[:-1] if a.finish_reason == "stop" else b.logprobs)
    assert empty


@pytest.mark.parametrize("pad", ["<|pad|>", "<|im_end|>", None])
def test_the_padding_token_makes_no_difference(tmp_path, pad):
    usual = draw(make_sampler(checkpoint(tmp_path / "usual", "gpt2, learned positions", ends=END_IDS)), *QUESTIONS)
    assert (
        draw(make_sampler(checkpoint(tmp_path / "m", "gpt2, learned positions", ends=END_IDS, pad=pad)), *QUESTIONS)
        == usual
    )


def test_the_end_tokens_of_the_model_and_of_the_tokenizer_end_a_response(tmp_path):
    sampler = make_sampler(checkpoint(tmp_path, ends=[3, 5]))
    assert sampler._open_engine.generation.end_ids == [2, 3, 5]


def test_half_precision_gives_log_probabilities_of_the_drawn_distribution(folder):
    sampler = make_sampler(folder, dtype="bfloat16", top_k=1)
    for sample in itertools.chain(*draw(sampler, *QUESTIONS)):
        assert sample.logprobs == pytest.approx([0.0] * len(sample.logprobs), abs=1e-6)
    assert "bfloat16" in sampler.settings


# Seeds.


def test_with_a_seed_a_response_depends_only_on_its_question_and_number(folder):
    sampler = make_sampler(folder)
    together = texts(draw(sampler, *QUESTIONS, n=6))
    assert texts(draw(sampler, *QUESTIONS, n=6)) == together
    assert [texts(draw(sampler, question, n=6))[0] for question in QUESTIONS] == together
    assert [
        a + b
        for a, b in zip(
            texts(draw(sampler, *QUESTIONS, n=2)), texts(draw(sampler, *QUESTIONS, n=4, first=2)), strict=True
        )
    ] == together
    assert texts(draw(make_sampler(folder, batch_tokens=1), *QUESTIONS, n=6)) == together
    assert texts(draw(make_sampler(folder, seed=1), *QUESTIONS, n=6)) != together


def test_without_a_seed_responses_differ_each_time_and_torch_s_generator_is_not_used(folder):
    sampler = make_sampler(folder, seed=None)
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first = draw(sampler, *QUESTIONS)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(5)
    assert texts(draw(sampler, *QUESTIONS)) != texts(first)


def test_at_temperature_zero_one_greedy_response_is_yielded_n_times(folder):
    sampler, alone = make_sampler(folder, temperature=0), SingleTexts(folder)
    (samples,) = draw(sampler, OPEN, n=4)
    ids = alone.tokenizer(OPEN, return_tensors="pt")["input_ids"]
    expected = alone.model.generate(ids, do_sample=False, max_new_tokens=12, pad_token_id=0)[0, ids.shape[1] :].tolist()
    text_ids = [token for token in expected if token not in END_IDS]
    assert len(text_ids) > 2
    assert {sample.text for sample in samples} == {alone.tokenizer.decode(text_ids, skip_special_tokens=True)}
    known = alone.logits(ids[0].tolist(), text_ids).log_softmax(-1)[range(len(text_ids)), text_ids].tolist()
    assert samples[0].logprobs == pytest.approx(known, abs=1e-4)
    assert [sample.usage for sample in samples] == [Usage(1, ids.shape[1], len(expected)), *[Usage()] * 3]


def test_the_greedy_answer_is_that_of_generate_and_is_drawn_once(folder):
    sampler, alone = make_sampler(folder, temperature=0.7, top_k=5), SingleTexts(folder)
    results = estimate(question=list(QUESTIONS), sampler=sampler, n=2, greedy=True, estimator=["perplexity"])
    for question, result in zip(QUESTIONS, results, strict=True):
        ids = alone.tokenizer(question, return_tensors="pt")["input_ids"]
        out = alone.model.generate(ids, do_sample=False, max_new_tokens=12, pad_token_id=0)[0, ids.shape[1] :].tolist()
        text_ids = out[:-1] if out[-1] in END_IDS else out
        own = text_ids or out  # the end token, if it is the only one
        assert result.greedy_sample.text == alone.tokenizer.decode(text_ids, skip_special_tokens=True)
        known = alone.logits(ids[0].tolist(), own).log_softmax(-1)[range(len(own)), own]
        assert result.scores["perplexity"] == pytest.approx(math.exp(-known.mean().item()), rel=1e-4)
        assert result.greedy_sample.usage == Usage(1, ids.shape[1], len(out))


# Requests, batches, usage.


def test_usage_counts_the_prompt_once_per_question_and_each_response_by_its_tokens(folder):
    sampler = make_sampler(folder, end_token=True)
    for question, samples in zip(QUESTIONS, draw(sampler, *QUESTIONS, n=4), strict=True):
        prompt = len(SingleTexts(folder).tokenizer(question)["input_ids"])
        assert sorted(sample.usage.input_tokens for sample in samples) == [0, 0, 0, prompt]
        assert sum(sample.usage.requests for sample in samples) == 1
        assert all(sample.usage.output_tokens == len(sample.logprobs) for sample in samples)


def test_a_prompt_is_processed_once_and_finished_rows_are_dropped(tmp_path):
    long, n = "0 1 2 3 4 5 6 7 8 9 " * 12, 8
    sampler = make_sampler(checkpoint(tmp_path / "a", ends=END_IDS))
    (samples,) = draw(sampler, long, n=n)
    prompt, drawn = samples[0].usage.input_tokens, [sample.usage.output_tokens for sample in samples]
    assert prompt > 100
    assert sampler.forward_tokens <= prompt + 2 * sum(drawn)  # more than half of the rows in each step are unfinished


def test_a_warning_names_the_slower_generation_mode_and_the_reason(tmp_path):
    with pytest.warns(RuntimeWarning, match="runs 'in padded batches', not 'sharing prompts' .*slower, with the same"):
        make_sampler(checkpoint(tmp_path / "a", "mamba, states"))
    with pytest.warns(
        RuntimeWarning, match="runs 'one by one', .*not 'in batches of one length' .log-probabilities differ"
    ):
        make_sampler(checkpoint(tmp_path / "b", "rwkv, states"))


def test_a_request_is_taken_when_a_batch_has_room(folder):
    taken = []

    def requests():
        for number in itertools.count():
            taken.append(number)
            yield Request(number, CERTAIN, 4)

    length = len(SingleTexts(folder).tokenizer(CERTAIN)["input_ids"]) + 12
    stream = make_sampler(folder, batch_tokens=8 * length).stream(requests())
    first = [next(stream)[0].index for _ in range(8)]
    stream.close()
    assert first == [0, 0, 0, 0, 1, 1, 1, 1]
    assert len(taken) <= 3 * 2  # of the batches that were read, that waited, and that were drawn


@pytest.mark.parametrize("batch_tokens", [1, 40, 100, 400, 10_000])
def test_batches_of_any_size_yield_all_responses(folder, batch_tokens):
    drawn = draw(make_sampler(folder, batch_tokens=batch_tokens), *QUESTIONS, n=5)
    assert [len(samples) for samples in drawn] == [5] * 4


def test_a_prompt_that_leaves_no_room_for_the_response_fails_alone(folder):
    long = "0 1 2 3 4 5 6 7 8 9 " * 60
    (a, b, c) = draw(make_sampler(folder), CERTAIN, long, OPEN)
    tokens = len(SingleTexts(folder).tokenizer(long)["input_ids"])
    assert tokens > WINDOW
    assert b == [
        SampleFailure(
            f"a prompt of {tokens} tokens and 12 new tokens (max_tokens) exceed the model's window of {WINDOW}"
        )
    ]
    assert len(a) == len(c) == 3


def test_a_response_may_end_with_the_last_token_of_the_window(tmp_path):
    sampler = make_sampler(checkpoint(tmp_path, "gpt2, learned positions"), max_tokens=WINDOW - 5)
    (samples,) = draw(sampler, CERTAIN, n=2)
    assert {sample.usage.output_tokens for sample in samples if sample.finish_reason == "length"} <= {WINDOW - 5}
    assert len(samples) == 2


def short_of_memory(sampler, monkeypatch, rows):
    """Make the model run out of memory with more rows than these; returns the sizes of the batches."""
    generation, sizes = sampler._open_engine.generation, []
    original = generation.draw

    def draw(batch, cancelled):
        sizes.append(len(batch))
        if len(batch) > rows:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return original(batch, cancelled)

    monkeypatch.setattr(generation, "draw", draw)
    return sizes


def test_when_memory_runs_out_batches_are_halved_and_stay_small(folder, monkeypatch):
    sampler, usual = make_sampler(folder), draw(make_sampler(folder), *QUESTIONS)
    sizes = short_of_memory(sampler, monkeypatch, 3)
    assert texts(draw(sampler, *QUESTIONS)) == texts(usual)
    assert sum(size > 3 for size in sizes) <= 3
    sizes.clear()
    draw(sampler, *QUESTIONS)
    assert max(sizes) <= 3


def test_a_response_that_does_not_fit_alone_is_one_failure(folder, monkeypatch):
    sampler = make_sampler(folder)
    short_of_memory(sampler, monkeypatch, 0)
    for outcomes in draw(sampler, CERTAIN, OPEN):
        (failure,) = outcomes
        assert failure.reason.startswith("out of memory at ")


def test_weights_that_are_nan_give_failures(tmp_path):
    checkpoint(tmp_path)
    model = transformers.AutoModelForCausalLM.from_pretrained(tmp_path)
    with torch.no_grad():
        model.lm_head.weight.fill_(torch.nan)
    model.save_pretrained(tmp_path)
    assert draw(make_sampler(tmp_path), CERTAIN) == [
        [SampleFailure("the model's output is not a number; dtype='float32' may help")]
    ]


# Texts.


def test_a_response_ends_before_a_stop_string(folder):
    sampler, free = make_sampler(folder, stop=["a", "e "], max_tokens=40), make_sampler(folder, max_tokens=40)
    cut = 0
    for samples, whole in zip(draw(sampler, *QUESTIONS, n=6), draw(free, *QUESTIONS, n=6), strict=True):
        for a, b in zip(samples, whole, strict=True):
            ends = [b.text.find(stop) for stop in ("a", "e ") if stop in b.text]
            assert a.text == b.text[: min(ends, default=None)]
            cut += bool(ends)
            assert a.finish_reason == ("stop" if ends else b.finish_reason)
            assert not ends or a.logprobs is None or len(a.logprobs) <= len(b.logprobs)
            assert a.usage.output_tokens <= b.usage.output_tokens
    assert cut


def test_reasoning_and_its_log_probabilities_are_removed_from_the_text(learned, tmp_path, monkeypatch):
    for name in learned.iterdir():
        (tmp_path / name.name).write_bytes(name.read_bytes())
    (tmp_path / "chat_template.jinja").write_text(CHAT.replace("assistant\n", "assistant\n<think>\n"))
    sampler = HFSampler(str(tmp_path), max_tokens=12, seed=0)
    generation = sampler._open_engine.generation
    text_ids = generation._tokenizer("yes</think>\n\nno<|im_end|>", add_special_tokens=False)["input_ids"]
    original = generation.draw

    def draw_this(rows, cancelled):
        (one, *_) = original(rows, cancelled)
        return [type(one)(text_ids, [-float(i) for i in range(len(text_ids))], [], True) for _ in rows]

    monkeypatch.setattr(generation, "draw", draw_this)
    (samples,) = draw(sampler, OPEN)
    assert {(sample.text, sample.reasoning) for sample in samples} == {("no", "yes")}
    (no,) = generation._tokenizer("no", add_special_tokens=False)["input_ids"]
    assert samples[0].logprobs == (-float(text_ids.index(no)),)
    assert samples[0].usage.output_tokens == len(text_ids)


# With the pipeline.


def test_estimate_samples_responses_to_questions(learned):
    with contextlib.closing(load_sampler("hf", model=str(learned), seed=0, max_tokens=12, temperature=0.5)) as sampler:
        certain, open_ = estimate(question=[CERTAIN, OPEN], sampler=sampler, n=12)
    assert certain.entropy == 0
    assert set(certain.answers) <= {"it is Paris", "Paris in France"}
    assert set(open_.answers) == {"yes", "no"}
    assert 0.4 < open_.entropy <= math.log(2)
    assert "likelihood" in open_.scores
    assert open_.provenance.sampling_usage.requests == 1
    assert open_.provenance.sampler == f"hf(model={str(learned)!r}, temperature=0.5, max_tokens=12, seed=0)"


def test_it_passes_the_conformance_checks(learned, folder):
    kept = {"token_entropies": True, "hidden_states": True, "top_logprobs": 3, "tokens": True}
    check_sampler(HFSampler(str(learned), max_tokens=8, **kept))
    check_sampler(HFSampler(str(folder), max_tokens=8, temperature=0, chat=False))


def test_settings_hold_exactly_what_samples_depend_on(folder, learned):
    usual = make_sampler(folder)
    assert make_sampler(folder, batch_tokens=50).settings == usual.settings
    assert make_sampler(folder, logprobs=True).settings == usual.settings
    others = [
        *({"seed": 1}, {"temperature": 0.5}, {"top_p": 0.5}, {"top_k": 5}, {"max_tokens": 9}, {"stop": "a"}),
        *({"template": "Q: {question}"}, {"chat": None}, {"logprobs": "model"}, {"end_token": True}),
        *({"token_entropies": True}, {"hidden_states": True}, {"dtype": "bfloat16"}),
        *({"top_logprobs": 2}, {"hidden_states": True, "hidden_layer": 2}),
        *({"hidden_states": True, "hidden_layer": 1}, {"hidden_states": True, "hidden_token": "prompt"}),
        {"tokens": True},
    ]
    settings = [make_sampler(folder, **other).settings for other in others]
    assert len({usual.settings, make_sampler(learned).settings, *settings}) == len(others) + 2
    assert usual.versions[folder.name] in usual.settings
    assert (
        make_sampler(folder, stop=["a"]).describe()
        == f"hf(model={str(folder)!r}, max_tokens=12, seed=0, stop=('a',), chat=False)"
    )


def test_drawing_continues_while_the_reader_is_busy(folder):
    sampler = make_sampler(folder, batch_tokens=60)
    taken = threading.Event()

    def requests():
        for number in range(6):
            if number == 5:
                taken.set()
            yield Request(number, CERTAIN, 1)

    stream = sampler.stream(requests())
    next(stream)
    assert taken.wait(60)  # nobody reads meanwhile
    assert len(list(stream)) == 5


def test_closing_stops_during_a_response(tmp_path):
    sampler = make_sampler(checkpoint(tmp_path, ends=None), max_tokens=WINDOW - 50, batch_tokens=1)
    stream = sampler.stream(Request(i, CERTAIN, 1) for i in range(1000))
    next(stream)
    before = sampler.forward_tokens
    stream.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "semantic-entropy hf"]
    time.sleep(0.1)
    assert sampler.forward_tokens - before < 3 * WINDOW


def test_errors_in_the_requests_and_in_the_model_are_raised_in_the_reader(folder, monkeypatch):
    def requests():
        yield Request(0, CERTAIN, 2)
        raise LookupError("the file has ended early")

    sampler = make_sampler(folder, batch_tokens=30)
    read = []
    with pytest.raises(LookupError, match="ended early"):
        read.extend(sampler.stream(requests()))
    assert len(read) == 2

    def broken(*_):
        raise RuntimeError("CUDA error: an illegal memory access")

    monkeypatch.setattr(sampler._open_engine.generation, "draw", broken)
    with pytest.raises(errors.SamplingError, match="hf: model=.* failed to generate text: RuntimeError: CUDA error"):
        draw(sampler, CERTAIN)


def test_several_readers_share_a_model_batch_by_batch(folder):
    sampler, expected = make_sampler(folder, batch_tokens=60), texts(draw(make_sampler(folder), *QUESTIONS))
    results = []
    threads = [threading.Thread(target=lambda: results.append(texts(draw(sampler, *QUESTIONS)))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [expected] * 3


def test_the_number_of_cpu_threads_is_not_changed(folder, monkeypatch):
    sampler, seen = make_sampler(folder), []
    original = sampler._open_engine.generation.draw
    monkeypatch.setattr(
        sampler._open_engine.generation, "draw", lambda *a: (seen.append(torch.get_num_threads()), original(*a))[1]
    )
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        draw(sampler, CERTAIN)
    finally:
        torch.set_num_threads(before)
    assert set(seen) == {1}


def test_a_closed_sampler_raises(folder):
    sampler = make_sampler(folder)
    sampler.close()
    sampler.close()
    with pytest.raises(errors.SamplingError, match="is closed"):
        draw(sampler, CERTAIN)


# Invalid options and models.


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": -1}, "temperature=-1 must be"),
        ({"temperature": float("nan")}, "temperature=nan must be"),
        ({"temperature": "1"}, "temperature='1' must be"),
        ({"temperature": True}, "temperature=True must be"),
        ({"top_p": 0}, "top_p=0 must be"),
        ({"top_p": 1.5}, "top_p=1.5 must be"),
        ({"top_k": 0}, "top_k=0 must be a whole number of at least 1 or None"),
        ({"max_tokens": 0}, "max_tokens=0 must be"),
        ({"max_tokens": None}, "max_tokens=None must be"),
        (
            {"max_tokens": WINDOW},
            f"max_tokens={WINDOW} leaves no room .* window of {WINDOW} tokens.*: lower max_tokens",
        ),
        ({"seed": 1.5}, "seed=1.5 must be"),
        ({"stop": ""}, "stop='' must be"),
        ({"stop": ["a", 3]}, "stop=\\['a', 3\\] must be"),
        ({"stop": 3}, "stop=3 must be"),
        ({"system": " "}, "system=' ' must be"),
        ({"system": "Be brief."}, "system needs a chat template"),
        ({"template": "Why?"}, "has no {question}"),
        ({"logprobs": "drwan"}, "logprobs='drwan' is unknown. Did you mean 'drawn'"),
        ({"logprobs": 1}, "logprobs=1 is unknown"),
        ({"batch_tokens": 0}, "batch_tokens=0 must be"),
        ({"device": "gpu"}, "device='gpu'"),
        ({"dtype": "float8"}, "dtype='float8' is unknown"),
    ],
)
def test_an_invalid_option_is_refused_at_construction(folder, options, message):
    with pytest.raises(errors.OptionError, match=f"hf: .*{message}"):
        make_sampler(folder, **options)


def test_a_missing_or_unavailable_model_is_reported(tmp_path, monkeypatch):
    with pytest.raises(errors.OptionError, match="hf: model='.*' is not a model saved by `save_pretrained`"):
        make_sampler(tmp_path)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(errors.SamplingError, match="hf: model='nobody/nothing'"):
        make_sampler("nobody/nothing")


def test_a_model_that_loads_but_does_not_run_is_reported(tmp_path, monkeypatch):
    checkpoint(tmp_path)

    def broken(*_, **__):
        raise RuntimeError("\"addmm_impl_cpu_\" not implemented for 'Half'")

    monkeypatch.setattr(transformers.Qwen2ForCausalLM, "generate", broken)
    with pytest.raises(errors.SamplingError, match="on cpu in torch.float32, failed to generate text: RuntimeError"):
        make_sampler(tmp_path)


def test_the_model_is_compiled_in_place(folder, monkeypatch):
    compiled = []
    monkeypatch.setattr(torch.nn.Module, "compile", lambda self, **how: compiled.append((type(self).__name__, how)))
    make_sampler(folder, compile=True)
    assert compiled == [("Qwen2ForCausalLM", {"dynamic": True})]


# Interrupted and resumed.

LONG = """
import sys
from semantic_entropy import estimate
from semantic_entropy_plugins.samplers.hf.hf_sampler import HFSampler

sampler = HFSampler(sys.argv[1], max_tokens=int(sys.argv[3]), seed=0, chat=False, batch_tokens=int(sys.argv[4]))
try:
    estimate(question=[f"question {i}" for i in range(100_000)], sampler=sampler, n=2, samples=sys.argv[2])
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows cannot send SIGINT to another process")
def test_ctrl_c_ends_sampling_within_a_step_and_kept_samples_are_not_drawn_again(tmp_path):
    model, file, new = checkpoint(tmp_path / "m", ends=None), tmp_path / "s.jsonl", 40
    command = [sys.executable, "-c", LONG, str(model), str(file), str(new), "200"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and (not file.exists() or file.read_bytes().count(b"\n") < 10):
            time.sleep(0.02)
        running.send_signal(signal.SIGINT)
        out, error = running.communicate(timeout=60)
    assert "interrupted" in out, error
    sampler = make_sampler(model, max_tokens=new, batch_tokens=200)
    store = SampleStore(file)
    kept = store.get(sampler, "question 0", 2)
    found = [i for i in range(100) if len(store.get(sampler, f"question {i}", 2)) == 2]
    store.close()
    assert all(isinstance(sample, Sample) for sample in kept)
    assert len(kept) == 2
    assert found[:4] == [0, 1, 2, 3]
    before = sampler.forward_tokens
    again = estimate(question=["question 0", "question 3"], sampler=sampler, n=2, samples=file)
    assert sampler.forward_tokens == before
    assert again[0].samples == tuple(kept)
    (fresh,) = draw(sampler, "question 0", n=2)
    assert texts([kept]) == texts([fresh])  # another process, the same seed


FORK = """
import os, sys
from semantic_entropy.plugin import Request
from semantic_entropy_plugins.samplers.hf.hf_sampler import HFSampler

sampler = HFSampler(sys.argv[1], max_tokens=4, chat=False)
draw = lambda of: len(list(of.stream([Request(0, "a question", 2)])))
other = sampler.variant(temperature=0.5)
draw(sampler)
with sampler._model.lock.current:  # as if another thread were drawing
    child = os.fork()
    if child == 0:
        os._exit(0 if draw(sampler) == draw(other) == 2 else 1)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no fork")
def test_a_process_that_is_forked_while_another_thread_draws_can_draw(folder):
    command = [sys.executable, "-c", FORK, str(folder)]
    done = subprocess.run(command, timeout=120, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


# Variants.


def test_a_variant_waits_while_another_sampler_draws_with_the_model(learned):
    sampler = HFSampler(str(learned), temperature=0, max_tokens=12)
    drawn = sampler.variant(temperature=1.0).stream([Request(0, CERTAIN, 1)])
    found = []
    reader = threading.Thread(target=lambda: found.append(next(drawn)))
    with sampler._model.lock.current:
        reader.start()
        reader.join(0.3)
        assert not found
    reader.join(60)
    assert found


def test_a_variant_draws_like_a_new_sampler_and_does_not_load_the_model_again(learned):
    sampler = HFSampler(str(learned), temperature=0, max_tokens=12, seed=0)
    other = sampler.variant(temperature=1.0, system="Be brief.", chat_template=CHAT)
    anew = HFSampler(str(learned), temperature=1.0, max_tokens=12, seed=0, system="Be brief.", chat_template=CHAT)
    assert other._model is sampler._model
    assert other.settings == anew.settings != sampler.settings
    assert texts(draw(other, *QUESTIONS)) == texts(draw(anew, *QUESTIONS))
    sampler.close()
    assert draw(other, CERTAIN, n=1)  # it keeps the model


def test_a_variant_uses_the_model_s_end_tokens(folder):
    sampler = make_sampler(folder)
    other = sampler.variant(temperature=0.5)
    assert sampler._open_engine.generation.end_ids == other._open_engine.generation.end_ids == END_IDS
    assert texts(draw(sampler.variant(), *QUESTIONS)) == texts(draw(sampler, *QUESTIONS))


@pytest.mark.parametrize("changes", [{"dtype": "float32"}, {"revision": "v2"}, {"temperature": -1}])
def test_a_variant_cannot_change_options_of_the_loaded_model(learned, changes):
    with pytest.raises(errors.OptionError, match=f"hf: {next(iter(changes))}"):
        HFSampler(str(learned), temperature=0, max_tokens=12).variant(**changes)
