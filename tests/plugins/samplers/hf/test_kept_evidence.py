"""What the sampler `hf` keeps of the model: the scores are those of transformers alone, and the store keeps it."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import transformers

from semantic_entropy import EvidenceError, Scorer, estimate, load_estimator
from semantic_entropy.estimators.fitted import FittedRegression
from semantic_entropy.plugin import Request, errors
from semantic_entropy_plugins.samplers.hf.hf_sampler import HFSampler
from tests.plugins.tiny_samplers import CERTAIN, OPEN, checkpoint, trained

N = 6
KEPT = {"token_entropies": True, "hidden_states": True, "top_logprobs": 15}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("taught"))


class Alone:
    """The model, without this package: what it says of a given answer to a question."""

    def __init__(self, folder):
        self.tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        self.model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()

    @torch.inference_mode()
    def read(self, question, text, temperature=1.0):
        """(T, vocabulary) log-probabilities at the tokens of the text, its ids, and the states of all layers."""
        messages = [{"role": "user", "content": question}]
        prompt = self.tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=True)["input_ids"]
        ids = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        out = self.model(input_ids=torch.tensor([prompt + ids]), output_hidden_states=True)
        logs = (out.logits[0, len(prompt) - 1 : -1] / temperature).double().log_softmax(-1)
        return logs, ids, [layer[0] for layer in out.hidden_states], len(prompt)


def sampler_options(folder, **options):
    return {"model": str(folder), "seed": 0, "max_tokens": 12, **KEPT, **options}


@pytest.mark.parametrize(("logprobs", "temperature"), [("drawn", 1.0), ("drawn", 0.5), ("model", 0.5)])
def test_scores_are_those_of_transformers_alone(folder, tmp_path, logprobs, temperature):
    names = ["discrete", "epr", "self_certainty", "eigenscore", "perplexity"]
    options = sampler_options(folder, temperature=temperature, logprobs=logprobs)
    choices = {"sampler": "hf", "sampler_options": options, "estimator": names, "n": N}
    with Scorer(**choices, samples=tmp_path / "samples.jsonl") as scorer:
        results = scorer.estimate(question=[CERTAIN, OPEN])
    alone, own = Alone(folder), temperature if logprobs == "drawn" else 1.0
    for question, result in zip((CERTAIN, OPEN), results, strict=True):
        rates, certainties, states = [], [], []
        for sample in result.samples:
            logs, ids, layers, _ = alone.read(question, sample.text, own)
            top = logs.sort(descending=True).values[:, :15]
            rates.append((-top.exp() * top).sum(-1).mean().item())
            certainties.append((-math.log(15) - top.log_softmax(-1).mean(-1)).mean().item())
            states.append(layers[-1][-1].tolist())
            entropies = torch.special.entr(logs.exp()).sum(-1)
            assert sample.token_entropies == pytest.approx(entropies.tolist(), abs=1e-4)
            assert sample.logprobs == pytest.approx(logs[range(len(ids)), ids].tolist(), abs=1e-4)
        assert result.scores["epr"] == pytest.approx(np.mean(rates), abs=1e-4)
        assert result.scores["self_certainty"] == pytest.approx(np.mean(certainties), abs=1e-3)
        texts = [sample.text for sample in result.samples]
        given = estimate(texts, hidden_state=states, estimator="eigenscore")
        assert result.scores["eigenscore"] == pytest.approx(given.scores["eigenscore"], abs=1e-3)
    with Scorer(**choices, samples=tmp_path / "samples.jsonl") as scorer:  # the file keeps the evidence
        assert scorer.estimate(question=[CERTAIN, OPEN]) == results
        assert scorer.store.added == 0


def test_fitted_scores_read_the_greedy_answer(folder, tmp_path):
    random, alone = np.random.default_rng(0), Alone(folder)
    for name, size in (("probe", 32), ("wepr", 30)):
        numbers = {"weights": random.normal(size=size), "mean": random.normal(size=size), "scale": [1.0] * size}
        unknown = {"auroc": None, "penalty": None, "threshold": None, "n": 0, "positives": 0}
        lists = {key: tuple(map(float, values)) for key, values in numbers.items()}
        model = FittedRegression(name, "wrong", "by hand", intercept=0.1, **lists, **unknown)
        model.write(tmp_path / f"{name}.json")
    fitted = [load_estimator(name, file=str(tmp_path / f"{name}.json")) for name in ("probe", "wepr")]
    choices = {"sampler": "hf", "sampler_options": sampler_options(folder), "n": 2, "greedy": True}
    result = estimate(question=OPEN, **choices, estimator=["discrete", *fitted])
    logs, _, layers, _ = alone.read(OPEN, result.greedy_sample.text)
    known = {
        "text": result.greedy_sample.text,
        "hidden_state": layers[-1][-1].tolist(),
        "top_logprobs": logs.sort(descending=True).values[:, :15].tolist(),
    }
    given = estimate(["a", "b"], greedy=known, estimator=["discrete", *fitted])
    for name in ("probe", "wepr"):
        assert result.scores[name] == pytest.approx(given.scores[name], abs=1e-3)


@pytest.mark.parametrize("layer", [0, 1, 2, -1, -2, -3])
@pytest.mark.parametrize("token", ["last", "prompt"])
def test_the_hidden_state_is_that_of_the_named_layer_and_token(folder, layer, token):
    sampler = HFSampler(**sampler_options(folder, hidden_layer=layer, hidden_token=token))
    alone, seen = Alone(folder), set()
    requests = [Request(i, question, 4) for i, question in enumerate((CERTAIN, OPEN))]
    for request, sample in sampler.stream(iter(requests)):
        _, _, layers, prompt = alone.read(request.question, sample.text)
        place = -1 if token == "last" else prompt - 1
        assert sample.hidden_state == pytest.approx(layers[layer][place].tolist(), abs=1e-4)
        seen.add((request.question, sample.hidden_state))
    assert token == "last" or len(seen) == 2  # all responses to a question have its prompt


def test_passes_that_keep_all_layers_have_few_tokens(folder, monkeypatch):
    sampler = HFSampler(**sampler_options(folder, hidden_layer=1))
    generation, sizes = sampler._open_engine.generation, []
    original = generation._states
    monkeypatch.setattr(generation, "_states", lambda ids: sizes.append(tuple(ids.shape)) or original(ids))
    monkeypatch.setattr("semantic_entropy_plugins.samplers.hf.generation._TOKENS_OF_ALL_LAYERS", 50)
    texts = [[5] * length for length in (20, 3, 21, 22, 3)]
    states = generation.hidden_states(texts)
    assert states[1] == states[4]
    assert all(rows * tokens <= 50 for rows, tokens in sizes)
    assert sum(rows for rows, _ in sizes) == 4  # equal texts are read once


def test_options_that_cannot_be_kept_are_errors(folder):
    for options, message in [
        ({"top_logprobs": 101}, "hf: top_logprobs=101 must be a whole number of at least 0 and at most 100"),
        ({"hidden_states": False, "hidden_layer": 1}, "hf: hidden_layer=1 needs hidden_states=True"),
        ({"hidden_states": False, "hidden_token": "prompt"}, "hf: hidden_token='prompt' needs hidden_states=True"),
        ({"hidden_layer": 3}, "hf: hidden_layer=3 does not exist: .* has 2 layers"),
        ({"hidden_layer": -4}, "hf: hidden_layer=-4 does not exist"),
        ({"hidden_token": "first"}, "hf: hidden_token='first' is unknown"),
    ]:
        with pytest.raises(errors.OptionError, match=message):
            HFSampler(**sampler_options(folder, **options))


def test_without_the_options_nothing_is_kept_and_the_error_says_so(tmp_path):
    checkpoint(tmp_path)
    options = {"model": str(tmp_path), "max_tokens": 4}
    for name in ("epr", "eigenscore"):
        with pytest.raises(EvidenceError, match=f"estimator '{name}' needs"):
            estimate(question=CERTAIN, sampler="hf", sampler_options=options, n=2, estimator=name)


def test_a_variant_keeps_the_options(folder):
    sampler = HFSampler(**sampler_options(folder, hidden_layer=1))
    assert "top_logprobs=15, hidden_layer=1)" in sampler.describe()
    other = sampler.variant(temperature=0)
    ((_, sample),) = other.stream([Request(0, CERTAIN, 1)])
    assert len(sample.top_logprobs) == len(sample.logprobs)
    assert sampler.variant(top_logprobs=0, hidden_layer=-1).settings == sampler.settings[:-2]


def test_prompts_of_estimators_are_answered_by_the_same_model_with_the_texts_of_its_alternatives(folder):
    question = "Capital?"
    with Scorer(sampler="hf", sampler_options=sampler_options(folder, system="Be brief.", stop="x")) as scorer:
        sampler = scorer.sampler.prompt_sampler()
        ((_, reply),) = sampler.stream(iter([Request(0, question, 1)]))
    alone = Alone(folder)
    logs, ids, _, _ = alone.read(question, reply.text)
    for step, (tokens, logprobs) in enumerate(zip(reply.top_tokens, reply.top_logprobs, strict=True)):
        expected = logs[step].topk(20)
        texts = [alone.tokenizer.decode([token], skip_special_tokens=True) for token in expected.indices]
        assert list(tokens) == texts
        assert logprobs == pytest.approx(expected.values.tolist(), abs=1e-4)
        assert tokens[0] == alone.tokenizer.decode([ids[step]], skip_special_tokens=True)  # the most probable reply


def test_a_reply_of_a_local_model_without_an_option_is_a_warning_and_no_score(folder):
    answers = ["it is Paris", "it is Rome"]
    with Scorer(sampler="hf", sampler_options=sampler_options(folder, max_tokens=3), estimator="p_true") as scorer:
        result = scorer.estimate(answers, question=CERTAIN)
    assert math.isnan(result.scores["p_true"])  # this tiny model knows no letters
    assert "not with one of the letters A to B" in result.warnings[-1]
    assert result.provenance.replies_usage.requests == 1
