"""Yes against No: every method compared with Algorithm 3, on real architectures with random weights."""

from __future__ import annotations

import functools
import itertools
import math
import random
from collections.abc import Callable
from typing import Any

import pytest
import torch
import transformers

from semantic_entropy import EquivalenceError
from semantic_entropy_plugins.models.loading import LoadedModel
from semantic_entropy_plugins.verifier.shared_prefixes import group_by_prefix
from semantic_entropy_plugins.verifier.yes_no_scores import YesNoScores, YesNoTokens

WORDS = YesNoTokens(yes=7, no=9, space=" ", tail=1)
SIZE: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 100,
    "max_position_embeddings": 128,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
OLD = {"vocab_size": 100, "bos_token_id": 1, "eos_token_id": 2}
GPT2 = OLD | {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 128}
SLIDING = {"head_dim": 8, "sliding_window": 8}
LAYERS = ["sliding_attention", "full_attention"]

SHARING: dict[str, Callable[[], Any]] = {
    "qwen2": lambda: transformers.Qwen2Config(**SIZE),
    "llama": lambda: transformers.LlamaConfig(**SIZE),
    "a table of positions": lambda: transformers.GPT2Config(**GPT2),
    "positions from the mask": lambda: transformers.BloomConfig(**OLD, hidden_size=32, n_layer=2, n_head=4),
    "a window, soft caps": lambda: transformers.Gemma2Config(**SIZE, **SLIDING, final_logit_softcapping=0.5),
    "windows in some layers": lambda: transformers.Gemma3TextConfig(**SIZE, **SLIDING, layer_types=LAYERS),
    "scaled logits": lambda: transformers.GraniteConfig(**SIZE, logits_scaling=8.0),
    "a bias on the head": lambda: transformers.PhiConfig(**SIZE),
    "a head of another name": lambda: transformers.GPTNeoXConfig(**SIZE),
}
RECURRENT: dict[str, Callable[[], Any]] = {
    "states alone": lambda: transformers.MambaConfig(**OLD, hidden_size=32, num_hidden_layers=2, state_size=4),
    "states and keys": lambda: transformers.JambaConfig(
        **SIZE, num_experts=2, mamba_d_state=4, attn_layer_period=2, attn_layer_offset=1
    ),
}


def made(config: Any, dtype: torch.dtype = torch.float32) -> Any:
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(8)  # so that logits differ from prompt to prompt
            elif "bias" in "".join(name for name, one in model.named_parameters() if one is parameter):
                parameter.normal_()
    return model.to(dtype)


def loaded(model: Any, dtype: torch.dtype = torch.float32) -> LoadedModel:
    return LoadedModel(model, None, torch.device("cpu"), dtype, "tiny", None, None, 128)


def prompts() -> list[list[int]]:
    """Three questions of five pairs each, and a prompt that shares nothing; all longer than the sliding windows."""
    draw = random.Random(0)

    def some(count: int) -> list[int]:
        return [draw.randrange(3, 100) for _ in range(count)]

    questions = [some(length) for length in (40, 25, 60)]
    return [question + some(draw.randrange(3, 20)) for question in questions for _ in range(5)] + [some(9)]


PROMPTS = prompts()
PROBES = [PROMPTS[0], PROMPTS[1], PROMPTS[7]]


def algorithm_3(model: Any, ids: list[int]) -> float:
    """p(Yes) / (p(Yes) + p(No)) of one prompt, from the softmax over the whole vocabulary at its last position."""
    with torch.inference_mode():
        logits = model(input_ids=torch.tensor([ids]), use_cache=False).logits
    chances = torch.softmax(logits[0, -1].double(), dim=0)
    return (chances[WORDS.yes] / (chances[WORDS.yes] + chances[WORDS.no])).item()


def scores(run: YesNoScores, batch: list[list[int]]) -> list[float]:
    found = dict(run.verdicts(batch))
    return [found[index].score for index in range(len(batch))]


@pytest.mark.parametrize("kind", SHARING)
def test_a_shared_prefix_gives_the_scores_and_verdicts_of_one_prompt_at_a_time(kind):
    model = made(SHARING[kind]())
    expected = [algorithm_3(model, ids) for ids in PROMPTS]
    assert max(expected) - min(expected) > 0.01
    run = YesNoScores(loaded(model), WORDS, probes=PROBES, tokens=300)
    assert run.method == "shared"
    assert scores(run, PROMPTS) == pytest.approx(expected, abs=1e-6)
    verdicts = dict(run.verdicts(PROMPTS))
    assert [verdicts[i].same for i in range(len(PROMPTS))] == [score > 0.5 for score in expected]
    assert run.tokens < 2 * sum(map(len, PROMPTS))


@pytest.mark.parametrize("kind", RECURRENT)
def test_a_model_with_recurrent_states_runs_batched_with_a_warning(kind):
    model = made(RECURRENT[kind]())
    expected = [algorithm_3(model, ids) for ids in PROMPTS]
    message = "'tiny' uses the method 'batched', because 'shared' fails .*the verdicts are the same"
    with pytest.warns(RuntimeWarning, match=message):
        run = YesNoScores(loaded(model), WORDS, probes=PROBES)
    assert run.method == "batched"
    assert scores(run, PROMPTS) == pytest.approx(expected, abs=1e-4)  # long recurrences round differently


def test_a_model_whose_scores_differ_with_a_cache_runs_batched():
    model = made(SHARING["qwen2"]())
    expected = [algorithm_3(model, ids) for ids in PROMPTS]
    forward = model.model.forward

    def without_memory(*, past_key_values=None, **inputs):
        """Ignores the cached keys and values."""
        if past_key_values is not None and past_key_values.get_seq_length():
            past_key_values, inputs["position_ids"] = None, None
            inputs.pop("attention_mask", None)
        return forward(past_key_values=past_key_values, **inputs)

    model.model.forward = without_memory
    with pytest.warns(RuntimeWarning, match=r"'shared' fails \(scores differ by 0\.\d"):
        run = YesNoScores(loaded(model), WORDS, probes=PROBES)
    assert run.method == "batched"
    assert scores(run, PROMPTS) == pytest.approx(expected, abs=1e-6)


def test_with_a_head_that_is_not_a_linear_layer_prompts_run_alone():
    class Head(torch.nn.Linear):
        pass

    model = made(SHARING["qwen2"]())
    expected = [algorithm_3(model, ids) for ids in PROMPTS]
    model.lm_head.__class__ = Head
    with pytest.warns(RuntimeWarning, match="its head is a Head"):
        run = YesNoScores(loaded(model), WORDS, probes=PROBES)
    assert run.method == "alone"
    assert scores(run, PROMPTS) == pytest.approx(expected, abs=1e-6)


def test_a_model_that_cannot_run_batches_keeps_its_head_and_runs_alone():
    model = made(SHARING["qwen2"]())
    expected = [algorithm_3(model, ids) for ids in PROMPTS]
    head, forward = model.lm_head, model.forward

    @functools.wraps(forward)
    def one_row(input_ids, **inputs):
        if len(input_ids) > 1:
            raise ValueError("one row at a time")
        return forward(input_ids=input_ids, **inputs)

    model.forward = one_row
    with pytest.warns(RuntimeWarning, match="method 'alone', .*'batched' fails .ValueError: one row at a time"):
        run = YesNoScores(loaded(model), WORDS, probes=PROBES)
    assert run.method == "alone"
    assert model.lm_head is head
    assert scores(run, PROMPTS) == pytest.approx(expected, abs=1e-6)


def test_without_sharing_the_verdicts_are_the_same():
    shared, whole = (
        YesNoScores(loaded(made(SHARING["qwen2"]())), WORDS, probes=PROBES, share_prefix=on) for on in (True, False)
    )
    assert (shared.method, whole.method) == ("shared", "batched")
    assert scores(shared, PROMPTS) == pytest.approx(scores(whole, PROMPTS), abs=1e-6)
    assert shared.tokens < whole.tokens


@pytest.mark.parametrize("tokens", [1, 50, 200, 10_000])
def test_the_budget_changes_the_number_of_passes_but_no_score(tokens):
    model = made(SHARING["qwen2"]())
    expected = [algorithm_3(model, ids) for ids in PROMPTS]
    run = YesNoScores(loaded(model), WORDS, probes=PROBES, tokens=tokens)
    assert scores(run, PROMPTS) == pytest.approx(expected, abs=1e-6)
    assert (run.calls > 10) is (tokens <= 50)


def test_a_shared_prefix_takes_few_passes_and_few_tokens():
    run = YesNoScores(loaded(made(SHARING["qwen2"]())), WORDS, probes=PROBES)
    batch = [PROMPTS[0][:40] + [code] * 5 for code in range(3, 19)]
    scores(run, batch)
    assert (run.calls, run.tokens) == (2, 40 + 16 * 5)


def test_verdicts_are_yielded_after_each_batch():
    run = YesNoScores(loaded(made(SHARING["qwen2"]())), WORDS, probes=PROBES, tokens=200)
    stream = run.verdicts(PROMPTS)
    next(stream)
    begun = run.calls
    assert begun < sum(1 for _ in stream) + 1
    assert run.calls > begun


def test_inference_mode_is_off_where_verdicts_are_yielded():
    run = YesNoScores(loaded(made(SHARING["qwen2"]())), WORDS, probes=PROBES)
    for _ in run.verdicts(PROMPTS):
        assert not torch.is_inference_mode_enabled()


class SmallMemory:
    """A forward method that runs out of memory above a number of tokens, including cached tokens."""

    def __init__(self, model: Any, tokens: int) -> None:
        self.forward, self.tokens, self.failures = model.forward, tokens, 0
        model.forward = self

    def __call__(self, *, input_ids, past_key_values=None, **inputs):
        kept = 0 if past_key_values is None else past_key_values.get_seq_length()
        if len(input_ids) * (kept + input_ids.shape[1]) > self.tokens:
            self.failures += 1
            raise torch.OutOfMemoryError("out of memory")
        if past_key_values is not None:
            inputs["past_key_values"] = past_key_values
        return self.forward(input_ids=input_ids, **inputs)


@pytest.mark.parametrize("room", [100, 250])
def test_out_of_memory_halves_batches_and_changes_no_verdict(room):
    model = made(SHARING["qwen2"]())
    expected = [algorithm_3(model, ids) for ids in PROMPTS]
    run = YesNoScores(loaded(model), WORDS, probes=PROBES)
    memory = SmallMemory(model, room)
    assert scores(run, PROMPTS) == pytest.approx(expected, abs=1e-6)
    assert memory.failures
    memory.failures = 0
    scores(run, PROMPTS)
    assert not memory.failures


def test_a_prompt_that_does_not_fit_with_cached_prefixes_runs_whole():
    model = made(SHARING["qwen2"]())
    expected = [algorithm_3(model, ids) for ids in PROMPTS]
    run = YesNoScores(loaded(model), WORDS, probes=PROBES)
    forward = model.forward

    def no_room_for_both(*, past_key_values=None, **inputs):
        if past_key_values is not None and past_key_values.get_seq_length():
            raise torch.OutOfMemoryError("out of memory")
        return forward(past_key_values=past_key_values, **inputs)

    model.forward = no_room_for_both
    assert scores(run, PROMPTS) == pytest.approx(expected, abs=1e-6)


def test_only_a_prompt_that_does_not_fit_alone_is_undecided():
    model = made(SHARING["qwen2"]())
    run = YesNoScores(loaded(model), WORDS, probes=PROBES)
    SmallMemory(model, 60)
    verdicts = dict(run.verdicts(PROMPTS))
    for index, ids in enumerate(PROMPTS):
        if len(ids) > 60:
            assert verdicts[index] == (None, None, f"out of memory at {len(ids)} tokens", None, None)
        else:
            assert verdicts[index].same is not None


def test_a_model_that_does_not_run_is_an_error_at_construction():
    model = made(SHARING["qwen2"]())
    model.forward = lambda input_ids, use_cache: 1 / 0
    with pytest.raises(EquivalenceError, match=r"model='tiny' loads, but does not run on cpu in torch.float32"):
        YesNoScores(loaded(model), WORDS, probes=PROBES)


def test_an_output_that_is_not_a_number_is_undecided():
    model = made(SHARING["qwen2"]())
    run = YesNoScores(loaded(model), WORDS, probes=PROBES)
    with torch.no_grad():
        model.model.norm.weight.fill_(math.inf)
    (verdict,) = [verdict for _, verdict in run.verdicts(PROMPTS[:1])]
    assert verdict.same is None
    assert "dtype='float32' may help" in verdict.reason


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_uses_a_shared_prefix_and_gives_similar_scores(dtype):
    expected = [algorithm_3(made(SHARING["qwen2"]()), ids) for ids in PROMPTS]
    run = YesNoScores(loaded(made(SHARING["qwen2"](), dtype), dtype), WORDS, probes=PROBES)
    assert run.method == "shared"
    assert scores(run, PROMPTS) == pytest.approx(expected, abs=0.1)


def test_some_prompts_of_these_tests_share_a_prefix():
    prefixes = sorted(group.prefix for group in group_by_prefix(PROMPTS))
    assert prefixes == [0, 25, 40, 60]
    assert all(one != other for one, other in itertools.pairwise(sorted(PROMPTS)))
