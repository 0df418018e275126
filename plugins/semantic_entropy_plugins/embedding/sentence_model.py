"""Loads models of the sentence-transformers library safely, with errors that name the fix.

The rules of `models` apply: weights are safetensors, no code of the model's author runs, and all files come from one
commit. The library ensures these rules only for the encoder. It unpickles the layers on top of the encoder, and before
version 6 it imports any class that the folder names. Therefore a model on the hub is first downloaded without pickles,
and every folder is checked before the library loads it. The library also accepts a folder without a tokenizer, and then
all texts get equal embeddings; this module raises an error for such a folder.

Left out: a prompt for each task, several GPUs, back ends other than torch.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import huggingface_hub
import numpy as np
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer

from semantic_entropy.plugin import errors, replace_surrogates
from semantic_entropy_plugins.models.batches import is_out_of_memory
from semantic_entropy_plugins.models.checkpoints import folder_digest, hub_errors
from semantic_entropy_plugins.models.loading import (
    ProcessLock,
    dtype_name,
    pick_device,
    pick_dtype,
    quiet_loading,
    survive_forks,
)
from semantic_entropy_plugins.models.tokenizers import context_window

_DEFAULT_OWNER = "sentence-transformers/"  # the owner of a model name without an owner, as in the library
_FILES = ("*.json", "*.txt", "*.model", "*.safetensors")  # the files of a model, in all of its folders
_PICKLES = "*.bin"
_OWN_CLASSES = "sentence_transformers."
_PRETRAINED = ("MaskedLM", "PreTraining")  # heads of encoders that are not trained for a task
_UNLIMITED = 10**6  # tokens: a tokenizer without a limit states 10**30


@dataclass(frozen=True, slots=True)
class SentenceModel:
    """A model on its device. One thread at a time uses it; other threads wait.

    Attributes:
        name, revision, prompt: the values that the user has given.
        commit: the commit of the repository on the hub, or a digest of the local folder.
        device: the type of the device, such as "cpu".
        dtype: the precision, such as "float32".
        window: the length of the longest text in tokens; None: no limit.
    """

    model: SentenceTransformer
    name: str
    revision: str | None
    commit: str
    device: str
    dtype: str
    window: int | None
    prompt: str | None
    _lock: ProcessLock = field(default_factory=ProcessLock)

    def lengths(self, texts: Sequence[str]) -> list[int]:
        """The number of tokens of each text, including the prompt and special tokens, without truncation."""
        tokenizer = self.model.tokenizer
        if not texts or not callable(tokenizer):  # static embeddings, which have no length limit
            return [len(text) for text in texts]
        default = self.model.prompts.get(self.model.default_prompt_name or "") or ""
        prompt = default if self.prompt is None else self.prompt
        with self._lock.current:
            prompted = [prompt + replace_surrogates(text) for text in texts]
            return [len(ids) for ids in tokenizer(prompted, truncation=False, verbose=False)["input_ids"]]

    def encode(self, texts: Sequence[str]) -> list[NDArray[np.float32] | str]:
        """Embed the texts in one batch: for each text a unit vector (d,), or the reason why there is no vector."""
        readable = [replace_surrogates(text) for text in texts]
        with self._lock.current:
            found = self.model.encode(readable, prompt=self.prompt, batch_size=len(texts), show_progress_bar=False)
        vectors: NDArray[np.float32] = np.asarray(found, dtype=np.float32)
        return [self._unit(vector) for vector in vectors]

    def _unit(self, vector: NDArray[np.float32]) -> NDArray[np.float32] | str:
        norm = float(np.linalg.norm(vector))
        if not 0 < norm < float("inf"):
            return f"the model's output has the norm {norm} in {self.dtype}; dtype='float32' may help"
        unit: NDArray[np.float32] = vector / np.float32(norm)
        return unit


def load_sentence_model(
    name: str,
    *,
    prompt: str | None = None,
    revision: str | None = None,
    device: str | None = None,
    dtype: str | None = None,
    allow_pickle: bool = False,
    purpose: str = "embedding",
) -> SentenceModel:
    """Load a model. `Embedding` describes the arguments; `purpose` is the component's name, for messages.

    Raises:
        OptionError: the model, revision, device or precision does not exist; or the model has pickled weights, needs
            code of its author, or has no tokenizer.
        EquivalenceError: the model is unavailable: no network, no permission, no disk space, no memory.
    """
    survive_forks()
    subject = f"{purpose}: model={name!r}"
    target = pick_device(device, purpose)
    precision = pick_dtype(dtype, target, purpose)
    local = Path(name).expanduser()
    folder = local if local.is_dir() else _download(name, revision, allow_pickle, subject)
    _check_folder(folder, allow_pickle, subject)
    weights = {"use_safetensors": None if allow_pickle else True, "dtype": precision}
    try:
        with quiet_loading():
            model = SentenceTransformer(str(folder), device=str(target), local_files_only=True, model_kwargs=weights)
    except Exception as error:  # four libraries take part, and each library raises its own errors
        raise _not_loaded(error, subject) from error
    _check_tokenizer(model, subject)
    return SentenceModel(
        model,
        name,
        None if local.is_dir() else revision,
        _digest(folder) if local.is_dir() else folder.name,
        target.type,
        dtype_name(precision),
        _window(model),
        prompt,
    )


def _download(name: str, revision: str | None, allow_pickle: bool, subject: str) -> Path:
    """Download a model of the hub; without a network, use the cache. Returns its folder, whose name is the commit."""
    repository = name if "/" in name else f"{_DEFAULT_OWNER}{name}"
    patterns = [*_FILES, _PICKLES] if allow_pickle else list(_FILES)
    with hub_errors(subject, revision):
        return Path(huggingface_hub.snapshot_download(repository, revision=revision, allow_patterns=patterns))


def _check_folder(folder: Path, allow_pickle: bool, subject: str) -> None:
    """Raise an error for code of the model's author and for pickles, before the library runs or reads them."""
    listing = folder / "modules.json"
    try:
        layers = json.loads(listing.read_text(encoding="utf-8")) if listing.exists() else []
        parts = [(str(layer["type"]), folder / layer["path"]) for layer in layers] or [(_OWN_CLASSES, folder)]
    except (ValueError, TypeError, KeyError) as error:
        raise errors.OptionError(f"{subject} has a modules.json that cannot be read: {error}") from error
    if not layers:
        _check_encoder(folder, subject)
    for kind, part in parts:
        if not kind.startswith(_OWN_CLASSES):
            raise errors.OptionError(
                f"{subject} needs code of its author ({kind}), which is never run: use a model whose layers are "
                "classes of sentence-transformers"
            )
        if not allow_pickle and list(part.glob(_PICKLES)) and not list(part.glob("*.safetensors")):
            raise errors.OptionError(
                f"{subject} has only pickled weights in {part}. Reading a pickle can run any code. Use a model or a "
                "revision with safetensors, or allow_pickle=True if you trust the model's author"
            )


def _check_encoder(folder: Path, subject: str) -> None:
    """Raise an error for an encoder without a modules.json that was trained for another task.

    From a folder without a modules.json the library loads the encoder, and takes the mean over the tokens. Some
    sentence models are published in this form, so not every such folder is an error.
    """
    try:
        architecture = json.loads((folder / "config.json").read_text(encoding="utf-8"))["architectures"][0]
        _, head, task = str(architecture).partition("For")
    except (OSError, ValueError, TypeError, LookupError):
        return  # the library will report what is wrong with the folder
    if head and task not in _PRETRAINED:
        raise errors.OptionError(
            f"{subject} is a {architecture}, not a sentence model: the cosines of its encoder say little. Choose a "
            "model saved by sentence-transformers (with a modules.json)"
        )


def _not_loaded(error: Exception, subject: str) -> errors.SemanticEntropyError:
    if is_out_of_memory(error):
        return errors.EquivalenceError(
            f"{subject} cannot be loaded: out of memory. Use a smaller model, dtype='bfloat16' or another device"
        )
    reason = " ".join(str(error).split())
    return errors.OptionError(
        f"{subject} is not a model that sentence-transformers can load: {type(error).__name__}: {reason}"
    )


def _check_tokenizer(model: SentenceTransformer, subject: str) -> None:
    special = getattr(model.tokenizer, "all_special_tokens", ())
    if not set(model.tokenizer.get_vocab()) - set(special):
        raise errors.OptionError(
            f"{subject} has no tokenizer: its folder holds no vocabulary. Save a tokenizer in the model's folder with "
            "`tokenizer.save_pretrained`"
        )


def _window(model: SentenceTransformer) -> int | None:
    """The smaller of the library's limit, at which it truncates texts, and the encoder's limit."""
    limits = [model.get_max_seq_length()]
    if model.transformers_model is not None:
        limits.append(context_window(model.tokenizer, model.transformers_model))
    return min((int(limit) for limit in limits if limit is not None and limit < _UNLIMITED), default=None)


def _digest(folder: Path) -> str:
    return folder_digest(folder, [path for pattern in (*_FILES, _PICKLES) for path in folder.rglob(pattern)])
