"""What ships in the box, announced. Light: each implementation is imported when it is first used."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

from semantic_entropy.plugin import Component, hookimpl


def _from(module: str, name: str) -> Callable[[], Callable[..., Any]]:
    def load() -> Callable[..., Any]:
        factory: Callable[..., Any] = getattr(import_module(module), name)
        return factory

    return load


_HERE = "semantic_entropy_plugins"
_CORE = "semantic_entropy.plugin"
_TORCH = ("torch", "transformers")


@hookimpl
def semantic_entropy_equivalences() -> list[Component]:
    """The judges: first those that need no model, then those that do."""
    return [
        Component("exact", _from(f"{_HERE}.text.text_judges", "Exact"), "equal strings, white space at the ends aside"),
        Component("text", _from(f"{_HERE}.text.text_judges", "Text"), "short answers by their content words; no model"),
        Component(
            "ngram", _from(f"{_HERE}.text.text_judges", "NGram"), "overlap of character n-grams above a threshold"
        ),
        Component("regex", _from(f"{_HERE}.text.text_judges", "Regex"), "equal matches of your pattern"),
        Component(
            "math",
            _from(f"{_HERE}.math.math_judge", "Math"),
            "equal mathematics: exact keys, then math-verify in worker processes",
            requires=("math_verify",),
            extra="math-verify[antlr4_13_2]",
        ),
        Component(
            "nli",
            _from(f"{_HERE}.nli.nli_judge", "NLI"),
            "answers that entail each other, by an NLI model",
            requires=_TORCH,
            extra="semantic-entropy[nli]",
        ),
        Component(
            "verifier",
            _from(f"{_HERE}.verifier.verifier_judge", "Verifier"),
            "Algorithm 3: a causal language model says Yes or No",
            requires=_TORCH,
            extra="semantic-entropy[verifier]",
        ),
        Component(
            "embedding",
            _from(f"{_HERE}.embedding.embedding_judge", "Embedding"),
            "cosine of sentence embeddings above a threshold",
            requires=("sentence_transformers",),
            extra="semantic-entropy[embedding]",
        ),
        Component(
            "judge",
            _from(f"{_HERE}.judge.llm_judge", "Judge"),
            "a language model behind an OpenAI-compatible endpoint says yes or no",
            requires=("httpx",),
            extra="semantic-entropy[judge]",
        ),
        Component(
            "cascade",
            _from(f"{_HERE}.cascade.cascade_judge", "Cascade"),
            "cheap judges first, dear ones for what is left",
        ),
    ]


@hookimpl
def semantic_entropy_clusterers() -> list[Component]:
    """The clusterers of the core."""
    return [
        Component("representative", _from(_CORE, "Representative"), "Algorithm 1: first representative that matches"),
        Component("components", _from(_CORE, "Components"), "all that is linked, directly or not, is one cluster"),
        Component("last-match", _from(_CORE, "LastMatch"), "the Nature 2024 code's: later representatives take back"),
    ]


@hookimpl
def semantic_entropy_estimators() -> list[Component]:
    """The estimators of the core."""
    return [
        Component("discrete", _from(_CORE, "Discrete"), "entropy of cluster shares, nats"),
        Component("likelihood", _from(_CORE, "Likelihood"), "entropy of likelihood-weighted clusters, nats"),
        Component("predictive", _from(_CORE, "Predictive"), "minus the mean log-likelihood, nats"),
        Component("num_sets", _from(_CORE, "NumSets"), "how many meanings"),
        Component("majority", _from(_CORE, "Majority"), "share of the largest cluster (a confidence)"),
    ]


@hookimpl
def semantic_entropy_samplers() -> list[Component]:
    """Who asks the model."""
    return [
        Component(
            "hf",
            _from(f"{_HERE}.samplers.hf.hf_sampler", "HFSampler"),
            "a causal language model on this machine, by transformers",
            requires=_TORCH,
            extra="semantic-entropy[hf]",
        ),
        Component(
            "openai",
            _from(f"{_HERE}.samplers.openai_sampler", "OpenAISampler"),
            "a model behind an OpenAI-compatible endpoint",
            requires=("httpx",),
            extra="semantic-entropy[openai]",
        ),
        Component(
            "vllm",
            _from(f"{_HERE}.samplers.vllm_sampler", "VLLMSampler"),
            "a model on this machine, by vLLM's offline engine",
            requires=("vllm",),
            extra="vllm",
        ),
    ]
