"""A fake of vLLM 0.33.0 for tests without a GPU: the classes that the sampler uses, with their fields and errors.

Written from the source of vLLM (`vllm/entrypoints/llm.py`, `sampling_params.py`, `outputs.py`, `logprobs.py`); not
compared with a running engine. The fake draws digits, with the seed that vLLM gives to each of n responses.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

ENGINE_ARGUMENTS = (  # some fields of EngineArgs
    *("logprobs_mode", "load_format", "max_model_len", "enforce_eager", "enable_lora", "max_lora_rank", "tokenizer"),
)


class VLLMValidationError(Exception):
    pass


@dataclass
class SamplingParams:
    n: int = 1
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    seed: int | None = None
    stop: str | list[str] | None = None
    max_tokens: int | None = 16
    logprobs: int | None = None

    def __post_init__(self) -> None:
        if self.temperature > 2.0:
            raise VLLMValidationError(f"temperature must be in [0, 2], got {self.temperature}.")
        if self.temperature == 0 and self.n > 1:
            raise VLLMValidationError(f"n must be 1 when using greedy sampling, got {self.n}.")


@dataclass
class Logprob:
    logprob: float
    rank: int | None = None
    decoded_token: str | None = None


@dataclass
class CompletionOutput:
    index: int
    text: str
    token_ids: list[int]
    cumulative_logprob: float | None
    logprobs: list[dict[int, Logprob]] | None
    finish_reason: str | None = None
    stop_reason: int | str | None = None


@dataclass
class RequestOutput:
    request_id: str
    prompt_token_ids: list[int]
    outputs: list[CompletionOutput]
    finished: bool = True


@dataclass
class ModelConfig:
    max_model_len: int
    dtype: str = "torch.bfloat16"
    hf_config: Any = None


@dataclass
class Engine:
    model_config: ModelConfig


@dataclass
class Script:
    """What the next engine does. says: the responses, one after the other ("": only an end token); None: digits."""

    tokenizer: Any
    says: list[str] | None = None
    finish: str = "stop"
    dies_after: int | None = None
    fewer: int = 0
    started: list[dict[str, Any]] = field(default_factory=list)
    calls: list[tuple[list[Any], list[SamplingParams]]] = field(default_factory=list)
    lora_requests: list[Any] = field(default_factory=list)


@dataclass(frozen=True)
class LoRARequest:
    lora_name: str
    lora_int_id: int
    lora_path: str


def lora_module() -> Any:
    """A module that replaces `vllm.lora.request`."""
    made = type(random)("vllm.lora.request")
    made.LoRARequest = LoRARequest
    return made


def module(script: Script) -> Any:
    """A module that replaces `vllm`."""
    made = type(random)("vllm")
    made.SamplingParams = SamplingParams

    class LLM:
        def __init__(
            self,
            model: str,
            *,
            trust_remote_code: bool = False,
            tensor_parallel_size: int = 1,
            dtype: str = "auto",
            revision: str | None = None,
            seed: int = 0,
            gpu_memory_utilization: float = 0.92,
            **kwargs: Any,
        ) -> None:
            if unknown := set(kwargs).difference(ENGINE_ARGUMENTS):
                raise TypeError(f"EngineArgs.__init__() got an unexpected keyword argument {min(unknown)!r}")
            if gpu_memory_utilization > 1:
                raise RuntimeError("Engine core initialization failed. See root cause above.")
            script.started.append({"model": model, "revision": revision, "dtype": dtype, "seed": seed, **kwargs})
            self.llm_engine = Engine(ModelConfig(kwargs.get("max_model_len", 512)))
            self._engine_random = random.Random(seed)

        def get_tokenizer(self) -> Any:
            return script.tokenizer

        def generate(
            self,
            prompts: list[Any],
            sampling_params: list[SamplingParams],
            *,
            use_tqdm: bool = True,
            lora_request: LoRARequest | None = None,
        ) -> list[RequestOutput]:
            assert len(prompts) == len(sampling_params)
            assert not use_tqdm
            script.calls.append((prompts, sampling_params))
            script.lora_requests.append(lora_request)
            if script.dies_after is not None and len(script.calls) > script.dies_after:
                raise RuntimeError("EngineCore encountered an issue. See stack trace (above) for the root cause.")
            return [
                RequestOutput(
                    str(number),
                    prompt["prompt_token_ids"],
                    [self._respond(params, i) for i in range(params.n - script.fewer)],
                )
                for number, (prompt, params) in enumerate(zip(prompts, sampling_params, strict=True))
            ]

        def _respond(self, params: SamplingParams, index: int) -> CompletionOutput:
            source = self._engine_random if params.seed is None else random.Random(params.seed + index)
            text = script.says.pop(0) if script.says else "".join(source.choices("0123456789", k=3))
            ids = script.tokenizer(text, add_special_tokens=False)["input_ids"]
            stopped = next((stop for stop in params.stop or [] if stop in text), None)
            ids += [script.tokenizer.eos_token_id] if script.finish == "stop" and not stopped else []
            logprobs = None
            if params.logprobs is not None:
                logprobs = [{token: Logprob(-0.5 - place)} for place, token in enumerate(ids)]
            return CompletionOutput(index, text, ids, None, logprobs, script.finish, stopped)

    made.LLM = LLM
    return made
