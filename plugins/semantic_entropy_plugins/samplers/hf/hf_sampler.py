"""Samples from a causal language model in this process, run by transformers' `generate`.

    requests -> prompts -> batches over questions and responses -> tokens -> samples

A request is taken when a batch has room for it. A thread draws samples while the reader judges earlier ones. Prompts:
`sampling_prompts`; batches: `hf_engine` and `generation`; tokens: `token_draws`; texts: `sampled_text`; the thread:
`sampling_thread`.

Log-probabilities are in nats. With `logprobs="drawn"` they belong to the distribution that the tokens are drawn from,
after temperature, top_k and top_p. Monte Carlo estimators are defined on these log-probabilities, and the code of the
Nature 2024 paper uses them (`compute_transition_scores` on `scores`). With `logprobs="model"` the log-probabilities
belong to the model at temperature 1, like in lm-polygraph. A sample contains the log-probabilities of the text's
tokens, without the end token, like in both codes. The end token is included if it is the only token, or with
`end_token=True`; then the sum of the log-probabilities is the log-probability of the whole response.

`top_logprobs` and `token_entropies` belong to the same distribution and to the same tokens as the log-probabilities.
Servers send those of `logprobs="model"`.

At temperature 0 all responses to a question are equal: one response is generated and yielded n times, and its cost is
counted once. Its log-probabilities belong to the model's own distribution, because in the drawn distribution they are
all 0.

When the reader stops, at most two batches are lost: the batch in progress and one finished batch.

Left out: several GPUs for one model, quantised weights, serving many users (see `vllm` and `openai`).
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from typing import Any

import torch
import transformers

from semantic_entropy.plugin import Request, Sample, SampleFailure, errors
from semantic_entropy_plugins.models.adapters import find_adapter, with_adapter
from semantic_entropy_plugins.models.loading import LoadedModel, load_model
from semantic_entropy_plugins.options import checked_choice, checked_number, describe_component
from semantic_entropy_plugins.samplers.hf.hf_engine import SamplingEngine
from semantic_entropy_plugins.samplers.hf.token_draws import DrawOptions
from semantic_entropy_plugins.samplers.local_sampler import LocalSampler
from semantic_entropy_plugins.samplers.sampling_prompts import TEMPLATE
from semantic_entropy_plugins.samplers.sampling_thread import in_background

_DEFAULTS: Mapping[str, Any] = {
    "top_logprobs": 0,
    "top_tokens": False,
    "hidden_layer": -1,
    "hidden_token": "last",
    "tokens": False,
}
_MOST_TOP = 100  # alternatives of a token: the numbers of each response are kept until its batch ends
_FOR_PROMPTS = 20  # alternatives of a token in a reply to a prompt of an estimator: as many as servers send
_MOST_LAYERS = 10_000


class HFSampler(LocalSampler):
    """Draws responses from a causal language model.

    With a seed, the random numbers of response i to a question depend only on (seed, question, i). They do not depend
    on the other rows of the batch or on the number of responses. So 4 responses are the first 4 of 10 responses, and a
    later request for more responses yields new responses. The batch only changes the rounding of the model's outputs.
    Rounding rarely changes a token in float32, and more often in half precision. torch's own random generators are
    neither read nor set.

    Args:
        model: a causal language model on the Hugging Face hub, or a folder. A folder with a LoRA adapter of peft is
            loaded with its base model.
        base_model: the base model of the adapter `model`; None: the model that adapter_config.json names.
        temperature: the sampling temperature; 0: greedy decoding.
        top_p: draw from the smallest set of the likeliest tokens whose probabilities add up to this value; 1: from all
            tokens.
        top_k: draw from the k likeliest tokens; None: from all tokens, even if the model's own generation settings have
            a top_k.
        max_tokens: the largest number of new tokens of a response, including reasoning.
        seed: the seed of the random numbers; None: different responses each time.
        stop: a stop string, or several stop strings; a response ends before the first stop string.
        system: the system prompt, for a chat template.
        chat: whether to write the prompt with the tokenizer's chat template; None: use the chat template if the
            tokenizer has one.
        template: the user's turn; without a chat template, the whole prompt. It contains {question}.
        chat_template_kwargs: more variables for the chat template, such as {"enable_thinking": False}.
        chat_template: a Jinja text that replaces the tokenizer's own chat template.
        messages: whether each question is a conversation, as JSON: a list of {"role": ..., "content": ...}. It replaces
            `system` and `template`.
        logprobs: the distribution of the log-probabilities. "drawn": the distribution that the tokens are drawn from;
            "model": the model's own distribution; False: no log-probabilities.
        end_token: whether the log-probabilities and entropies include the end token, as the last token.
        token_entropies: whether to keep the entropy, at each token, of the distribution that `logprobs` names.
        hidden_states: whether to keep a hidden state of each response. This needs another pass of the
            model for each batch.
        top_logprobs: keep the log-probabilities of this number of most probable tokens at each token, 0 to 100, such as
            15 for the estimators `epr` and `wepr`. Tokens that cannot be drawn (top_k, top_p) are left out.
        top_tokens: keep the texts of these tokens too.
        hidden_layer: the layer of `hidden_states`, numbered as in transformers: 0 is the embedding, -1 the last layer
            after its norm. Kossen et al. (2406.15927) compare all layers; INSIDE (2402.03744) reads a middle one.
        hidden_token: the token of `hidden_states`: "last", the last token of the text, or "prompt", the last token of
            the prompt, before the response is generated; then all responses to a question have the same state.
        tokens: whether to keep the text of each token, for the estimators `token_sar` and `sar`.
        revision: a branch, tag or commit on the hub, of the base model if `model` is an adapter; None: the main branch.
        device: "cpu", "cuda", "cuda:1", ...; None: "cuda" if available, else "cpu".
        dtype: "float32", "bfloat16" or "float16"; None: bfloat16 on a GPU that supports it, float16 on another GPU,
            float32 on a CPU.
        batch_tokens: the largest number of tokens of a batch: (number of responses) x (longest prompt + `max_tokens`).
            The number is halved after an out-of-memory error. None: a default for the device.
        allow_pickle: read pickled weights if the model has no others.
        compile: `torch.compile` the model.

    Raises:
        OptionError: an option is not valid, or the model does not exist.
        SamplingError: the model is unavailable: no network, no permission, no disk space, no memory.
    """

    name = "hf"
    cache_identity = "semantic_entropy_plugins.hf_sampler:HFSampler"
    _model_options = frozenset(("model", "base_model", "revision", "device", "dtype", "allow_pickle", "compile"))

    def __init__(
        self,
        model: str,
        *,
        base_model: str | None = None,
        temperature: float = 1.0,
        top_p: float = 1.0,
        top_k: int | None = None,
        max_tokens: int = 256,
        seed: int | None = None,
        stop: str | Sequence[str] | None = None,
        system: str | None = None,
        chat: bool | None = None,
        template: str = TEMPLATE,
        chat_template_kwargs: Mapping[str, Any] | None = None,
        chat_template: str | None = None,
        messages: bool = False,
        logprobs: str | bool = "drawn",
        end_token: bool = False,
        token_entropies: bool = False,
        hidden_states: bool = False,
        tokens: bool = False,
        revision: str | None = None,
        device: str | None = None,
        dtype: str | None = None,
        batch_tokens: int | None = None,
        allow_pickle: bool = False,
        top_logprobs: int = 0,
        top_tokens: bool = False,
        hidden_layer: int = -1,
        hidden_token: str = "last",  # noqa: S107  # a token of a text, no password
        compile: bool = False,  # noqa: A002  # the option's name, as users know it from torch
        _loaded: LoadedModel | None = None,
    ) -> None:
        self._set_options(
            model=model,
            temperature=temperature,
            top_p=top_p,
            top_k=top_k,
            max_tokens=max_tokens,
            seed=seed,
            stop=stop,
            system=system,
            chat=chat,
            template=template,
            chat_template_kwargs=chat_template_kwargs,
            chat_template=chat_template,
            messages=messages,
            base_model=base_model,
            logprobs=logprobs,
            end_token=end_token,
            token_entropies=bool(token_entropies),
            hidden_states=bool(hidden_states),
            revision=revision,
            dtype=dtype,
        )
        self._batch_tokens = checked_number(self.name, "batch_tokens", batch_tokens, 1, whole=True, optional=True)
        self._kept = self._checked_kept(
            top_logprobs, hidden_layer, hidden_token, tokens=tokens, top_tokens=bool(top_tokens)
        )
        loaded = _loaded or _load(
            model, base_model, revision, device, dtype, allow_pickle=allow_pickle, compiled=compile
        )
        self._model: LoadedModel | None = loaded
        self._set_model(loaded.dtype, loaded.commit)
        prompts = self._prompt_writer(loaded.tokenizer)
        self._check_layer(loaded)
        known = {**self._options, **self._kept}
        options = DrawOptions(**{field.name: known[field.name] for field in fields(DrawOptions) if field.name in known})
        self._engine: SamplingEngine | None = SamplingEngine(loaded, prompts, options, self._batch_tokens)

    def _library_versions(self) -> Mapping[str, str]:
        return {"torch": torch.__version__, "transformers": transformers.__version__}

    @property
    def forward_tokens(self) -> int:
        """The number of tokens that the model has processed so far, including padding."""
        return self._open_engine.generation.tokens

    @property
    def settings(self) -> tuple[Hashable, ...]:
        return (*super().settings, *self._kept.items())  # with the names: two of them can have equal values

    def describe(self) -> str:
        return describe_component(HFSampler, self.name, {**self._options, **self._kept})

    def stream(self, requests: Iterable[Request]) -> Iterator[tuple[Request, Sample | SampleFailure]]:
        engine = self._open_engine
        return in_background(lambda cancelled: engine.batches(requests, cancelled), "semantic-entropy hf")

    def variant(self, **changes: Any) -> HFSampler:
        """A sampler with the same model and other options (temperature, system, ...). The model is not loaded again.

        Raises:
            OptionError: an option is not valid, or belongs to the loaded model: revision, device, dtype, compile.
        """
        if self._model is None:
            raise self._closed_error()
        options = {"batch_tokens": self._batch_tokens, **self._kept, **self._variant_options(changes)}
        return HFSampler(**options, _loaded=self._model)

    def prompt_sampler(self) -> HFSampler:
        options = {"temperature": 0, "top_p": 1.0, "top_k": None, "seed": None, "stop": None}
        texts = {"system": None, "template": TEMPLATE, "messages": False}
        kept = {**_DEFAULTS, "hidden_states": False, "token_entropies": False, "logprobs": "model"}
        kept |= {"top_logprobs": _FOR_PROMPTS, "top_tokens": True}
        return self.variant(**options, **texts, **kept)

    def close(self) -> None:
        """Release this sampler's reference to the model. A batch in progress is finished first.

        Samplers made with `variant()` keep the model.
        """
        self._engine = self._model = None
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _checked_kept(
        self, top_logprobs: int, hidden_layer: int, hidden_token: str, *, tokens: bool, top_tokens: bool
    ) -> dict[str, Any]:
        """The options of 0.2.0 that are not at their defaults: older sample stores have none of them."""
        given = {
            "top_logprobs": checked_number(self.name, "top_logprobs", top_logprobs, 0, most=_MOST_TOP, whole=True),
            "top_tokens": top_tokens,
            "hidden_layer": checked_number(self.name, "hidden_layer", hidden_layer, -_MOST_LAYERS, whole=True),
            "hidden_token": checked_choice(self.name, "hidden_token", hidden_token, ("last", "prompt")),
            "tokens": bool(tokens),
        }
        kept = {name: value for name, value in given.items() if value != _DEFAULTS[name]}
        if top_tokens and not top_logprobs:
            raise errors.OptionError("hf: top_tokens=True needs top_logprobs=K, the number of tokens to keep")
        unread = kept.keys() - {"top_logprobs", "top_tokens", "tokens"}
        if unread and not self._options["hidden_states"]:
            raise errors.OptionError(f"hf: {min(unread)}={kept[min(unread)]!r} needs hidden_states=True")
        return kept

    def _check_layer(self, loaded: LoadedModel) -> None:
        layers = getattr(loaded.model.config.get_text_config(), "num_hidden_layers", None)
        layer = self._kept.get("hidden_layer", -1)
        if layers is not None and not -layers - 1 <= layer <= layers:
            raise errors.OptionError(
                f"hf: hidden_layer={layer} does not exist: model={loaded.name!r} has {layers} layers, so use a number "
                f"from 0 (the embedding) to {layers}, or from {-layers - 1} to -1"
            )

    @property
    def _open_engine(self) -> SamplingEngine:
        if self._engine is None:
            raise self._closed_error()
        return self._engine


def _load(
    model: str,
    base_model: str | None,
    revision: str | None,
    device: str | None,
    dtype: str | None,
    *,
    allow_pickle: bool,
    compiled: bool,
) -> LoadedModel:
    adapter = find_adapter(model, base_model, revision, HFSampler.name)
    try:
        loaded = load_model(
            "AutoModelForCausalLM",
            adapter.base if adapter else model,
            revision=adapter.revision if adapter else revision,
            device=device,
            dtype=dtype,
            allow_pickle=allow_pickle,
            tokenizer_as_saved=True,
            purpose=HFSampler.name,
        )
    except errors.EquivalenceError as error:  # the model is unavailable
        raise errors.SamplingError(str(error)) from error
    if adapter:
        loaded = with_adapter(loaded, adapter, HFSampler.name)
    if compiled:
        loaded.model.compile(dynamic=True)  # in place: `generate` of a wrapped model would call the model inside
    return loaded
