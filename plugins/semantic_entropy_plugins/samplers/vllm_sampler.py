"""Samples from a model in this process, run by vLLM's offline engine.

Written against the source of vLLM 0.33.0 (`LLM`, `LLM.generate`, `SamplingParams`, `RequestOutput`), and checked
against its signatures; not yet run on a GPU.

The engine gets prompts as tokens. So the sampler finds a prompt that is too long, and only this prompt fails. One call
of the engine contains many requests, which the engine batches. During the call, the reader judges the samples of the
previous call.

Log-probabilities, texts and reasoning are the same as for the sampler `hf`. Log-probabilities belong to the
distribution that the tokens are drawn from (`logprobs_mode="processed_logprobs"`) or to the model ("raw_logprobs",
vLLM's default). They cover the tokens of the text, without the end token. With a seed, every response to a question has
its own seed. Without a seed, each new engine gets a random seed, because with vLLM's default seed (0) a restarted
engine would draw the same samples again.

Left out: several adapters, images, several engines; stopping during a call of the engine (Ctrl-C ends the engine).
"""

from __future__ import annotations

import hashlib
import importlib
import math
import secrets
import threading
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from semantic_entropy.plugin import Request, Sample, SampleFailure, errors
from semantic_entropy_plugins.models.adapters import Adapter, find_adapter
from semantic_entropy_plugins.models.checkpoints import folder_digest
from semantic_entropy_plugins.models.loading import ProcessLock
from semantic_entropy_plugins.options import checked_number, describe_component
from semantic_entropy_plugins.samplers.local_sampler import NOT_A_NUMBER, LocalSampler
from semantic_entropy_plugins.samplers.sampled_text import read_response
from semantic_entropy_plugins.samplers.sampling_prompts import TEMPLATE
from semantic_entropy_plugins.samplers.sampling_requests import OpenRequest, SampleOutcome, start_request
from semantic_entropy_plugins.samplers.sampling_thread import in_background

_LOGPROBS_MODES = {"drawn": "processed_logprobs", "model": "raw_logprobs", False: "raw_logprobs"}
_LORA_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)  # values of vLLM's max_lora_rank
_NOT_IN_ENGINE = {
    **dict.fromkeys(("model", "revision", "dtype", "seed"), "use the option of the same name"),
    "logprobs_mode": "use logprobs=",
    "trust_remote_code": "code of the model's author is never run",
    "load_format": "weights are safetensors; with allow_pickle=True vLLM decides",
}
"""Engine arguments that `engine` may not hold, and what to use instead."""


class VLLMSampler(LocalSampler):
    """Draws responses from a causal language model that vLLM runs in this process.

    Args:
        model: a model on the Hugging Face hub, or a folder. A folder with a LoRA adapter of peft is used with its base
            model.
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
        end_token: whether the log-probabilities include the end token, as the last token.
        revision: a branch, tag or commit on the hub; None: the main branch.
        dtype: a precision that vLLM knows; None: vLLM decides.
        per_call: the number of responses in one call of the engine.
        allow_pickle: let vLLM read pickled weights if the model has no others.
        engine: more engine arguments of vLLM, such as {"tensor_parallel_size": 2, "gpu_memory_utilization": 0.8,
            "max_model_len": 8192}.

    Raises:
        OptionError: an option is not valid.
        SamplingError: the engine does not start, or stops; the message contains vLLM's message.
    """

    name = "vllm"
    cache_identity = "semantic_entropy_plugins.vllm_sampler:VLLMSampler"
    _model_options = frozenset(("model", "base_model", "revision", "dtype", "logprobs", "allow_pickle", "engine"))

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
        revision: str | None = None,
        dtype: str | None = None,
        per_call: int = 512,
        allow_pickle: bool = False,
        engine: Mapping[str, Any] | None = None,
        _llm: Any = None,
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
            revision=revision,
            dtype=dtype,
        )
        options = self._options
        self._stops: tuple[str, ...] = options["stop"] or ()
        self._per_call = checked_number(self.name, "per_call", per_call, 1, whole=True)
        adapter = find_adapter(model, base_model, revision, self.name)
        engine_arguments = {**_adapter_arguments(adapter), **_checked_engine(engine)}
        vllm = importlib.import_module("vllm")
        self._params = partial(
            vllm.SamplingParams,
            temperature=options["temperature"],
            top_p=options["top_p"],
            top_k=options["top_k"] or 0,
            max_tokens=options["max_tokens"],
            logprobs=0 if options["logprobs"] else None,  # of the drawn token only
            stop=list(self._stops) or None,
        )
        _check_params(self._params)
        self._llm: Any = _llm or _start_engine(
            vllm,
            model=adapter.base if adapter else model,
            revision=adapter.revision if adapter else revision,
            seed=secrets.randbits(31) if seed is None else 0,
            logprobs_mode=_LOGPROBS_MODES[options["logprobs"]],
            trust_remote_code=False,
            **({} if dtype is None else {"dtype": dtype}),
            **({} if allow_pickle else {"load_format": "safetensors"}),
            **engine_arguments,
        )
        config = self._llm.llm_engine.model_config
        self._window: int = config.max_model_len
        commit = _commit(adapter.base if adapter else model, config)
        self._set_model(getattr(config, "dtype", dtype), adapter.identity(commit) if adapter else commit)
        self._lora_request = _lora_request(adapter)
        self._tokenizer = self._llm.get_tokenizer()
        self._prompts = self._prompt_writer(self._tokenizer)
        self._lock = ProcessLock()

    def _library_versions(self) -> Mapping[str, str]:
        try:
            return {"vllm": version("vllm")}
        except PackageNotFoundError:  # built from source, without its metadata
            return {}

    def describe(self) -> str:
        return describe_component(VLLMSampler, self.name, self._options)

    def stream(self, requests: Iterable[Request]) -> Iterator[tuple[Request, Sample | SampleFailure]]:
        llm = self._open_engine()
        return in_background(lambda cancelled: self._calls(llm, requests, cancelled), "semantic-entropy vllm")

    def variant(self, **changes: Any) -> VLLMSampler:
        """A sampler with the same engine and other options (temperature, system, ...). The engine is not restarted.

        Raises:
            OptionError: an option is not valid, or belongs to the engine: revision, dtype, logprobs, engine.
        """
        llm = self._open_engine()
        variant = VLLMSampler(**{"per_call": self._per_call, **self._variant_options(changes)}, _llm=llm)
        variant._lock = self._lock  # one engine, one call at a time
        return variant

    def close(self) -> None:
        """Release this sampler's reference to the engine. The memory of the engine is freed when no variant uses it."""
        self._llm = None

    def _open_engine(self) -> Any:
        if self._llm is None:
            raise self._closed_error()
        return self._llm

    def _calls(
        self, llm: Any, requests: Iterable[Request], cancelled: threading.Event
    ) -> Generator[list[SampleOutcome], None, None]:
        """Yields the outcomes of each call of the engine. Runs in a separate thread."""
        batch: list[OpenRequest] = []
        max_tokens, greedy = self._options["max_tokens"], not self._options["temperature"]
        for request in requests:
            started = start_request(request, self._prompts, window=self._window, max_tokens=max_tokens, greedy=greedy)
            if started.problem:
                yield [(request, SampleFailure(started.problem))]
                continue
            batch.append(started)
            if sum(each.missing for each in batch) >= self._per_call:
                yield self._call(llm, batch, cancelled)
                batch = []
        if batch:
            yield self._call(llm, batch, cancelled)

    def _call(self, llm: Any, batch: Sequence[OpenRequest], cancelled: threading.Event) -> list[SampleOutcome]:
        prompts = [{"prompt_token_ids": each.prompt} for each in batch]
        params = [self._params(n=each.missing, seed=self._seed(each.request)) for each in batch]
        with self._lock.current:
            if cancelled.is_set():
                return []
            try:
                replies = llm.generate(prompts, params, use_tqdm=False, lora_request=self._lora_request)
            except Exception as error:  # the type depends on vLLM's version; no error concerns a single question
                raise errors.SamplingError(
                    f"{self.describe()} stopped: {_summary(error)}. vLLM's log above says more; make a new sampler to "
                    "continue"
                ) from error
        return [outcome for each, reply in zip(batch, replies, strict=True) for outcome in self._outcomes(each, reply)]

    def _outcomes(self, open_request: OpenRequest, reply: Any) -> list[SampleOutcome]:
        outcomes: list[SampleOutcome] = []
        for choice in list(reply.outputs)[: open_request.missing]:
            sample = self._sample(choice, starts_in_reasoning=open_request.starts_in_reasoning)
            outcomes += open_request.add(sample, len(choice.token_ids))
        while open_request.missing:
            outcomes += open_request.add("vLLM returned fewer responses than requested", 0)
        return outcomes

    def _sample(self, choice: Any, *, starts_in_reasoning: bool) -> Sample | str:
        """The sample, or the reason why there is none."""
        if choice.finish_reason not in ("stop", "length", "repetition"):
            return f"vLLM ended a response with {choice.finish_reason!r}"
        ids = list(choice.token_ids)
        ended = choice.finish_reason == "stop" and not isinstance(choice.stop_reason, str)
        response = read_response(
            self._decode, ids, ended=ended, stops=self._stops, starts_in_reasoning=starts_in_reasoning
        )
        logprobs = None
        if choice.logprobs is not None:
            values = [at[token].logprob for at, token in zip(choice.logprobs, ids, strict=True)]
            if not all(map(math.isfinite, values)):
                return NOT_A_NUMBER
            logprobs = tuple(values[response.logprob_slice(len(ids), with_end=self._options["end_token"])]) or None
        return Sample(response.text, logprobs, choice.finish_reason, response.reasoning or None)

    def _decode(self, ids: Sequence[int]) -> str:
        text: str = self._tokenizer.decode(ids, skip_special_tokens=True)
        return text

    def _seed(self, request: Request) -> int | None:
        """The seed of the first response. vLLM adds 1 for each further response, so every response has its own seed."""
        seed = self._options["seed"]
        if seed is None:
            return None
        digest = hashlib.sha256(repr((seed, request.question)).encode()).digest()
        return int.from_bytes(digest[:7], "big") + request.first


def _checked_engine(engine: Mapping[str, Any] | None) -> dict[str, Any]:
    arguments = dict(engine or {})
    if used := sorted(_NOT_IN_ENGINE.keys() & arguments.keys()):
        raise errors.OptionError(f"vllm: engine holds {used[0]!r}: {_NOT_IN_ENGINE[used[0]]}")
    return arguments


def _adapter_arguments(adapter: Adapter | None) -> dict[str, Any]:
    """The engine arguments for an adapter. Raises OptionError if vLLM cannot serve it."""
    if adapter is None:
        return {}
    subject = f"vllm: model={str(adapter.folder)!r}"
    if adapter.modules_to_save:
        raise errors.OptionError(
            f"{subject} replaces the layers {', '.join(adapter.modules_to_save)} (modules_to_save), which vLLM does "
            "not support: merge the adapter into its base model, or use the sampler hf"
        )
    fitting = [rank for rank in _LORA_RANKS if rank >= adapter.rank]
    if not fitting:
        raise errors.OptionError(f"{subject} has rank {adapter.rank}: vLLM supports ranks up to {_LORA_RANKS[-1]}")
    tokenizer = {"tokenizer": str(adapter.folder)} if adapter.has_tokenizer() else {}
    return {"enable_lora": True, "max_lora_rank": fitting[0], **tokenizer}


def _lora_request(adapter: Adapter | None) -> Any:
    """VLLM's reference to the adapter; None if there is no adapter."""
    if adapter is None:
        return None
    return importlib.import_module("vllm.lora.request").LoRARequest("adapter", 1, str(adapter.folder))


def _check_params(params: Any) -> None:
    try:
        params()
    except Exception as error:  # ValueError, or in newer versions an error of vLLM's own
        raise errors.OptionError(f"vllm: vLLM does not accept these options: {error}") from error


def _start_engine(vllm: Any, **arguments: Any) -> Any:
    subject = f"vllm: model={arguments['model']!r}"
    try:
        return vllm.LLM(**arguments)
    except TypeError as error:
        raise errors.OptionError(f"{subject}: vLLM does not accept these engine arguments: {error}") from error
    except Exception as error:  # raised by many libraries, in this process or in the engine's
        raise errors.SamplingError(
            f"{subject}: the engine does not start: {_summary(error)}. vLLM needs a supported GPU with enough free "
            "memory; engine={'gpu_memory_utilization': 0.8, 'max_model_len': 4096} needs less. The sampler hf also "
            "runs on a CPU"
        ) from error


def _summary(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:500]}"


def _commit(model: str, config: Any) -> str | None:
    """The commit on the hub, which transformers writes into a configuration; for a folder, a digest of its content."""
    folder = Path(model).expanduser()
    if folder.is_dir():
        return folder_digest(folder)
    commit: str | None = getattr(getattr(config, "hf_config", None), "_commit_hash", None)
    return commit
