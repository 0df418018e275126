"""Estimate the memory that a run needs on each GPU. Only the first step of a run shows the true memory.

N: number of weights; T: number of trained weights; w: bytes per stored weight (4, or 2 for bf16); b: bytes per computed
number (2 for bf16, 4 for fp32); P: number of processes; s: tokens of a backward pass; s_c: completion tokens of a
backward pass; h: hidden size; L: number of layers; V: size of the vocabulary; k: width of a token's keys in a layer.

    weights      w N        gradients  w T        Adam's two moments  2 w T

    ddp          weights, gradients and moments on each GPU; with several GPUs, the gradients are also in communication
                 buckets
    fsdp2        (weights + gradients + moments) / P, and two gathered layers during computation
    zero3        16 T / P, and two gathered layers: DeepSpeed has 12 bytes per weight for fp32 weights and moments,
                 2 for computed weights and 2 for gradients (Rajbhandari et al. 2020, ZeRO, section 3.1)

    activations  with checkpointing, the input of each layer, b s h, and the activations of one layer, 17 b s h
                 (Korthikanti et al. 2022, table 2, without the attention matrix, which fused attention does not keep);
                 without checkpointing, 17 b s h per layer
    logits       (b + 8) s_c V: computed logits, fp32 logits for the softmax, and the gradient of the logits
    rollouts     keys and values of all completions that a process generates together: 2 b L k per token. They are freed
                 before the loss is computed, so the estimate contains either the rollouts or activations and logits,
                 whichever is larger. vLLM in the same process needs its configured share of the GPU
    judge        the weights of each judge with a model, in bf16, on each GPU. A judge that clusters and grades with the
                 same options is loaded once; two different judges are two models

The estimate leaves out fragmentation, CUDA itself (about 1 GB) and other programs; the share `RESERVE` of the GPU stays
free for these.

The number of weights is computed from a config.json on this machine, for a decoder of transformers (Qwen2, Llama,
Mistral). Without this file, the section `check` gives the number: in a recipe, that of the recipe's own model. With
intermediate size i, each layer has 2 h^2 weights for q and o, 2 h k for k and v, and 3 h i for the MLP. The embeddings
count twice if they are not tied. Norms and biases are less than a thousandth, and are left out.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from empo_rl.check.findings import GIB, CheckFinding, format_gib, ok, problem, unchecked
from empo_rl.config import Config
from empo_rl.config.batch_layout import ASSUMED_PROMPT_TOKENS, sequences_per_generation, sequences_per_pass

RESERVE = 0.1  # share of the memory of a GPU that stays free
JUDGE_WEIGHTS = {"verifier": 1.54e9, "nli": 4.06e8, "embedding": 2.27e7}  # of the default model of each judge
QUERIES_PER_KEY = 4  # query heads per key head, if the shape has no `keys`; the recipes have 3 to 8
LORA_WIDTH = 25  # all-linear: r x 25 x hidden weights per layer (Qwen2.5-7B: 2+2+2.3 of attention, 19 of the MLP)


@dataclass(frozen=True, slots=True)
class Shape:
    """The size of a model. A value None is not known.

    Attributes:
        parameters: number of all weights.
        source: the source of these numbers: a file, or the section `check`.
    """

    parameters: float
    hidden: int | None
    layers: int | None
    vocabulary: int | None
    source: str
    keys: int | None = None  # the width of a token's keys in one layer


def model_shape(config: Config) -> Shape | None:
    """The size of the model; None if neither the section `check` nor a file on this machine has the size."""
    if (found := _shape_of(config.model, config.revision)) is not None:
        return found
    given = config.check
    if given.parameters is None:
        return None
    return Shape(given.parameters, given.hidden, given.layers, given.vocabulary, "the section check", given.keys)


def trained_weights(config: Config, shape: Shape) -> float:
    """The number of trained weights: all weights, or with LoRA the weights of the adapters."""
    if config.lora is None:
        return shape.parameters
    return float(LORA_WIDTH * config.lora.r * (shape.hidden or 4096) * (shape.layers or 32))


def findings(config: Config, shape: Shape | None) -> Iterator[CheckFinding]:
    """Compare the estimate with the memory of the GPU, if the memory of the GPU is known."""
    if config.model == "demo":
        return
    if shape is None:
        yield unchecked(
            "memory",
            f"the size of {config.model} is not known here: give check.parameters, .hidden, .layers, .vocabulary",
        )
        return
    parts = estimate(config, shape)
    total = sum(parts.values())
    listed = " + ".join(f"{name} {value / GIB:.1f}" for name, value in parts.items())
    text = f"about {format_gib(total)} a GPU under {config.launch.strategy} ({listed}; {shape.source})"
    device = config.check.device_gib or _device_gib()
    if device is None:
        yield ok("memory", text)
        yield unchecked("whether that fits", "this machine has no GPU, and check.device_gib is not given")
    elif total > device * GIB * (1 - RESERVE):
        yield problem("memory", f"{text}: more than {device:g} GiB less a tenth. {_advice(config)}")
    else:
        yield ok("memory", f"{text}, of {device:g} GiB")


def estimate(config: Config, shape: Shape) -> dict[str, float]:
    """Name of a part, such as "logits" -> bytes of this part on one GPU."""
    shards = 1 if config.launch.strategy == "ddp" else config.launch.processes
    parts = {"weights and optimizer": _weights_and_optimizer(config, shape) / shards}
    if shape.hidden and shape.layers and shape.vocabulary:
        if shards > 1:
            parts["whole layers"] = 2 * 2 * shape.parameters / shape.layers
        sequences, completion = sequences_per_pass(config), _completion_tokens(config)
        loss = {
            "activations": _activations(config, shape.hidden, shape.layers),
            "logits": (_computed_bytes(config) + 8.0) * sequences * completion * shape.vocabulary,
        }
        rollouts = _rollouts(config, shape)
        parts |= loss if sum(loss.values()) >= rollouts else {"rollouts": rollouts}
    if judges := _judges(config):
        parts["judge" if len(judges) == 1 else f"{len(judges)} judges"] = sum(judges)
    if config.rollout.engine == "vllm-colocate":
        parts["vLLM"] = config.rollout.vllm.gpu_memory * (config.check.device_gib or _device_gib() or 80.0) * GIB
    return parts


def _judges(config: Config) -> list[float]:
    """The bytes of the weights of each judge that loads a model onto the GPU.

    A model that is neither the default nor on this machine counts as large as the default.
    """
    empo = config.empo
    judges = [(empo.equivalence, empo.equivalence_options)]
    if empo.grader is not None and (empo.grader, empo.grader_options) != judges[0]:
        judges.append((empo.grader, empo.grader_options))
    found = []
    for name, options in judges if config.method != "sft" else []:
        if name in JUDGE_WEIGHTS and options.get("device") != "cpu":
            shape = _shape_of(str(options["model"])) if "model" in options else None
            weights = JUDGE_WEIGHTS[name] if shape is None else shape.parameters
            found.append(weights * (4 if options.get("dtype") == "float32" else 2))
    return found


def _weights_and_optimizer(config: Config, shape: Shape) -> float:
    width = 2 if config.weights_precision() == "bf16" else 4
    count = trained_weights(config, shape)
    if config.launch.strategy == "zero3":
        # the frozen model under LoRA, or the reference model of online DPO
        has_second_model = config.lora is not None or config.method == "online_dpo"
        return 16 * count + (2 * shape.parameters if has_second_model else 0)
    buckets = config.launch.strategy == "ddp" and config.launch.processes > 1
    if config.lora is not None:  # peft keeps adapters in fp32
        return _frozen_bytes(config, shape, width) + (20 if buckets else 16) * count
    reference = width * shape.parameters if config.method == "online_dpo" else 0
    return (5 if buckets else 4) * width * count + reference


def _frozen_bytes(config: Config, shape: Shape, width: int) -> float:
    """The bytes of the model under LoRA. width: bytes of a weight that is not quantized.

    In 4 bits, each block of 64 weights has a scale of 32 bits, or of 8 bits and a share of 32 / 256 bits with double
    quantization (Dettmers et al. 2023, section 3). The embeddings and the output layer are not quantized.
    """
    if config.lora is None or not config.lora.load_in_4bit:
        return width * shape.parameters
    whole = 2.0 * (shape.vocabulary or 0) * (shape.hidden or 0)
    scale = (8 + 32 / 256) / 64 if config.lora.bnb_4bit_use_double_quant else 32 / 64
    return width * whole + (4 + scale) / 8 * max(0.0, shape.parameters - whole)


def _computed_bytes(config: Config) -> int:
    return 4 if config.training.precision == "fp32" else 2


def _activations(config: Config, hidden: int, layers: int) -> float:
    tokens = sequences_per_pass(config) * (_prompt_tokens(config) + _completion_tokens(config))
    if config.training.gradient_checkpointing:
        return float(_computed_bytes(config) * tokens * hidden * (layers + 17))
    return float(17 * _computed_bytes(config) * tokens * hidden * layers)


def _rollouts(config: Config, shape: Shape) -> float:
    if config.method == "sft" or config.rollout.engine != "transformers" or not (shape.hidden and shape.layers):
        return 0.0
    keys = shape.keys or shape.hidden / QUERIES_PER_KEY
    tokens = sequences_per_generation(config) * (_prompt_tokens(config) + _completion_tokens(config))
    return 2.0 * _computed_bytes(config) * tokens * keys * shape.layers


def _prompt_tokens(config: Config) -> int:
    return 0 if config.method == "sft" else config.data.max_prompt_tokens or ASSUMED_PROMPT_TOKENS


def _completion_tokens(config: Config) -> int:
    return config.sft.max_tokens if config.method == "sft" else config.rollout.max_completion_tokens


def _advice(config: Config) -> str:
    ways = []
    if config.training.prompts_per_micro_batch > 1:
        ways.append("training.prompts_per_micro_batch=1")
    elif config.method == "empo" and config.training.completions_per_pass is None:
        ways.append("training.completions_per_pass, a divisor of rollout.num_generations")
    if config.launch.strategy == "ddp":
        ways.append("launch.strategy=fsdp2 with more processes")
    else:
        ways.append("more processes")
    if config.rollout.engine == "transformers" and config.method == "empo":
        ways.append("rollout.engine=vllm-server")
    if not config.training.gradient_checkpointing:
        ways.append("training.gradient_checkpointing=true")
    return f"Try {', or '.join([*ways, 'lora.r=16', 'a smaller rollout.max_completion_tokens'])}."


def _device_gib() -> float | None:
    """The memory of the smallest GPU that nvidia-smi lists; None without a GPU, or if the GPUs are hidden."""
    if os.environ.get("CUDA_VISIBLE_DEVICES") == "" or shutil.which("nvidia-smi") is None:
        return None
    command = ["nvidia-smi", "--query-gpu=memory.total", "--format=csv,noheader,nounits"]
    try:
        output = subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout
        return min(float(line) for line in output.split()) / 1024
    except (OSError, subprocess.SubprocessError, ValueError):
        return None


def _shape_of(model: str, revision: str | None = None) -> Shape | None:
    """The size of a model from its config.json; None if this machine has no such file, or not that of a decoder."""
    found = _config_json(model, revision)
    if found is None:
        return None
    try:
        return _shape(json.loads(found.read_text(encoding="utf-8")), str(found))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _shape(values: Mapping[str, Any], source: str) -> Shape:
    hidden, layers, vocabulary = values["hidden_size"], values["num_hidden_layers"], values["vocab_size"]
    heads = values["num_attention_heads"]
    head_width = values.get("head_dim") or hidden // heads
    queries, keys = head_width * heads, head_width * (values.get("num_key_value_heads") or heads)
    per_layer = 2 * hidden * queries + 2 * hidden * keys + 3 * hidden * values["intermediate_size"]
    embeddings = vocabulary * hidden * (1 if values.get("tie_word_embeddings") else 2)
    return Shape(layers * per_layer + embeddings, hidden, layers, vocabulary, source, keys)


def _config_json(model: str, revision: str | None = None) -> Path | None:
    local = Path(model) / "config.json"
    if local.is_file():
        return local
    if "/" not in model:
        return None
    try:
        from huggingface_hub import try_to_load_from_cache
    except ImportError:
        return None
    try:
        cached = try_to_load_from_cache(model, "config.json", revision=revision)
    except ValueError:  # not a valid repository name
        return None
    return Path(cached) if isinstance(cached, str) else None
