"""The vllm sampler against a stand-in for vLLM 0.33.0 (`fake_vllm`): what it asks for, and what it makes of answers.

What only a GPU can show is not tested: that a real engine starts, and draws what it is asked for.
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
    made = Script(tokenizer)
    tokenizer.chat_template = None
    monkeypatch.setitem(sys.modules, "vllm", module(made))
    return made


def draw(made, *questions, n=2, first=0):
    outcomes = {question: [] for question in questions}
    for request, outcome in made.stream(Request(i, question, n, first) for i, question in enumerate(questions)):
        outcomes[request.question].append(outcome)
    return list(outcomes.values())


def test_what_the_engine_and_each_request_are_given(script):
    options = {"temperature": 0.7, "top_p": 0.9, "top_k": 20, "max_tokens": 32, "stop": "\n\n", "revision": "v1"}
    made = VLLMSampler("owner/model", **options, seed=4, engine={"max_model_len": 64, "tensor_parallel_size": 2})
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
    draw(made, "Why?", n=3)
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
def test_log_probabilities_are_those_that_are_asked_for(script, options, engine, logprobs):
    made = VLLMSampler("m", **options)
    assert script.started[0]["logprobs_mode"] == engine
    ((sample, _),) = draw(made, "Why?")
    assert script.calls[0][1][0].logprobs == logprobs
    assert (sample.logprobs is None) == (logprobs is None)


def test_texts_reasoning_log_probabilities_and_costs_are_read_as_the_hf_sampler_reads_them(script):
    script.says = ["Paris", "<think>Rome?</think>yes", ""]
    (a, b, c) = draw(VLLMSampler("m"), "Why?", n=3)[0]
    prompt, paris = (len(script.tokenizer(text)["input_ids"]) for text in ("Why?", "Paris"))
    assert (a.text, a.reasoning, a.finish_reason) == ("Paris", None, "stop")
    assert a.logprobs == tuple(-0.5 - place for place in range(paris))
    assert a.usage == Usage(1, prompt, paris + 1)
    assert (b.text, b.reasoning) == ("yes", "Rome?")
    assert len(b.logprobs) < b.usage.output_tokens - 1
    assert (c.text, c.logprobs, c.usage) == ("", (-0.5,), Usage(0, 0, 1))  # the end token alone
    script.says = ["Paris"]
    ((d,),) = draw(VLLMSampler("m", end_token=True), "Why?", n=1)
    assert len(d.logprobs) == paris + 1


def test_a_stop_string_is_no_end_token_and_a_cut_response_has_none(script):
    script.says = ["yes no"]
    ((stopped,),) = draw(VLLMSampler("m", stop=" no"), "Why?", n=1)
    assert (stopped.text, stopped.finish_reason) == ("yes", "stop")
    assert len(stopped.logprobs) == len(script.tokenizer("yes")["input_ids"])
    script.says, script.finish = ["yes no"], "length"
    ((cut,),) = draw(VLLMSampler("m"), "Why?", n=1)
    assert (cut.text, cut.finish_reason) == ("yes no", "length")
    assert len(cut.logprobs) == cut.usage.output_tokens


def test_with_a_seed_the_ith_response_is_the_same_whenever_it_is_asked_for(script):
    made = VLLMSampler("m", seed=1)

    def texts(n, first=0, question="Why?"):
        return [sample.text for sample in draw(made, question, n=n, first=first)[0]]

    assert texts(2) + texts(3, first=2) == texts(5)
    assert len(set(texts(5))) == 5
    assert texts(5, question="Who?") != texts(5)
    other = VLLMSampler("m", seed=2)
    assert [sample.text for sample in draw(other, "Why?", n=5)[0]] != texts(5)


def test_without_one_a_restarted_engine_does_not_draw_the_same_again(script):
    first, second = draw(VLLMSampler("m"), "Why?", n=5), draw(VLLMSampler("m"), "Why?", n=5)
    assert first != second
    assert script.calls[0][1][0].seed is None
    assert script.started[0]["seed"] != script.started[1]["seed"]


def test_at_temperature_zero_one_response_is_drawn_and_given_n_times(script):
    (samples,) = draw(VLLMSampler("m", temperature=0), "Why?", n=3)
    assert script.calls[0][1][0].n == 1
    assert len({sample.text for sample in samples}) == 1
    assert [sample.usage.requests for sample in samples] == [1, 0, 0]


def test_requests_are_taken_a_call_at_a_time(script):
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


def test_a_prompt_that_leaves_no_room_fails_alone_and_never_reaches_the_engine(script):
    made = VLLMSampler("m", max_tokens=20, engine={"max_model_len": 40})
    long, short = draw(made, "Why? " * 30, "Why?")
    assert len(short) == 2
    (failure,) = long
    assert "20 new ones (max_tokens) are over the model's window of 40" in failure.reason
    assert len(script.calls[0][0]) == 1


def test_responses_that_do_not_come_are_one_failure(script):
    script.fewer = 1
    (outcomes,) = draw(VLLMSampler("m"), "Why?", n=3)
    assert [type(one).__name__ for one in outcomes] == ["Sample", "Sample", "SampleFailure"]
    script.fewer, script.finish = 0, "abort"
    assert draw(VLLMSampler("m"), "Why?") == [[SampleFailure("vLLM ended a response with 'abort'")]]


def test_an_engine_that_dies_has_given_what_it_had_and_says_what_vllm_said(script):
    script.dies_after = 2
    read = []
    with pytest.raises(errors.SamplingError, match="vllm.model='m'.* stopped: RuntimeError: EngineCore encountered"):
        read.extend(VLLMSampler("m", per_call=2).stream(Request(i, f"Why {i}?", 2) for i in range(5)))
    assert len(read) == 4


@pytest.mark.parametrize(
    ("options", "kind", "says"),
    [
        (
            {"engine": {"gpu_memory_utilization": 2.0}},
            errors.SamplingError,
            "does not start: RuntimeError: Engine core",
        ),
        ({"engine": {"max_modle_len": 2}}, errors.OptionError, "does not take these engine arguments: .*max_modle_len"),
        ({"engine": {"seed": 2}}, errors.OptionError, "engine holds 'seed': give it as the option of that name"),
        ({"engine": {"trust_remote_code": True}}, errors.OptionError, "no code comes with a model"),
        ({"engine": {"load_format": "pt"}}, errors.OptionError, "allow_pickle=True leaves"),
        ({"temperature": 3.0}, errors.OptionError, "vLLM refuses these options: temperature must be in"),
        ({"temperature": -1}, errors.OptionError, "temperature=-1 must be"),
        ({"per_call": 0}, errors.OptionError, "per_call=0 must be"),
        ({"system": "Be brief."}, errors.OptionError, "system is for a chat template"),
    ],
)
def test_what_cannot_be_says_what_to_do(script, options, kind, says):
    with pytest.raises(kind, match=f"vllm: .*{says}"):
        VLLMSampler("m", **options)


def test_pickled_weights_are_read_only_where_that_is_asked_for(script):
    VLLMSampler("m", allow_pickle=True)
    assert "load_format" not in script.started[0]


def test_chat_templates_settings_and_closing_are_as_with_the_hf_sampler(script):
    script.tokenizer.chat_template = CHAT
    made = VLLMSampler("m", system="Be brief.")
    draw(made, "Why?")
    sent = script.tokenizer.decode(script.calls[0][0][0]["prompt_token_ids"])
    assert sent.startswith("<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nWhy?")
    assert made.describe() == "vllm(model='m', system='Be brief.')"
    assert made.settings != VLLMSampler("m").settings
    assert VLLMSampler("m", per_call=3).settings == VLLMSampler("m").settings
    assert made.settings[-2:] == ("bfloat16", None)
    made.close()
    made.close()
    with pytest.raises(errors.SamplingError, match="is closed"):
        draw(made, "Why?")


def test_it_keeps_the_rules_of_samplers_and_answers_questions_alone(script):
    check_sampler(VLLMSampler("m", seed=3, per_call=4))
    result = estimate(question="Why?", sampler=VLLMSampler("m", seed=3), n=4)
    assert len(result.samples) == 4
    assert result.provenance.sampling_usage.requests == 1


@pytest.mark.skipif(importlib.util.find_spec("vllm") is not None, reason="vllm is installed here")
def test_where_vllm_is_not_installed_its_name_says_how_to_get_it():
    with pytest.raises(errors.MissingDependencyError, match="sampler 'vllm' needs vllm: pip install 'vllm'"):
        load_sampler("vllm", model="m")


def test_a_variant_works_on_the_same_engine_under_other_options(script):
    made = VLLMSampler("owner/model", temperature=0, max_tokens=8, logprobs=False)
    other = made.variant(temperature=0.5, chat_template=CHAT, system="Be brief.")
    assert len(script.started) == 1
    draw(other, "Why?", n=1)
    ((prompts, (params,)),) = script.calls
    assert params.temperature == 0.5
    written = script.tokenizer.decode(prompts[0]["prompt_token_ids"])
    assert (
        written == "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nWhy?<|im_end|>\n<|im_start|>assistant\n"
    )
    with pytest.raises(errors.OptionError, match="vllm: logprobs is settled when the engine starts"):
        made.variant(logprobs="model")


def test_a_variant_waits_for_the_engine_and_a_forked_process_for_nobody(script, monkeypatch):
    made = VLLMSampler("owner/model")
    other = made.variant(temperature=0.5)
    (held,) = {id(one._lock.current): one._lock.current for one in (made, other)}.values()
    drawn = []
    reader = threading.Thread(target=lambda: drawn.extend(draw(other, "Why?")[0]), daemon=True)
    with held:
        monkeypatch.setattr("os.getpid", lambda: 1)  # as in a process that was forked meanwhile
        reader.start()
        reader.join(30)
        assert len(drawn) == 2
