"""Load the model and the tokenizer of a run from the hub or a folder, and choose the device and the precision.

The first process downloads the model (`download_model`); then all processes load it together (`load_model`), because
DeepSpeed's ZeRO-3 sends each weight from the first process to the others while it loads.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from accelerate import init_empty_weights
from huggingface_hub import snapshot_download
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    BitsAndBytesConfig,
    GenerationConfig,
    PreTrainedTokenizerFast,
)
from transformers.utils.import_utils import is_torch_bf16_gpu_available

from empo_rl.config import Config
from empo_rl.extras import require_extra
from semantic_entropy import InputError
from semantic_entropy.plain_text import shorten

_MODEL_FILES = ("*.json", "model*.safetensors")  # of these, transformers needs the configuration, index and weights
_PICKLED_WEIGHTS = "pytorch_model*.bin"  # of a repository without safetensors
_GENERAL_CLASSES = ("TokenizersBackend", "PreTrainedTokenizerFast")  # tokenizer.json fully describes these tokenizers


def fit_to_device(config: Config, kind: str) -> tuple[Config, list[str]]:
    """Replace the value `auto` of `device` and `training.precision`.

    The precision becomes bf16 if the accelerator computes in bf16, else fp32. On the CPU, it becomes fp32. fp16 is not
    supported, because fp16 needs a scaled loss.

    Args:
        config: the configuration.
        kind: the type of the torch device of this process, for example `cpu` or `cuda`.

    Returns:
        The new configuration, and notes for the user.

    Raises:
        InputError: the device cannot compute in the requested precision.
    """
    precision = config.training.precision
    if config.device == "cpu":
        return _with(config, "cpu", "fp32" if precision == "auto" else precision), []
    if kind == "cpu":
        if precision == "bf16":
            raise InputError(
                "training.precision=bf16 needs a GPU, and torch finds none here. Add device=cpu "
                "training.precision=fp32 to train on the CPU, or try `empo-train tiny`, a run for the CPU."
            )
        return _with(config, "cpu", "fp32"), ["no GPU found: training on the CPU in fp32"]
    has_bf16 = is_torch_bf16_gpu_available()
    if precision == "bf16" and not has_bf16:
        raise InputError(
            f"training.precision=bf16: the {kind} device here cannot compute in bf16. Use training.precision=fp32."
        )
    best = "bf16" if has_bf16 else "fp32"
    return _with(config, "auto", best if precision == "auto" else precision), []


def load_tokenizer(config: Config) -> Any:
    """The tokenizer of the model, with the configured chat template.

    Raises:
        InputError: the tokenizer cannot be loaded, or has no chat template.
    """
    if config.model == "demo":
        from empo_rl.run.tiny_model import make_tokenizer

        return make_tokenizer()
    check_revision(config)
    try:
        tokenizer = saved_tokenizer(config.model, config.revision)
    except Exception as error:  # a broken file can raise anything
        raise _loading_error(config, "the tokenizer of ", error) from error
    config.template.apply_chat_template_to(tokenizer, config.model)
    return tokenizer


def check_revision(config: Config) -> None:
    """Raise InputError if the model is a local folder and `revision` is given: a folder has no revisions."""
    if config.revision is not None and Path(config.model).is_dir():
        raise InputError(
            f"revision={config.revision!r} is a branch, tag or commit on the hub, but model={config.model!r} is a "
            "folder here: remove revision."
        )


def saved_tokenizer(model: str, revision: str | None = None) -> Any:
    """The tokenizer of a model, loaded with the class that its files name.

    For any Qwen2 model, transformers 5 loads Qwen2's own tokenizer class, even if the files name another class. Qwen2's
    class splits the words of the demo wrongly. If a local folder names a general class, this function loads that class.
    """
    settings = Path(model) / "tokenizer_config.json"
    if settings.is_file():
        kind = json.loads(settings.read_text(encoding="utf-8")).get("tokenizer_class")
        if kind in _GENERAL_CLASSES:
            return PreTrainedTokenizerFast.from_pretrained(model, padding_side="left")
    # with None, the default, transformers would ask on standard input whether to run the code of the model's author
    return AutoTokenizer.from_pretrained(model, revision=revision, padding_side="left", trust_remote_code=False)


def download_model(config: Config) -> None:
    """Download the files of a hub model that are not in the cache.

    Raises:
        InputError: the model is neither a folder nor a repository, or the download failed.
    """
    if Path(config.model).exists():
        return
    try:
        folder = Path(snapshot_download(config.model, revision=config.revision, allow_patterns=[*_MODEL_FILES]))
        if not any(folder.glob("model*.safetensors")):
            snapshot_download(config.model, revision=config.revision, allow_patterns=[_PICKLED_WEIGHTS])
    except (OSError, ValueError) as error:
        raise InputError(f"model: cannot load {config.model!r}: {error}") from error


def load_model(config: Config) -> Any:
    """The model, with weights in `config.weights_precision()`. All processes of a run call this function together.

    With `fsdp2`, one process of each machine loads the weights, and the others have weights without a value until the
    trainer distributes them. With `zero3`, each process keeps its shard, if the training arguments exist.

    By default, trained weights are stored in fp32. In bf16, the next value after 0.02 is 1e-4 larger, so Adam's updates
    at learning rate 1e-6 would round to zero. `training.weights` changes the precision of the stored weights;
    `training.precision` is only the precision of computation.

    Raises:
        InputError: the model cannot be loaded, or this machine cannot run `attn_implementation` or a 4-bit model.
        MissingDependencyError: `lora.load_in_4bit` needs bitsandbytes.
    """
    arguments = loading_arguments(config)
    loads_no_weights = config.launch.strategy == "fsdp2" and os.environ.get("LOCAL_RANK", "0") != "0"
    load = _model_without_weights if loads_no_weights else AutoModelForCausalLM.from_pretrained
    try:
        model = load(config.model, trust_remote_code=False, **arguments)
    except Exception as error:  # a broken file can raise anything
        raise _loading_error(config, "", error) from error
    head = model.get_output_embeddings()
    if config.device == "cpu" and config.training.precision == "bf16" and head is not None:
        # The logits of the last positions come from a view of the hidden states. For it, torch's CPU product in half
        # precision copies the weights of the head for each row. `semantic_entropy_plugins.models.loading` has the same
        # hook: this package imports no plugin, plugins import `semantic_entropy.plugin` alone, and the core, which both
        # could import, has no code for models.
        head.register_forward_pre_hook(_contiguous_input)
    return model


def _contiguous_input(_: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
    return tuple(states.contiguous() for states in inputs)


def loading_arguments(config: Config) -> dict[str, Any]:
    """The keyword arguments of transformers' `from_pretrained` for the model of the run.

    With `lora.load_in_4bit`, the weights of linear layers are stored in 4 bits, and all other weights in the precision
    of computation, which is also the precision of the products with dequantized weights (QLoRA, Dettmers et al. 2023,
    Eq. 5). Each process loads the model onto its own GPU.

    Raises:
        InputError: there is no GPU for a 4-bit model.
        MissingDependencyError: a 4-bit model needs bitsandbytes.
    """
    check_revision(config)
    dtype = torch.bfloat16 if config.weights_precision() == "bf16" else torch.float32
    arguments: dict[str, Any] = {"dtype": dtype}
    if config.revision is not None:
        arguments["revision"] = config.revision
    if config.attn_implementation is not None:
        if config.attn_implementation.startswith("flash") and config.training.precision == "fp32":
            raise InputError(
                f"attn_implementation={config.attn_implementation} computes in bf16, and this run computes in fp32: "
                "use training.precision=bf16 on a GPU that supports it, or attn_implementation=sdpa."
            )
        arguments["attn_implementation"] = config.attn_implementation
    if config.lora is not None and config.lora.load_in_4bit:
        arguments |= _four_bit_arguments(config, dtype)
    return arguments


def _four_bit_arguments(config: Config, dtype: torch.dtype) -> dict[str, Any]:
    lora = config.lora
    assert lora is not None, "the caller checks this"
    require_extra("lora.load_in_4bit", ("bitsandbytes",), extra="qlora")
    if not torch.cuda.is_available():
        raise InputError(
            "lora.load_in_4bit needs a GPU, and torch finds none here. Set lora.load_in_4bit=false to train the "
            "adapter of a model that is not quantized."
        )
    quantization = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type=lora.bnb_4bit_quant_type,
        bnb_4bit_use_double_quant=lora.bnb_4bit_use_double_quant,
        bnb_4bit_compute_dtype=dtype,
    )
    return {"quantization_config": quantization, "device_map": {"": torch.cuda.current_device()}}


def trained_weights_in_fp32(model: Any) -> None:
    """Store the trained weights of a 4-bit model in fp32, like all trained weights of a run (see `load_model`).

    TRL converts them to bf16, where the updates of a small learning rate are lost. Call this function before the
    optimizer is created.
    """
    for weight in model.parameters():
        if weight.requires_grad:
            weight.data = weight.data.float()


def _model_without_weights(name: str, *, revision: str | None = None, **arguments: Any) -> Any:
    """The model with weights that are allocated but never written, so they take no physical memory.

    accelerate replaces the weights by those of the first process (`cpu_ram_efficient_loading`). Each weight needs its
    own address, by which accelerate finds it in the optimizer, so the weights cannot stay on the device `meta`.
    transformers 5.23 has no such option any more: it loads all weights in each process.
    """
    settings = AutoConfig.from_pretrained(name, revision=revision, trust_remote_code=False)
    with init_empty_weights(include_buffers=False):
        model = AutoModelForCausalLM.from_config(settings, **arguments)
    # like torch's `to_empty`, but without the buffers, which have values
    model._apply(lambda tensor: torch.empty_like(tensor, device="cpu") if tensor.is_meta else tensor)  # noqa: SLF001
    model.tie_weights()  # the move to `meta` split tied weights
    with suppress(OSError):  # a model need not have this file
        model.generation_config = GenerationConfig.from_pretrained(name, revision=revision or "main")
    return model


def lora_config(config: Config) -> Any:
    """The settings of the adapter for peft; None if the run trains all weights."""
    if config.lora is None:
        return None
    from peft import LoraConfig

    lora = config.lora
    return LoraConfig(
        r=lora.r,
        lora_alpha=lora.alpha,  # type: ignore[arg-type]  # peft divides alpha by r, and accepts any number
        lora_dropout=lora.dropout,
        target_modules=lora.target_modules,
        task_type="CAUSAL_LM",
        revision=config.revision,  # adapter_config.json then names the revision of the base model
    )


def count_tokens(tokenizer: Any, messages: list[dict[str, str]]) -> int:
    """The number of tokens of a conversation in the chat template."""
    return len(tokenizer(render_prompt(tokenizer, messages), add_special_tokens=False)["input_ids"])


def render_prompt(tokenizer: Any, messages: list[dict[str, str]]) -> str:
    """The text of a conversation in the chat template.

    Raises:
        InputError: the template has an error, or refuses this conversation.
    """
    try:
        return str(tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))
    except Exception as error:  # Jinja's own errors, and the errors of the expressions in the template
        raise InputError(
            f"template.chat_template: the chat template cannot render the prompt {shorten(messages[-1]['content'])!r}. "
            f"Jinja reports {type(error).__name__}: {shorten(str(error), 200)}"
        ) from error


def _loading_error(config: Config, part: str, error: Exception) -> InputError:
    if "trust_remote_code" in str(error):
        return InputError(
            f"model: {config.model!r} needs code of the model's author (auto_map in its config.json), which empo-train "
            "never runs. Choose a model whose classes are part of transformers."
        )
    kind = "" if isinstance(error, OSError | ValueError | ImportError) else f"{type(error).__name__}: "
    using = f" with attn_implementation={config.attn_implementation}" if config.attn_implementation and not part else ""
    return InputError(f"model: cannot load {part}{config.model!r}{using}: {kind}{error}")


def _with(config: Config, device: str, precision: str) -> Config:
    training = config.training.model_copy(update={"precision": precision})
    return config.model_copy(update={"device": device, "training": training})
