"""The built-in components, registered by the same hooks as other plugins. A component is imported at its first use."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

from semantic_entropy.plugin import (
    Component,
    Components,
    Discrete,
    LastMatch,
    Likelihood,
    Majority,
    NumSets,
    Predictive,
    Representative,
    hookimpl,
)

_TORCH = ("torch", "transformers")


def _class(path: str) -> Callable[[], Callable[..., Any]]:
    """A function that imports `module:class` of this package."""
    module, _, name = path.partition(":")

    def load() -> Callable[..., Any]:
        factory: Callable[..., Any] = getattr(import_module(f"{__package__}.{module}"), name)
        return factory

    return load


def _estimator(path: str) -> Callable[[], Callable[..., Any]]:
    """A function that imports `module:class` of the core's estimators."""
    module, _, name = path.partition(":")
    return lambda: getattr(import_module(f"semantic_entropy.estimators.{module}"), name)


@hookimpl
def semantic_entropy_equivalences() -> list[Component]:
    """The judges: first the judges without a model, then the judges with a model."""
    return [
        Component("exact", _class("text.text_judges:Exact"), "equal strings; white space at the ends is ignored"),
        Component("text", _class("text.text_judges:Text"), "short answers with the same content words; no model"),
        Component("ngram", _class("text.text_judges:NGram"), "overlap of character n-grams above a threshold"),
        Component("regex", _class("text.text_judges:Regex"), "equal matches of a regular expression"),
        Component(
            "math",
            _class("math.math_judge:Math"),
            "equal mathematics: exact arithmetic, then math-verify in worker processes",
            requires=("math_verify",),
            extra="math-verify[antlr4_13_2]",
        ),
        Component(
            "nli",
            _class("nli.nli_judge:NLI"),
            "answers that entail each other, by an NLI model",
            requires=_TORCH,
            extra="semantic-entropy[nli]",
        ),
        Component(
            "verifier",
            _class("verifier.verifier_judge:Verifier"),
            "Algorithm 3: a causal language model says Yes or No",
            requires=_TORCH,
            extra="semantic-entropy[verifier]",
        ),
        Component(
            "embedding",
            _class("embedding.embedding_judge:Embedding"),
            "cosine of sentence embeddings above a threshold",
            requires=("sentence_transformers",),
            extra="semantic-entropy[embedding]",
        ),
        Component(
            "judge",
            _class("judge.llm_judge:Judge"),
            "a language model at an OpenAI-compatible endpoint says yes or no",
            requires=("httpx",),
            extra="semantic-entropy[judge]",
        ),
        Component(
            "cascade",
            _class("cascade.cascade_judge:Cascade"),
            "inexpensive judges first; expensive judges only for undecided pairs",
        ),
    ]


@hookimpl
def semantic_entropy_clusterers() -> list[Component]:
    """The clusterers of the core."""
    return [
        Component(
            "representative", lambda: Representative, "Algorithm 1: the first cluster whose representative matches"
        ),
        Component("components", lambda: Components, "connected components of the answers that match"),
        Component(
            "last-match", lambda: LastMatch, "the Nature 2024 code: the last cluster whose representative matches"
        ),
    ]


@hookimpl
def semantic_entropy_estimators() -> list[Component]:
    """The estimators of the core."""
    return [
        Component("discrete", lambda: Discrete, "entropy of cluster shares, in nats"),
        Component("likelihood", lambda: Likelihood, "entropy of likelihood-weighted clusters, in nats"),
        Component("predictive", lambda: Predictive, "minus the mean log-likelihood of the responses, in nats"),
        Component("num_sets", lambda: NumSets, "number of clusters"),
        Component("majority", lambda: Majority, "share of the largest cluster (a confidence)"),
        Component("margin", _estimator("counts:Margin"), "share of the largest cluster minus the next (a confidence)"),
        Component("perplexity", _estimator("tokens:Perplexity"), "perplexity of one answer"),
        Component("min_probability", _estimator("tokens:MinProbability"), "lowest token probability (a confidence)"),
        Component("epr", _estimator("tokens:EPR"), "mean entropy of the 15 most probable tokens, in nats"),
        Component("wepr", _estimator("fitted:WEPR"), "p(wrong) from top log-probabilities, by weights in file="),
        Component("probe", _estimator("fitted:Probe"), "p(wrong) from a hidden state, by weights in file="),
        Component("self_certainty", _estimator("tokens:SelfCertainty"), "divergence from uniform (a confidence)"),
        Component("p_true", _estimator("asked:PTrue"), "P(true) of the answer, asked of the model (a confidence)"),
        Component("self_assessment", _estimator("asked:SelfAssessment"), "P(option) of the answer (a confidence)"),
        Component("verbalised", _estimator("asked:Verbalised"), "the confidence that the model states"),
        Component("verbalised_agreement", _estimator("asked:VerbalisedAgreement"), "its mean with the largest share"),
        Component("length", _estimator("tokens:Length"), "number of characters: the baseline to beat"),
        Component("miller_madow", _estimator("unseen:MillerMadow"), "entropy plus the first term of its bias, in nats"),
        Component("chao_shen", _estimator("unseen:ChaoShen"), "entropy corrected for unseen meanings, in nats"),
        Component("coverage", _estimator("unseen:Coverage"), "the same with the semantic alphabet size, in nats"),
        Component("grassberger", _estimator("unseen:Grassberger"), "entropy by Grassberger's bias correction, in nats"),
        Component("bayes", _estimator("posterior:Bayes"), "posterior mean of the entropy, in nats"),
        Component("entropy_low", _estimator("posterior:EntropyLow"), "low end of the entropy's 90% interval, in nats"),
        Component("entropy_high", _estimator("posterior:EntropyHigh"), "high end of this interval, in nats"),
        Component("eigv", _estimator("spectral:EigV"), "continuous number of clusters, from similarities"),
        Component("d_ue", _estimator("spectral:DUE"), "the same from similarities with a direction"),
        Component("deg", _estimator("spectral:Deg"), "mean dissimilarity of all pairs of responses"),
        Component("ecc", _estimator("spectral:Ecc"), "distance from the centre of the similarity graph"),
        Component("kle", _estimator("spectral:KLE"), "kernel language entropy, heat or Matern kernel, in [0, 1]"),
        Component("eigenscore", _estimator("spectral:EigenScore"), "mean log-eigenvalue of hidden states"),
        Component("luq", _estimator("pairwise:LUQ"), "mean dissimilarity of each response to the others"),
        Component(
            "luq_sentences",
            _estimator("pairwise:LUQSentences"),
            "how little the sentences of each response are supported by the others",
            requires=("sentencex",),
            extra="semantic-entropy[sentences]",
        ),
        Component(
            "unsupported",
            _estimator("unsupported:Unsupported"),
            "how little the samples support the sentences of an answer, in [0, 1] (long answers)",
            requires=("sentencex",),
            extra="semantic-entropy[sentences]",
        ),
        Component("snne", _estimator("pairwise:SNNE"), "nearest neighbour entropy of the similarities"),
        Component(
            "lexical",
            _estimator("pairwise:Lexical"),
            "mean ROUGE-L or BLEU of two responses (a confidence)",
            requires=("rouge_score", "nltk"),
            extra="semantic-entropy[lexical]",
        ),
        Component(
            "semantic_density",
            _estimator("pairwise:SemanticDensity"),
            "similarity of the answer to the likely responses (a confidence)",
        ),
        Component("cocoa", _estimator("pairwise:CoCoA"), "uncertainty of the answer times its dissimilarity, in nats"),
        Component("token_sar", _estimator("relevance:TokenSAR"), "log-probability of relevant tokens, in nats"),
        Component("sentence_sar", _estimator("relevance:SentenceSAR"), "support by similar responses, in nats"),
        Component("sar", _estimator("relevance:SAR"), "relevance of tokens and support by responses, in nats"),
    ]


@hookimpl
def semantic_entropy_samplers() -> list[Component]:
    """The samplers, which draw responses from a model."""
    return [
        Component(
            "hf",
            _class("samplers.hf.hf_sampler:HFSampler"),
            "a causal language model on this machine, with transformers",
            requires=_TORCH,
            extra="semantic-entropy[hf]",
        ),
        Component(
            "openai",
            _class("samplers.openai_sampler:OpenAISampler"),
            "a model at an OpenAI-compatible endpoint",
            requires=("httpx",),
            extra="semantic-entropy[openai]",
        ),
        Component(
            "vllm",
            _class("samplers.vllm_sampler:VLLMSampler"),
            "a model on this machine, with vLLM's offline engine",
            requires=("vllm",),
            extra="vllm",
        ),
    ]
