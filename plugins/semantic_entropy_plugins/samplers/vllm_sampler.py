"""Samples from a model on this machine by vLLM's offline engine.

Written against the source of vLLM 0.33.0 (`LLM`, `LLM.generate`, `SamplingParams`, `RequestOutput`) and checked against
its signatures; it has not been run on a GPU.

Prompts go in as tokens, so that a question too long for the window is found out here and fails alone. Requests are
taken a call at a time, and the engine batches what a call holds; meanwhile the reader judges the call before.

Log-probabilities, texts and reasoning are as in the sampler `hf`: of the distribution that was drawn from
(`logprobs_mode="processed_logprobs"`) or the model's own ("raw_logprobs", vLLM's default), of the text's tokens, the
end token left out. With a seed, the i-th response to a question is drawn under a seed of its own; without one, the
engine gets a new one each time, since vLLM's default (0) would draw the same again after a restart.

Left out: adapters, images, several engines; stopping inside a call (Ctrl-C ends the engine itself).
"""

from __future__ import annotations

import hashlib
import importlib
import json
import math
import secrets
import threading
from collections.abc import Generator, Hashable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from semantic_entropy.plugin import Request, Sample, SampleFailure, Sampler, errors
from semantic_entropy_plugins.models.checkpoints import folder_digest, model_identity
from semantic_entropy_plugins.models.loading import ProcessLock
from semantic_entropy_plugins.options import describe_component
from semantic_entropy_plugins.samplers.sampled_text import read
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
from semantic_entropy_plugins.samplers.sampling_requests import Asked, Outcome, asked
from semantic_entropy_plugins.samplers.sampling_thread import in_background

_FIXED = frozenset(("model", "revision", "dtype", "logprobs", "allow_pickle", "engine"))
_MODES = {"drawn": "processed_logprobs", "model": "raw_logprobs", False: "raw_logprobs"}
_OWN = {
    **dict.fromkeys(("model", "revision", "dtype", "seed"), "give it as the option of that name"),
    "logprobs_mode": "logprobs= sets it",
    "trust_remote_code": "no code comes with a model here",
    "load_format": "weights are safetensors; allow_pickle=True leaves the choice to vLLM",
}


class VLLMSampler(Sampler):
    """Draws responses from a causal language model that vLLM serves in this process.

    Args:
        model: a model on the Hugging Face hub, or a folder.
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
        end_token: whether log-probabilities go on to the end token, which is their last then.
        revision: a branch, tag or commit on the hub; None: its main branch.
        dtype: as vLLM takes it; None: its choice.
        per_call: responses in one call of the engine.
        allow_pickle: let vLLM read pickled weights where the model has no others.
        engine: more of vLLM's engine arguments, such as {"tensor_parallel_size": 2, "gpu_memory_utilization": 0.8,
            "max_model_len": 8192}.

    Raises:
        OptionError: an option cannot be.
        SamplingError: the engine does not start, or dies; says what vLLM says.
    """

    name = "vllm"
    cache_identity = "semantic_entropy_plugins.vllm_sampler:VLLMSampler"

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
        revision: str | None = None,
        dtype: str | None = None,
        per_call: int = 512,
        allow_pickle: bool = False,
        engine: Mapping[str, Any] | None = None,
        _llm: Any = None,
    ) -> None:
        under = checked_logprobs(self.name, logprobs)
        stops = checked_stops(self.name, stop)
        self._options = {
            "model": model,
            "temperature": checked_temperature(self.name, temperature),
            "top_p": checked_top_p(self.name, top_p),
            "top_k": checked_whole(self.name, "top_k", top_k, optional=True),
            "max_tokens": checked_whole(self.name, "max_tokens", max_tokens),
            "seed": checked_seed(self.name, seed),
            "stop": stops or None,
            "system": checked_text(self.name, "system", system),
            "chat": chat,
            "template": template,
            "chat_template_kwargs": chat_template_kwargs and json.dumps(dict(chat_template_kwargs), sort_keys=True),
            "logprobs": under,
            "end_token": bool(end_token),
            "revision": revision,
            "dtype": dtype,
            **(
                {}
                if chat_template is None
                else {"chat_template": checked_text(self.name, "chat_template", chat_template)}
            ),
        }
        self._more = {"per_call": per_call, "chat_template_kwargs": chat_template_kwargs}
        self._stops, self._per_call = stops, checked_whole(self.name, "per_call", per_call)
        more = _engine_options(engine)
        vllm = importlib.import_module("vllm")
        self._params = partial(
            vllm.SamplingParams,
            temperature=temperature,
            top_p=top_p,
            top_k=top_k or 0,
            max_tokens=max_tokens,
            logprobs=0 if under else None,  # of the token that was drawn, and of no other
            stop=list(stops) or None,
        )
        _checked(self._params)
        self._llm: Any = _llm or _started(
            vllm,
            model=model,
            revision=revision,
            seed=secrets.randbits(31) if seed is None else 0,
            logprobs_mode=_MODES[under],
            trust_remote_code=False,
            **({} if dtype is None else {"dtype": dtype}),
            **({} if allow_pickle else {"load_format": "safetensors"}),
            **more,
        )
        config = self._llm.llm_engine.model_config
        self._window: int = config.max_model_len
        self._commit: str | None = _commit(model, config)
        self._known = model_identity(model, self._commit)
        self._dtype = str(getattr(config, "dtype", dtype)).removeprefix("torch.")
        self._tokenizer = self._llm.get_tokenizer()
        self._prompts = Prompts(
            self.name,
            self._tokenizer,
            chat=chat,
            system=system,
            template=template,
            options=chat_template_kwargs,
            chat_template=chat_template,
        )
        self._lock = ProcessLock()

    @property
    def settings(self) -> Hashable:
        return (self.name, *{**self._options, "model": self._known.key}.values(), self._dtype, self._commit)

    @property
    def versions(self) -> Mapping[str, str]:
        commit = {self._known.shown: self._commit} if self._commit else {}
        try:
            return {"vllm": version("vllm"), **commit}
        except PackageNotFoundError:  # built from source, without its metadata
            return commit

    def describe(self) -> str:
        return describe_component(VLLMSampler, self.name, self._options)

    def stream(self, requests: Iterable[Request]) -> Iterator[tuple[Request, Sample | SampleFailure]]:
        if self._llm is None:
            raise errors.SamplingError(f"{self.describe()} is closed: make a new one")
        return in_background(lambda halt: self._calls(self._llm, requests, halt), "semantic-entropy vllm")

    def variant(self, **changes: Any) -> VLLMSampler:
        """A sampler on the same engine, which is not started again, under other options (temperature, system, ...).

        Raises:
            OptionError: an option cannot be, or is one of the engine's: revision, dtype, logprobs, engine.
        """
        if self._llm is None:
            raise errors.SamplingError(f"{self.describe()} is closed: make a new one")
        if fixed := _FIXED.intersection(changes):
            raise errors.OptionError(f"vllm: {min(fixed)} is settled when the engine starts: make a new sampler")
        made = VLLMSampler(**{**self._options, **self._more, **changes}, _llm=self._llm)
        made._lock = self._lock  # one engine, one call at a time
        return made

    def close(self) -> None:
        """Let go of the engine, which gives its memory back when nothing else holds it, such as a variant."""
        self._llm = None

    def _calls(
        self, llm: Any, requests: Iterable[Request], halt: threading.Event
    ) -> Generator[list[Outcome], None, None]:
        """The outcomes of one call of the engine after the other. Runs in a thread of its own."""
        waiting: list[Asked] = []
        greedy = not self._options["temperature"]
        for request in requests:
            new = int(self._options["max_tokens"])
            one = asked(request, self._prompts, window=self._window, new=new, greedy=greedy)
            if one.problem:
                yield [(request, SampleFailure(one.problem))]
                continue
            waiting.append(one)
            if sum(each.left for each in waiting) >= self._per_call:
                yield self._call(llm, waiting, halt)
                waiting = []
        if waiting:
            yield self._call(llm, waiting, halt)

    def _call(self, llm: Any, waiting: Sequence[Asked], halt: threading.Event) -> list[Outcome]:
        prompts = [{"prompt_token_ids": one.prompt} for one in waiting]
        params = [self._params(n=one.left, seed=self._seed(one.request)) for one in waiting]
        with self._lock.current:
            if halt.is_set():
                return []
            try:
                replies = llm.generate(prompts, params, use_tqdm=False)
            except Exception as error:  # what the engine raises differs by version, and none of it is about a question
                raise errors.SamplingError(
                    f"{self.describe()} stopped: {type(error).__name__}: {' '.join(str(error).split())[:500]}. What "
                    "vLLM logged before says more; make a new sampler to go on"
                ) from error
        return [outcome for one, reply in zip(waiting, replies, strict=True) for outcome in self._outcomes(one, reply)]

    def _outcomes(self, one: Asked, reply: Any) -> list[Outcome]:
        outcomes: list[Outcome] = []
        for choice in list(reply.outputs)[: one.left]:
            outcomes += one.take(self._sample(choice, opened=one.opened), len(choice.token_ids))
        while one.left:
            outcomes += one.take("vLLM gave fewer responses than asked for", 0)
        return outcomes

    def _sample(self, choice: Any, *, opened: bool) -> Sample | str:
        if choice.finish_reason not in ("stop", "length", "repetition"):
            return f"vLLM ended a response with {choice.finish_reason!r}"
        ids = list(choice.token_ids)
        ended = choice.finish_reason == "stop" and not isinstance(choice.stop_reason, str)
        response = read(self._decode, ids, ended=ended, stops=self._stops, opened=opened)
        logprobs = None
        if choice.logprobs is not None:
            every = [at[token].logprob for at, token in zip(choice.logprobs, ids, strict=True)]
            if not all(map(math.isfinite, every)):
                return "the model's output is not a number; dtype='float32' may help"
            logprobs = tuple(every[response.kept(len(ids), whole=bool(self._options["end_token"]))]) or None
        return Sample(response.text, logprobs, choice.finish_reason, response.reasoning or None)

    def _decode(self, ids: Sequence[int]) -> str:
        text: str = self._tokenizer.decode(ids, skip_special_tokens=True)
        return text

    def _seed(self, request: Request) -> int | None:
        """Of the first response: vLLM adds 1 for each further one, so that the i-th has its own, always the same."""
        seed = self._options["seed"]
        if seed is None:
            return None
        whole = hashlib.sha256(repr((seed, request.question)).encode()).digest()
        return int.from_bytes(whole[:7], "big") + request.first


def _engine_options(engine: Mapping[str, Any] | None) -> dict[str, Any]:
    more = dict(engine or {})
    if taken := sorted(_OWN.keys() & more.keys()):
        raise errors.OptionError(f"vllm: engine holds {taken[0]!r}: {_OWN[taken[0]]}")
    return more


def _checked(params: Any) -> None:
    try:
        params()
    except Exception as error:  # ValueError, or in newer versions an error of vLLM's own
        raise errors.OptionError(f"vllm: vLLM refuses these options: {error}") from error


def _started(vllm: Any, **arguments: Any) -> Any:
    said = f"vllm: model={arguments['model']!r}"
    try:
        return vllm.LLM(**arguments)
    except TypeError as error:
        raise errors.OptionError(f"{said}: vLLM does not take these engine arguments: {error}") from error
    except Exception as error:  # of many libraries, in this process or the engine's own
        raise errors.SamplingError(
            f"{said}: the engine does not start: {type(error).__name__}: {' '.join(str(error).split())[:500]}. vLLM "
            "needs a GPU that it knows, and room on it: engine={'gpu_memory_utilization': 0.8, 'max_model_len': 4096} "
            "takes less. The sampler hf runs on a CPU, too"
        ) from error


def _commit(model: str, config: Any) -> str | None:
    """Of the hub's repository, as transformers notes it in a configuration; of a folder, a digest of its content."""
    folder = Path(model).expanduser()
    if folder.is_dir():
        return folder_digest(folder)
    commit: str | None = getattr(getattr(config, "hf_config", None), "_commit_hash", None)
    return commit
