"""An estimate of what a run takes of each GPU's memory, by strategy. An estimate: a first step may prove it wrong.

With N weights in all, T of them trained, w bytes each weight as stored (4, or 2 for bf16), b bytes of what is computed
in (2 for bf16, 4 for fp32), P processes:

    weights      w N        gradients  w T        Adam's two moments  2 w T

    ddp          all of it on each GPU, and with several the gradients once more, in the buckets that are sent
    fsdp2        weights, gradients and moments / P, and two layers' weights whole while they compute
    zero3        as fsdp2; DeepSpeed keeps fp32 weights and moments (12 bytes) beside 2 for weights and 2 for gradients:
                 16 T / P  (Rajbhandari et al. 2020, ZeRO, section 3.1)

    activations  with checkpointing, the input of each layer, b s h bytes, and one layer's own, 17 b s h
                 (Korthikanti et al. 2022, table 2, without the attention matrix, which fused attention does not keep);
                 without checkpointing 17 b s h a layer. s: tokens of a backward pass
    logits       (b + 8) s_c V: as computed, fp32 for the softmax, and the gradient of that. s_c: tokens of completions
    rollouts     keys and values of all that a process generates at a time, 2 b L k a token, k: width of the keys; gone
                 when the loss is computed, so the larger of the two counts. vLLM colocated: its share of the device
    judge        the verifier, 1.5e9 weights in bf16, beside the model on each GPU

Left out: fragmentation, CUDA's own gigabyte, and whatever else runs there; `ROOM` is kept free for them.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator

from empo_rl.check.findings import GIB, Finding, gib, ok, problem, unchecked
from empo_rl.check.shape import Shape
from empo_rl.config.precision import stored_in
from empo_rl.config.schema import Config

ROOM = 0.1  # of the device
VERIFIER_BYTES = 2 * 1.54e9
PROMPT_TOKENS = 512  # where data.max_prompt_tokens does not say
QUERIES_A_KEY = 4  # query heads that share a key, where the shape does not say: the recipes' models have 3 to 8
LORA_WIDTH = 25  # all-linear: r x 25 x hidden weights a layer (Qwen2.5-7B: 2+2+2.3 of attention, 19 of the MLP)


def findings(config: Config, shape: Shape | None) -> Iterator[Finding]:
    """The estimate, against the device where it is known."""
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
    said = " + ".join(f"{name} {value / GIB:.1f}" for name, value in parts.items())
    text = f"about {gib(total)} a GPU under {config.launch.strategy} ({said}; {shape.source})"
    device = config.check.device_gib or _device_gib()
    if device is None:
        yield ok("memory", text)
        yield unchecked("whether that fits", "no GPU is here, and check.device_gib does not say how large one is")
    elif total > device * GIB * (1 - ROOM):
        yield problem("memory", f"{text}: more than {device:g} GiB less a tenth. {_advice(config)}")
    else:
        yield ok("memory", f"{text}, of {device:g} GiB")


def estimate(config: Config, shape: Shape) -> dict[str, float]:
    """Bytes of each part on one GPU."""
    shared = 1 if config.launch.strategy == "ddp" else config.launch.processes
    parts = {"weights and optimizer": _states(config, shape) / shared}
    if shape.hidden and shape.layers and shape.vocabulary:
        if shared > 1:
            parts["whole layers"] = 2 * 2 * shape.parameters / shape.layers
        parts |= _larger(
            {
                "activations": _activations(config, shape.hidden, shape.layers),
                "logits": (_computed(config) + 8.0) * _rows(config) * _completion(config) * shape.vocabulary,
            },
            {"rollouts": _rollouts(config, shape)},
        )
    if "verifier" in (config.empo.equivalence, config.empo.grader) and config.method != "sft":
        parts["judge"] = VERIFIER_BYTES
    if config.rollout.engine == "vllm-colocate":
        parts["vLLM"] = config.rollout.vllm.gpu_memory * (config.check.device_gib or _device_gib() or 80.0) * GIB
    return parts


def _larger(one: dict[str, float], other: dict[str, float]) -> dict[str, float]:
    return one if sum(one.values()) >= sum(other.values()) else other


def trained(config: Config, shape: Shape) -> float:
    """How many weights are trained: all, or the adapters'."""
    if config.lora is None:
        return shape.parameters
    return float(LORA_WIDTH * config.lora.r * (shape.hidden or 4096) * (shape.layers or 32))


def _states(config: Config, shape: Shape) -> float:
    width = 2 if stored_in(config) == "bf16" else 4
    count = trained(config, shape)
    if config.launch.strategy == "zero3":
        beside = config.lora is not None or config.method == "online_dpo"  # the model itself; the reference
        return 16 * count + (2 * shape.parameters if beside else 0)
    buckets = config.launch.strategy == "ddp" and config.launch.processes > 1
    if config.lora is not None:  # peft keeps adapters in fp32
        return width * shape.parameters + (20 if buckets else 16) * count
    reference = width * shape.parameters if config.method == "online_dpo" else 0
    return (5 if buckets else 4) * width * count + reference


def _computed(config: Config) -> int:
    """Bytes of a number as it is computed with."""
    return 4 if config.training.precision == "fp32" else 2


def _activations(config: Config, hidden: int, layers: int) -> float:
    tokens = _rows(config) * (_prompt(config) + _completion(config))
    if config.training.gradient_checkpointing:
        return float(_computed(config) * tokens * hidden * (layers + 17))
    return float(17 * _computed(config) * tokens * hidden * layers)


def _rollouts(config: Config, shape: Shape) -> float:
    if config.method == "sft" or config.rollout.engine != "transformers" or not (shape.hidden and shape.layers):
        return 0.0
    keys = shape.keys or shape.hidden / QUERIES_A_KEY
    return 2.0 * _computed(config) * _at_a_time(config) * (_prompt(config) + _completion(config)) * keys * shape.layers


def _at_a_time(config: Config) -> float:
    """Completions that a process samples together: those of a step, unless TRL is told otherwise."""
    if config.method == "online_dpo":
        return _rows(config)  # TRL generates for each pass anew
    processes = config.launch.processes
    if isinstance(batch := config.trl.get("generation_batch_size"), int):
        return batch / processes
    if isinstance(passes := config.trl.get("steps_per_generation"), int):
        return float(passes * _rows(config))
    return config.training.prompts_per_step * config.rollout.num_generations / processes


def _rows(config: Config) -> int:
    if config.training.completions_per_pass is not None:
        return config.training.completions_per_pass
    each = {"empo": config.rollout.num_generations, "online_dpo": 2, "sft": 1}[config.method]
    return config.training.prompts_per_micro_batch * each


def _prompt(config: Config) -> int:
    return 0 if config.method == "sft" else config.data.max_prompt_tokens or PROMPT_TOKENS


def _completion(config: Config) -> int:
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
    """The smallest GPU that nvidia-smi names."""
    if shutil.which("nvidia-smi") is None:
        return None
    asked = ["nvidia-smi", "--query-gpu=memory.total", "--format=csv,noheader,nounits"]
    try:
        said = subprocess.run(asked, capture_output=True, text=True, check=True, timeout=20).stdout
        return min(float(line) for line in said.split()) / 1024
    except (OSError, subprocess.SubprocessError, ValueError):
        return None
