"""The sampler `vllm` against a fake of vLLM 0.33.0 (`fake_vllm`): the engine's arguments, and the samples.

Not tested, because it needs a GPU: that a real engine starts and draws from the requested distribution.
"""

from __future__ import annotations

import importlib.util
import sys
import threading

import pytest
import transformers

from semantic_entropy import estimate, load_sampler
from semantic_entropy.plugin import Request, SampleFailure, Usage, errors
from semantic_entropy.testing import check_sampler
from semantic_entropy_plugins.samplers.vllm_sampler import VLLMSampler
from tests.plugins.fake_vllm import Script, module
from tests.plugins.tiny_models import CHAT, tiny_causal_lm


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    return transformers.AutoTokenizer.from_pretrained(tiny_causal_lm(tmp_path_factory.mktemp("m"), chat=False))


@pytest.fixture
def script(tokenizer, monkeypatch):
    script = Script(tokenizer)
    tokenizer.chat_template = None
    monkeypatch.setitem(sys.modules, "vllm", module(script))
    return script


def draw(sampler, *questions, n=2, first=0):
    outcomes = {question: [] for question in questions}
    for request, outcome in sampler.stream(Request(i, question, n, first) for i, question in enumerate(questions)):
        outcomes[request.question].append(outcome)
    return list(outcomes.values())


def test_the_arguments_of_the_engine_and_of_each_request(script):
    options = {"temperature": 0.7, "top_p": 0.9, "top_k": 20, "max_tokens": 32, "stop": "\n\n", "revision": "v1"}
    sampler = VLLMSampler("owner/model", **options, seed=4, engine={"max_model_len": 64, "tensor_parallel_size": 2})
    (started,) = script.started
    assert started == {
        "model": "owner/model",
        "revision": "v1",
        "dtype": "auto",
        "seed": 0,
        "logprobs_mode": "processed_logprobs",
        "load_format": "safetensors",
        "max_model_len": 64,
    }
    draw(sampler, "Why?", n=3)
    ((prompts, (params,)),) = script.calls
    assert prompts == [{"prompt_token_ids": script.tokenizer("Why?")["input_ids"]}]
    assert (params.n, params.temperature, params.top_p, params.top_k) == (3, 0.7, 0.9, 20)
    assert (params.max_tokens, params.stop, params.logprobs) == (32, ["\n\n"], 0)


@pytest.mark.parametrize(
    ("options", "engine", "logprobs"),
    [
        ({"logprobs": "model"}, "raw_logprobs", 0),
        ({"logprobs": False}, "raw_logprobs", None),
        ({}, "processed_logprobs", 0),
    ],
)
def test_log_probabilities_are_requested_as_the_option_says(script, options, engine, logprobs):
    sampler = VLLMSampler("m", **options)
    assert script.started[0]["logprobs_mode"] == engine
    ((sample, _),) = draw(sampler, "Why?")
    assert script.calls[0][1][0].logprobs == logprobs
    assert (sample.logprobs is None) == (logprobs is None)


def test_texts_reasoning_log_probabilities_and_usage(script):
    script.says = ["Paris", "<think>Rome?</think>yes", ""]
    (a, b, c) = draw(VLLMSampler("m"), "Why?", n=3)[0]
    prompt, paris = (len(script.tokenizer(text)["input_ids"]) for text in ("Why?", "Paris"))
    assert (a.text, a.reasoning, a.finish_reason) == ("Paris", None, "stop")
    assert a.logprobs == tuple(-0.5 - place for place in range(paris))
    assert a.usage == Usage(1, prompt, paris + 1)
    assert (b.text, b.reasoning) == ("yes", "Rome?")
    assert len(b.logprobs) < b.usage.output_tokens - 1
    assert (c.text, c.logprobs, c.usage) == ("", (-0.5,), Usage(0, 0, 1))  # only the end token
    script.says = ["Paris"]
    ((d,),) = draw(VLLMSampler("m", end_token=True), "Why?", n=1)
    assert len(d.logprobs) == paris + 1


def test_a_stop_string_is_not_an_end_token_and_a_cut_response_has_none(script):
    script.says = ["yes no"]
    ((stopped,),) = draw(VLLMSampler("m", stop=" no"), "Why?", n=1)
    assert (stopped.text, stopped.finish_reason) == ("yes", "stop")
    assert len(stopped.logprobs) == len(script.tokenizer("yes")["input_ids"])
    script.says, script.finish = ["yes no"], "length"
    ((cut,),) = draw(VLLMSampler("m"), "Why?", n=1)
    assert (cut.text, cut.finish_reason) == ("yes no", "length")
    assert len(cut.logprobs) == cut.usage.output_tokens


def test_with_a_seed_a_response_is_the_same_whenever_it_is_requested(script):
    sampler = VLLMSampler("m", seed=1)

    def texts(n, first=0, question="Why?"):
        return [sample.text for sample in draw(sampler, question, n=n, first=first)[0]]

    assert texts(2) + texts(3, first=2) == texts(5)
    assert len(set(texts(5))) == 5
    assert texts(5, question="Who?") != texts(5)
    other = VLLMSampler("m", seed=2)
    assert [sample.text for sample in draw(other, "Why?", n=5)[0]] != texts(5)


def test_without_a_seed_a_restarted_engine_draws_other_responses(script):
    first, second = draw(VLLMSampler("m"), "Why?", n=5), draw(VLLMSampler("m"), "Why?", n=5)
    assert first != second
    assert script.calls[0][1][0].seed is None
    assert script.started[0]["seed"] != script.started[1]["seed"]


def test_at_temperature_zero_one_response_is_drawn_and_yielded_n_times(script):
    (samples,) = draw(VLLMSampler("m", temperature=0), "Why?", n=3)
    assert script.calls[0][1][0].n == 1
    assert len({sample.text for sample in samples}) == 1
    assert [sample.usage.requests for sample in samples] == [1, 0, 0]


def test_requests_are_taken_for_one_call_at_a_time(script):
    taken = []

    def requests():
        for number in range(1000):
            taken.append(number)
            yield Request(number, f"Why {number}?", 4)

    stream = VLLMSampler("m", per_call=8).stream(requests())
    next(stream)
    stream.close()
    assert {len(prompts) for prompts, _ in script.calls} == {2}
    assert len(taken) <= 2 * 4


def test_a_prompt_that_leaves_no_room_fails_alone_and_does_not_reach_the_engine(script):
    sampler = VLLMSampler("m", max_tokens=20, engine={"max_model_len": 40})
    long, short = draw(sampler, "Why? " * 30, "Why?")
    assert len(short) == 2
    (failure,) = long
    assert "20 new tokens (max_tokens) exceed the model's window of 40" in failure.reason
    assert len(script.calls[0][0]) == 1


def test_missing_responses_are_one_failure(script):
    script.fewer = 1
    (outcomes,) = draw(VLLMSampler("m"), "Why?", n=3)
    assert [type(one).__name__ for one in outcomes] == ["Sample", "Sample", "SampleFailure"]
    script.fewer, script.finish = 0, "abort"
    assert draw(VLLMSampler("m"), "Why?") == [[SampleFailure("vLLM ended a response with 'abort'")]]


def test_an_engine_that_stops_raises_vllm_s_message_after_the_earlier_samples(script):
    script.dies_after = 2
    read = []
    with pytest.raises(errors.SamplingError, match="vllm.model='m'.* stopped: RuntimeError: EngineCore encountered"):
        read.extend(VLLMSampler("m", per_call=2).stream(Request(i, f"Why {i}?", 2) for i in range(5)))
    assert len(read) == 4


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        (
            {"engine": {"gpu_memory_utilization": 2.0}},
            errors.SamplingError,
            "does not start: RuntimeError: Engine core",
        ),
        (
            {"engine": {"max_modle_len": 2}},
            errors.OptionError,
            "does not accept these engine arguments: .*max_modle_len",
        ),
        ({"engine": {"seed": 2}}, errors.OptionError, "engine holds 'seed': use the option of the same name"),
        ({"engine": {"trust_remote_code": True}}, errors.OptionError, "code of the model's author is never run"),
        ({"engine": {"load_format": "pt"}}, errors.OptionError, "with allow_pickle=True vLLM decides"),
        ({"temperature": 3.0}, errors.OptionError, "vLLM does not accept these options: temperature must be in"),
        ({"temperature": -1}, errors.OptionError, "temperature=-1 must be"),
        ({"per_call": 0}, errors.OptionError, "per_call=0 must be"),
        ({"system": "Be brief."}, errors.OptionError, "system needs a chat template"),
    ],
)
def test_an_invalid_option_is_refused_with_the_fix(script, options, kind, message):
    with pytest.raises(kind, match=f"vllm: .*{message}"):
        VLLMSampler("m", **options)


def test_pickled_weights_are_read_only_with_allow_pickle(script):
    VLLMSampler("m", allow_pickle=True)
    assert "load_format" not in script.started[0]


def test_chat_templates_settings_and_closing(script):
    script.tokenizer.chat_template = CHAT
    sampler = VLLMSampler("m", system="Be brief.")
    draw(sampler, "Why?")
    sent = script.tokenizer.decode(script.calls[0][0][0]["prompt_token_ids"])
    assert sent.startswith("<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nWhy?")
    assert sampler.describe() == "vllm(model='m', system='Be brief.')"
    assert sampler.settings != VLLMSampler("m").settings
    assert VLLMSampler("m", per_call=3).settings == VLLMSampler("m").settings
    assert sampler.settings[-2:] == ("bfloat16", None)
    sampler.close()
    sampler.close()
    with pytest.raises(errors.SamplingError, match="is closed"):
        draw(sampler, "Why?")


def test_it_passes_the_conformance_checks_and_samples_for_estimate(script):
    check_sampler(VLLMSampler("m", seed=3, per_call=4))
    result = estimate(question="Why?", sampler=VLLMSampler("m", seed=3), n=4)
    assert len(result.samples) == 4
    assert result.provenance.sampling_usage.requests == 1


@pytest.mark.skipif(importlib.util.find_spec("vllm") is not None, reason="vllm is installed here")
def test_without_vllm_the_error_says_how_to_install_it():
    with pytest.raises(errors.MissingDependencyError, match="sampler 'vllm' needs vllm: pip install 'vllm'"):
        load_sampler("vllm", model="m")


def test_a_variant_uses_the_same_engine_with_other_options(script):
    sampler = VLLMSampler("owner/model", temperature=0, max_tokens=8, logprobs=False)
    other = sampler.variant(temperature=0.5, chat_template=CHAT, system="Be brief.")
    assert len(script.started) == 1
    draw(other, "Why?", n=1)
    ((prompts, (params,)),) = script.calls
    assert params.temperature == 0.5
    written = script.tokenizer.decode(prompts[0]["prompt_token_ids"])
    assert (
        written == "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nWhy?<|im_end|>\n<|im_start|>assistant\n"
    )
    with pytest.raises(errors.OptionError, match="vllm: logprobs cannot change after the model is loaded"):
        sampler.variant(logprobs="model")


def test_a_variant_waits_for_the_engine_but_a_forked_process_does_not(script, monkeypatch):
    sampler = VLLMSampler("owner/model")
    other = sampler.variant(temperature=0.5)
    (held,) = {id(one._lock.current): one._lock.current for one in (sampler, other)}.values()
    drawn = []
    reader = threading.Thread(target=lambda: drawn.extend(draw(other, "Why?")[0]), daemon=True)
    with held:
        monkeypatch.setattr("os.getpid", lambda: 1)  # as in a forked process
        reader.start()
        reader.join(30)
        assert len(drawn) == 2


def test_the_greedy_answer_is_drawn_by_the_same_engine_at_temperature_0(script):
    script.says = ["yes", "no", "yes"]
    result = estimate(question="Why?", sampler=VLLMSampler("owner/model"), n=2, greedy=True)
    assert [params.temperature for _, (params,) in script.calls] == [0, 1]
    assert len(script.started) == 1
    assert result.greedy_sample.text == "yes"
