"""Models of the transformers library for judges: loaded once, in safety, with errors that say what to do.

Where: the first CUDA device, else the CPU. Precision: bfloat16 on a GPU that computes in it, float16 on an older one,
float32 on a CPU. Weights come from safetensors, and no code comes with a model: `trust_remote_code` is off. Threads of
the CPU are left as they were set, save in a process that this one forks once a model is loaded: there torch would wait
for ever for threads that a fork does not copy, and computes with one.

Left out: several GPUs for one model, quantised weights.
"""

from __future__ import annotations

import functools
import json
import logging
import os
import sys
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
from semantic_entropy_plugins.models.process_lock import ProcessLock

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
_UNLIMITED = 10**6  # a tokenizer without a limit says 10**30


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model in eval mode on its device, and its tokenizer.

    commit: of the hub's repository; of a local folder a digest of what decides its output; None: not known.
    max_length: the window in tokens; None: the model states none. own_generation: the checkpoint's
    generation settings, which those who generate replace in the model. turn: for those who must not run it at once.
    """

    model: Any
    tokenizer: Any
    device: torch.device
    dtype: torch.dtype
    name: str
    revision: str | None
    commit: str | None
    max_length: int | None
    own_generation: Any = None
    turn: ProcessLock = field(default_factory=ProcessLock)


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
) -> Loaded:
    """Load a model and its tokenizer.

    Args:
        kind: one of transformers' Auto classes, such as "AutoModelForSequenceClassification".
        name: a model on the Hugging Face hub, or a folder.
        revision: a branch, tag or commit on the hub; None: its main branch.
        device: "cpu", "cuda", "cuda:1", ...; None: "cuda" where there is one, else "cpu".
        dtype: "float32", "bfloat16" or "float16"; None: the device's, as above.
        allow_pickle: read pickled weights (`pytorch_model.bin`) where there are no others.
        attn_implementation: as transformers takes it, such as "sdpa" or "eager"; None: its choice.
        compile: `torch.compile` the model.
        tokenizer_as_saved: where the tokenizer is written out in full and says so, read it as such, whatever class
            AutoTokenizer would give a model of this architecture.
        purpose: who asks, for messages.

    Raises:
        OptionError: no such model, revision, device or precision; no weights or tokenizer in it.
        EquivalenceError: the model cannot be had now: no network, no permission, no space on the disk, no memory.
    """
    survive_forks()
    place = pick_device(device, purpose)
    precision = pick_dtype(dtype, place, purpose)
    checkpoint = locate(name, revision=revision, allow_pickle=allow_pickle, purpose=purpose)
    said = f"{purpose}: model={name!r}"
    model = _model(
        kind,
        checkpoint.folder,
        said,
        dtype=precision,
        use_safetensors=None if allow_pickle else True,
        attn_implementation=attn_implementation,
    )
    tokenizer = _tokenizer(checkpoint.folder, said, as_saved=tokenizer_as_saved)
    model = _moved(model, place, said)
    longest, generation = window(tokenizer, model), getattr(model, "generation_config", None)
    if compile:
        model = torch.compile(model, dynamic=True)
    found = (checkpoint.revision, checkpoint.commit, longest, generation)
    return Loaded(model, tokenizer, place, precision, name, *found)


@contextmanager
def no_bars_in_logs(*, missing_is_said: bool = False) -> Iterator[None]:
    """Transformers draws a bar while it loads weights: on a terminal, but into no log. And a table, on standard error,
    of weights that are there and not wanted, or wanted and not there: nowhere, but the latter unless that is said.
    """

    def is_wanted(record: logging.LogRecord) -> bool:
        said = record.getMessage()
        return "LOAD REPORT" not in said or ("MISSING" in said and not missing_is_said)

    log = logging.getLogger("transformers.modeling_utils")
    log.addFilter(is_wanted)
    try:
        with _no_bars():
            yield
    finally:
        log.removeFilter(is_wanted)


@contextmanager
def _no_bars() -> Iterator[None]:
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
    """Have processes that are forked from now on compute with one thread: they lack the others, and would wait."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=lambda: torch.set_num_threads(1))


def pick_device(device: str | None, purpose: str) -> torch.device:
    """The device as asked; None: CUDA where there is one, else the CPU."""
    if device is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        asked = torch.device(device)
    except RuntimeError:
        raise errors.OptionError(f"{purpose}: device={device!r} is none of torch's: use 'cpu' or 'cuda'") from None
    if asked.type == "cuda" and (asked.index or 0) >= torch.cuda.device_count():
        raise errors.OptionError(
            f"{purpose}: device={device!r}, but torch finds {torch.cuda.device_count()} CUDA devices here. "
            "Use device='cpu', or install a torch that is built for your GPU (https://pytorch.org/get-started)"
        )
    return asked


def pick_dtype(dtype: str | None, device: torch.device, purpose: str) -> torch.dtype:
    """The precision as asked; None: the best that the device computes in."""
    if dtype is None:
        if device.type != "cuda":
            return torch.float32
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
    if dtype not in DTYPES:
        raise errors.OptionError(
            f"{purpose}: dtype={dtype!r} is unknown.{errors.nearest(str(dtype), DTYPES)} There are: {', '.join(DTYPES)}"
        )
    return DTYPES[dtype]


def window(tokenizer: Any, model: Any) -> int | None:
    """How many tokens the model takes; None: it states no limit.

    The least of what the tokenizer and the configuration say. RoBERTa's kin count positions from their padding token's
    id + 1, and their table of positions holds so many fewer.
    """
    limits = [tokenizer.model_max_length] if tokenizer.model_max_length < _UNLIMITED else []
    positions = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    if positions and positions > 0:
        limits.append(positions - _first_position(model))
    return min(limits, default=None)


def _first_position(model: Any) -> int:
    for path, module in model.named_modules():
        if path.endswith("position_embeddings") and getattr(module, "padding_idx", None) is not None:
            return int(module.padding_idx) + 1
    return 0


def _tokenizer_class(folder: Path) -> Any:
    """AutoTokenizer, save for a tokenizer that is written out in full and says so.

    For such a one beside a Qwen2, AutoTokenizer of transformers 5 takes Qwen2's class, which keeps the vocabulary and
    puts its own way of splitting words in place of the file's: other tokens, and no word of it.
    """
    path = folder / "tokenizer_config.json"
    declared = json.loads(path.read_text(encoding="utf-8")).get("tokenizer_class") if path.is_file() else None
    whole = declared == "TokenizersBackend" and (folder / "tokenizer.json").is_file()
    return transformers.PreTrainedTokenizerFast if whole else transformers.AutoTokenizer


def _tokenizer(folder: Path, said: str, *, as_saved: bool) -> Any:
    try:
        kind = _tokenizer_class(folder) if as_saved else transformers.AutoTokenizer
        tokenizer = kind.from_pretrained(folder, trust_remote_code=False)
    except Exception as error:  # whatever a broken file makes of it
        raise errors.OptionError(
            f"{said} has no tokenizer that can be loaded. Save one beside the model with "
            f"`tokenizer.save_pretrained`. {_said_by(error)}"
        ) from error
    if len(tokenizer) <= len(tokenizer.all_special_ids):  # transformers makes one up where it finds no vocabulary
        raise errors.OptionError(
            f"{said} has no tokenizer: {folder} holds no vocabulary. Save one beside the model with "
            "`tokenizer.save_pretrained`"
        )
    return tokenizer


def _model(kind: str, folder: Path, said: str, **options: Any) -> Any:
    try:
        with no_bars_in_logs(missing_is_said=True):
            model, info = getattr(transformers, kind).from_pretrained(
                folder, trust_remote_code=False, output_loading_info=True, **options
            )
    except Exception as error:  # as above
        if is_out_of_memory(error):
            raise _no_memory(said, "loaded") from error
        if "Unrecognized configuration class" in str(error):  # and then half a screen of classes
            raise errors.OptionError(f"{said} is a model of another kind: choose {_wanted(kind)}") from error
        raise errors.OptionError(f"{said} cannot be loaded as {kind}. {_said_by(error)}") from error
    missing = sorted(set(info["missing_keys"]).intersection(name for name, _ in model.named_parameters()))
    if missing:
        raise errors.OptionError(
            f"{said} lacks weights that {type(model).__name__} needs, and random ones would take their place: "
            f"{', '.join(missing[:4])}{', ...' * (len(missing) > 4)}. It was made for something else, or not "
            f"trained: choose {_wanted(kind)}"
        )
    _in_one_precision(model, options["dtype"])
    return model.eval()


def _wanted(kind: str) -> str:
    """One of transformers' Auto classes in words."""
    words = {"CausalLM": "causal language", "SequenceClassification": "sequence classification"}
    name = kind.removeprefix("AutoModelFor")
    return f"a {words.get(name, name)} model (its config.json names a class that ends with For{name})"


def _in_one_precision(model: Any, dtype: torch.dtype) -> None:
    """Convert the weights that transformers leaves in float32: some of DeBERTa's, which does not run mixed.

    Weights alone: rotary embeddings are buffers, and need their float32. Not in a model that asks for a mixture.
    """
    if getattr(model, "_keep_in_fp32_modules", None) or getattr(model, "_keep_in_fp32_modules_strict", None):
        return
    for parameter in model.parameters():
        if parameter.is_floating_point() and parameter.dtype != dtype:
            parameter.data = parameter.data.to(dtype)


def _moved(model: Any, place: torch.device, said: str) -> Any:
    try:
        return model.to(place)
    except RuntimeError as error:
        if is_out_of_memory(error):
            raise _no_memory(said, f"moved to {place}") from error
        raise errors.OptionError(f"{said} cannot be moved to device={str(place)!r}. torch says: {error}") from error


def _no_memory(said: str, what: str) -> errors.EquivalenceError:
    return errors.EquivalenceError(
        f"{said} cannot be {what}: out of memory. Use a smaller model, dtype='bfloat16', another device, or end what "
        "else uses its memory"
    )


def _said_by(error: Exception) -> str:
    return f"transformers says: {type(error).__name__}: {' '.join(str(error).split())[:500]}"
