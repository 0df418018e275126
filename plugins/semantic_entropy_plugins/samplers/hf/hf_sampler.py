"""Samples from a causal language model on this machine, by transformers' `generate`.

    requests -> prompts -> batches over questions and responses -> tokens -> samples

Requests are taken as a batch has room for them. Drawing goes on in a thread of its own while the reader judges what it
has. Prompts are in `sampling_prompts`, batches in `hf_sampler.engine` and `hf_sampler.generation`, tokens in
`hf_sampler.draws`, texts in `sampled_text`, the thread in `sampling_thread`.

Log-probabilities are in nats, of the distribution that was drawn from, after temperature, top_k and top_p: what Monte
Carlo estimators are defined on, and what the Nature 2024 code takes (`compute_transition_scores` on `scores`).
`logprobs="model"` gives those of the model itself, at temperature 1, as lm-polygraph does. They are the text's alone:
as in both codes the end token has none, unless there is nothing else, or `end_token=True` asks for it; then their sum
is the logarithm of the whole response's probability.

At temperature 0 all responses to a question are equal: one is generated and given n times, its cost once. Its
log-probabilities are the model's own, since the distribution drawn from says nothing (all are 0).

What is under way when the reader stops is lost: one batch that is being drawn and one that waits.

Left out: several GPUs for one model, quantised weights, adapters, serving many users (see `vllm` and `openai`).
"""

from __future__ import annotations

import json
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
import transformers

from semantic_entropy.plugin import Request, Sample, SampleFailure, Sampler, errors
from semantic_entropy_plugins.models.checkpoints import model_identity
from semantic_entropy_plugins.models.loading import LoadedModel, load_model
from semantic_entropy_plugins.options import describe_component
from semantic_entropy_plugins.samplers.hf.hf_engine import Engine, Keep
from semantic_entropy_plugins.samplers.hf.token_draws import How
from semantic_entropy_plugins.samplers.sampling_options import (
    checked_logprobs,
    checked_seed,
    checked_stops,
    checked_temperature,
    checked_text,
    checked_top_p,
    checked_whole,
)
from semantic_entropy_plugins.samplers.sampling_prompts import TEMPLATE, Prompts
from semantic_entropy_plugins.samplers.sampling_thread import in_background


class HFSampler(Sampler):
    """Draws responses from a causal language model.

    A seed settles each response by itself: the i-th to a question is drawn under (seed, question, i), whoever shares
    its batch and however many are asked for. So more responses asked for later are others, and 4 are the first 4 of
    10. What batches do change is the rounding of the model's outputs, by which a token can tip over now and then,
    seldom in float32 and more often in half precision. torch's own generators are neither read nor set.

    Args:
        model: a causal language model on the Hugging Face hub, or a folder.
        temperature: 0 takes the likeliest token each time.
        top_p: draw from the fewest tokens whose probabilities come to this much; 1: from all.
        top_k: draw from the k likeliest tokens; None: from all, whatever the model's own generation settings say.
        max_tokens: new tokens of a response at most, reasoning included.
        seed: None: other responses each time.
        stop: a text, or several, before which a response ends.
        system: the system prompt, for a chat template.
        chat: whether the tokenizer's chat template writes the prompt; None: where it has one.
        template: the user's turn, or without a chat template the whole prompt, with {question} in it.
        chat_template_kwargs: more variables for the chat template, such as {"enable_thinking": False}.
        chat_template: Jinja text in place of the tokenizer's own chat template.
        logprobs: "drawn", of the distribution that was drawn from; "model", of the model's own; False: none.
        end_token: whether log-probabilities and entropies go on to the end token, which is their last then.
        token_entropies: keep the entropy at each token, of the distribution that `logprobs` names.
        hidden_states: keep the last layer's state at the text's last token: one more pass of the model for each batch.
        revision: a branch, tag or commit on the hub; None: its main branch.
        device: "cpu", "cuda", "cuda:1", ...; None: "cuda" where there is one, else "cpu".
        dtype: "float32", "bfloat16", "float16"; None: bfloat16 on a GPU that has it, else float16; float32 on a CPU.
        batch_tokens: responses in a batch times the tokens of the longest prompt and `max_tokens`; halved where memory
            runs out. None: a default for the device.
        allow_pickle: read pickled weights where the model has no others.
        compile: `torch.compile` the model.

    Raises:
        OptionError: an option cannot be, or there is no such model; says what there is.
        SamplingError: the model cannot be had now: no network, no permission, no space, no memory.
    """

    name = "hf"
    cache_identity = "semantic_entropy_plugins.hf_sampler:HFSampler"

    def __init__(
        self,
        model: str,
        *,
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
        logprobs: str | bool = "drawn",
        end_token: bool = False,
        token_entropies: bool = False,
        hidden_states: bool = False,
        revision: str | None = None,
        device: str | None = None,
        dtype: str | None = None,
        batch_tokens: int | None = None,
        allow_pickle: bool = False,
        compile: bool = False,  # noqa: A002  # the option's name, as users know it from torch
        _loaded: LoadedModel | None = None,
    ) -> None:
        under = checked_logprobs(self.name, logprobs)
        how = How(
            temperature=checked_temperature(self.name, temperature),
            top_p=checked_top_p(self.name, top_p),
            top_k=checked_whole(self.name, "top_k", top_k, optional=True),
            max_tokens=checked_whole(self.name, "max_tokens", max_tokens),
            stop=checked_stops(self.name, stop),
            seed=checked_seed(self.name, seed),
            own=under == "model",
            entropies=bool(token_entropies),
        )
        keep = Keep(bool(under), bool(end_token), bool(token_entropies), bool(hidden_states))
        checked_text(self.name, "system", system)
        checked_text(self.name, "chat_template", chat_template)
        checked_whole(self.name, "batch_tokens", batch_tokens, optional=True)
        loaded = _loaded or _load(model, revision, device, dtype, allow_pickle=allow_pickle, compiled=compile)
        prompts = Prompts(
            self.name,
            loaded.tokenizer,
            chat=chat,
            system=system,
            template=template,
            options=chat_template_kwargs,
            chat_template=chat_template,
        )
        self._model: LoadedModel | None = loaded
        self._more = {"batch_tokens": batch_tokens, "chat_template_kwargs": chat_template_kwargs}
        self._engine: Engine | None = Engine(loaded, prompts, how, keep, batch_tokens)
        self._dtype, self._commit = str(loaded.dtype).removeprefix("torch."), loaded.commit
        self._known = model_identity(model, loaded.commit)
        self._options = {
            "model": model,
            "temperature": how.temperature,
            "top_p": how.top_p,
            "top_k": top_k,
            "max_tokens": max_tokens,
            "seed": seed,
            "stop": how.stop or None,
            "system": system,
            "chat": chat,
            "template": template,
            "chat_template_kwargs": chat_template_kwargs and json.dumps(dict(chat_template_kwargs), sort_keys=True),
            "logprobs": under,
            "end_token": keep.end_token,
            "token_entropies": keep.entropies,
            "hidden_states": keep.hidden_states,
            "revision": revision,
            "dtype": dtype,
            **({} if chat_template is None else {"chat_template": chat_template}),
        }

    @property
    def settings(self) -> Hashable:
        return (self.name, *{**self._options, "model": self._known.key}.values(), self._dtype, self._commit)

    @property
    def versions(self) -> Mapping[str, str]:
        libraries = {"torch": torch.__version__, "transformers": transformers.__version__}
        return libraries if self._commit is None else {**libraries, self._known.shown: self._commit}

    @property
    def forward_tokens(self) -> int:
        """Tokens that have gone through the model so far, padding included."""
        return self._working.generation.tokens

    def describe(self) -> str:
        return describe_component(HFSampler, self.name, self._options)

    def stream(self, requests: Iterable[Request]) -> Iterator[tuple[Request, Sample | SampleFailure]]:
        engine = self._working
        return in_background(lambda halt: engine.batches(requests, halt), "semantic-entropy hf")

    def variant(self, **changes: Any) -> HFSampler:
        """A sampler of the same model, which is not loaded again, under other options (temperature, system, ...).

        Raises:
            OptionError: an option cannot be, or is one of the loaded model's: revision, device, dtype, compile.
        """
        if self._model is None:
            raise errors.SamplingError(f"{self.describe()} is closed: make a new one")
        if fixed := _FIXED.intersection(changes):
            raise errors.OptionError(f"hf: {min(fixed)} is settled when a model is loaded: make a new sampler")
        return HFSampler(**{**self._options, **self._more, **changes}, _loaded=self._model)

    def close(self) -> None:
        """Let go of the model, when what is being drawn has been; variants keep theirs."""
        self._engine = self._model = None
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    @property
    def _working(self) -> Engine:
        if self._engine is None:
            raise errors.SamplingError(f"{self.describe()} is closed: make a new one")
        return self._engine


_FIXED = frozenset(("model", "revision", "device", "dtype", "allow_pickle", "compile"))


def _load(
    model: str, revision: str | None, device: str | None, dtype: str | None, *, allow_pickle: bool, compiled: bool
) -> LoadedModel:
    try:
        loaded = load_model(
            "AutoModelForCausalLM",
            model,
            revision=revision,
            device=device,
            dtype=dtype,
            allow_pickle=allow_pickle,
            tokenizer_as_saved=True,
            purpose=HFSampler.name,
        )
    except errors.EquivalenceError as error:  # it cannot be had now
        raise errors.SamplingError(str(error)) from error
    if compiled:
        loaded.model.compile(dynamic=True)  # in place: `generate` of a wrapped model would call the one inside
    return loaded
