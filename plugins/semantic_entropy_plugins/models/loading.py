"""Loads models of the transformers library safely, with errors that name the fix.

Device: the first CUDA device, else the CPU. Precision: bfloat16 on a GPU that supports it, float16 on an older GPU,
float32 on a CPU. Weights come from safetensors, and no code of the model's author runs (`trust_remote_code` is off).
The user's number of CPU threads is not changed, except in a process that is forked after a model was loaded. A fork
does not copy torch's threads, and torch would wait for these threads forever. Therefore torch computes with one thread
in a forked process.

Left out: several GPUs for one model, quantised weights.
"""

from __future__ import annotations

import functools
import logging
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers.utils import logging as transformers_logging

from semantic_entropy.plugin import errors
from semantic_entropy_plugins.models.batches import is_out_of_memory
from semantic_entropy_plugins.models.checkpoints import locate
from semantic_entropy_plugins.models.tokenizers import context_window, load_tokenizer, transformers_error
from semantic_entropy_plugins.options import checked_choice

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


class ProcessLock:
    """A lock for the threads of a process that may fork. Each process has its own lock.

    A fork copies a lock that is held, but not the thread that holds the lock. A child with the copied lock would wait
    forever.
    """

    def __init__(self) -> None:
        self._locks: dict[int, threading.Lock] = {}

    @property
    def current(self) -> threading.Lock:
        """The lock of the current process, created at first use."""
        return self._locks.setdefault(os.getpid(), threading.Lock())


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model in eval mode on its device, and its tokenizer.

    Attributes:
        commit: the commit of the repository on the hub; for a local folder, a digest of its content; None: unknown.
        max_length: the context window in tokens; None: the model states no limit.
        generation_config: the checkpoint's generation settings. Judges and samplers that generate text replace the
            settings in the model, so the original settings are kept here.
        lock: a lock for users of the model that must not run the model at the same time.
    """

    model: Any
    tokenizer: Any
    device: torch.device
    dtype: torch.dtype
    name: str
    revision: str | None
    commit: str | None
    max_length: int | None
    generation_config: Any = None
    lock: ProcessLock = field(default_factory=ProcessLock)


def load_model(
    kind: str,
    name: str,
    *,
    revision: str | None = None,
    device: str | None = None,
    dtype: str | None = None,
    allow_pickle: bool = False,
    attn_implementation: str | None = None,
    compile: bool = False,  # noqa: A002  # the option's name, as users know it from torch
    tokenizer_as_saved: bool = False,
    purpose: str = "model",
) -> LoadedModel:
    """Load a model and its tokenizer.

    Args:
        kind: the name of an Auto class of transformers, such as "AutoModelForSequenceClassification".
        name: a model on the Hugging Face hub, or a folder.
        revision: a branch, tag or commit on the hub; None: the main branch.
        device: "cpu", "cuda", "cuda:1", ...; None: "cuda" if available, else "cpu".
        dtype: "float32", "bfloat16" or "float16"; None: the device's default, see the module's docstring.
        allow_pickle: read pickled weights (`pytorch_model.bin`) if there are no safetensors.
        attn_implementation: the value for transformers' option of this name, such as "sdpa"; None: its default.
        compile: `torch.compile` the model.
        tokenizer_as_saved: use the tokenizer as its files describe it, see `load_tokenizer`.
        purpose: the component that loads the model, for messages.

    Raises:
        OptionError: the model, revision, device or precision does not exist, or the model has no weights or no
            tokenizer.
        EquivalenceError: the model is unavailable: no network, no permission, no disk space, no memory.
    """
    survive_forks()
    target = pick_device(device, purpose)
    precision = pick_dtype(dtype, target, purpose)
    checkpoint = locate(name, revision=revision, allow_pickle=allow_pickle, purpose=purpose)
    subject = f"{purpose}: model={name!r}"
    model = _model(
        kind,
        checkpoint.folder,
        subject,
        dtype=precision,
        use_safetensors=None if allow_pickle else True,
        attn_implementation=attn_implementation,
    )
    tokenizer = load_tokenizer(checkpoint.folder, subject, as_saved=tokenizer_as_saved)
    model = _on_device(model, target, subject)
    if target.type == "cpu" and precision != torch.float32:
        _head_reads_whole_rows(model)
    longest, generation_config = context_window(tokenizer, model), getattr(model, "generation_config", None)
    if compile:
        model = torch.compile(model, dynamic=True)
    identity = (name, checkpoint.revision, checkpoint.commit)
    return LoadedModel(model, tokenizer, target, precision, *identity, longest, generation_config)


def library_versions() -> dict[str, str]:
    """The versions of torch and transformers, for a component's `versions`."""
    return {"torch": torch.__version__, "transformers": transformers.__version__}


@contextmanager
def quiet_loading(*, missing_is_reported: bool = False) -> Iterator[None]:
    """Suppress the output of transformers while transformers loads weights.

    The progress bar is shown only on a terminal, and hidden, for example, in a log file. The report of unexpected and
    missing weights on standard error is hidden, unless weights are missing and `missing_is_reported` is false.
    """

    def is_shown(record: logging.LogRecord) -> bool:
        message = record.getMessage()
        return "LOAD REPORT" not in message or ("MISSING" in message and not missing_is_reported)

    logger = logging.getLogger("transformers.modeling_utils")
    logger.addFilter(is_shown)
    try:
        with _without_progress_bar():
            yield
    finally:
        logger.removeFilter(is_shown)


@contextmanager
def _without_progress_bar() -> Iterator[None]:
    if sys.stderr.isatty() or not transformers_logging.is_progress_bar_enabled():
        yield
        return
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.enable_progress_bar()


@functools.cache  # once a process
def survive_forks() -> None:
    """Make torch compute with one thread in processes that are forked from now on (see the module's docstring)."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=lambda: torch.set_num_threads(1))


def pick_device(device: str | None, purpose: str) -> torch.device:
    """The requested device; None: CUDA if available, else the CPU. Raises OptionError."""
    if device is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        requested = torch.device(device)
    except RuntimeError:
        raise errors.OptionError(f"{purpose}: device={device!r} is not a torch device: use 'cpu' or 'cuda'") from None
    if requested.type == "cuda" and (requested.index or 0) >= torch.cuda.device_count():
        raise errors.OptionError(
            f"{purpose}: device={device!r}, but torch finds {torch.cuda.device_count()} CUDA devices. Use "
            "device='cpu', or install a torch build for your GPU (https://pytorch.org/get-started)"
        )
    return requested


def pick_dtype(dtype: str | None, device: torch.device, purpose: str) -> torch.dtype:
    """The requested precision; None: the best one that the device supports. Raises OptionError."""
    if dtype is not None:
        return DTYPES[checked_choice(purpose, "dtype", dtype, DTYPES)]
    if device.type != "cuda":
        return torch.float32
    return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16


def dtype_name(dtype: torch.dtype) -> str:
    """The name of the precision, as in the option `dtype`, such as "float32"."""
    return str(dtype).removeprefix("torch.")


def _model(kind: str, folder: Path, subject: str, **options: Any) -> Any:
    try:
        with quiet_loading(missing_is_reported=True):
            model, info = getattr(transformers, kind).from_pretrained(
                folder, trust_remote_code=False, output_loading_info=True, **options
            )
    except Exception as error:  # a broken file can raise anything
        if is_out_of_memory(error):
            raise _out_of_memory(subject, "loaded") from error
        if "Unrecognized configuration class" in str(error):  # the rest of the message is a long list of classes
            raise errors.OptionError(f"{subject} is another kind of model: choose {_wanted(kind)}") from error
        raise errors.OptionError(f"{subject} cannot be loaded as {kind}. {transformers_error(error)}") from error
    missing = sorted(set(info["missing_keys"]).intersection(name for name, _ in model.named_parameters()))
    if missing:
        raise errors.OptionError(
            f"{subject} lacks weights of {type(model).__name__}, and random weights would take their place: "
            f"{', '.join(missing[:4])}{', ...' * (len(missing) > 4)}. The model was made for another task, or was not "
            f"trained: choose {_wanted(kind)}"
        )
    _in_one_precision(model, options["dtype"])
    return model.eval()


def _wanted(kind: str) -> str:
    words = {"CausalLM": "causal language", "SequenceClassification": "sequence classification"}
    name = kind.removeprefix("AutoModelFor")
    return f"a {words.get(name, name)} model (its config.json names a class that ends with For{name})"


def _in_one_precision(model: Any, dtype: torch.dtype) -> None:
    """Convert all weights to one precision.

    transformers leaves some weights of DeBERTa in float32, and DeBERTa does not run with two precisions. Buffers are
    not converted: rotary embeddings are buffers and need float32. A model that requests several precisions is not
    converted.
    """
    if getattr(model, "_keep_in_fp32_modules", None) or getattr(model, "_keep_in_fp32_modules_strict", None):
        return
    for parameter in model.parameters():
        if parameter.is_floating_point() and parameter.dtype != dtype:
            parameter.data = parameter.data.to(dtype)


def _on_device(model: Any, device: torch.device, subject: str) -> Any:
    try:
        return model.to(device)
    except RuntimeError as error:
        if is_out_of_memory(error):
            raise _out_of_memory(subject, f"moved to {device}") from error
        raise errors.OptionError(
            f"{subject} cannot be moved to device={str(device)!r}. torch reports: {error}"
        ) from error


def _head_reads_whole_rows(model: Any) -> None:
    """Give the layer that computes the logits a contiguous input.

    A model cuts the last positions out of its hidden states. For such a view, torch's CPU product in half precision
    copies the weights of the layer for each row: for 26 rows and a vocabulary of 152,000 it took 7 GB and 41 s instead
    of 0.07 s. `empo_rl.run.models` has the same hook, because no package with code for models is below both.
    """
    head = model.get_output_embeddings()
    if head is not None:
        head.register_forward_pre_hook(_contiguous_input)


def _contiguous_input(_: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
    return tuple(states.contiguous() for states in inputs)


def _out_of_memory(subject: str, action: str) -> errors.EquivalenceError:
    return errors.EquivalenceError(
        f"{subject} cannot be {action}: out of memory. Use a smaller model, dtype='bfloat16' or another device, or end "
        "other programs that use the memory"
    )
