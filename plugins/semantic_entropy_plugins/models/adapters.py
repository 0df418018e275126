"""LoRA adapters of peft: finds the base model of an adapter, and adds the adapter to the loaded base model.

An adapter is a local folder with adapter_config.json and without config.json, such as the `final` of an `empo-train`
run with `lora`. Its base model is `base_model_name_or_path` in adapter_config.json, at the revision in this file.

The adapter is not merged into the weights: a merge in bfloat16 would round small updates to zero. The adapter's weights
are float32 or the precision of their file, like in training.

Left out: adapters on the hub, other methods of peft (prompts, IA3), several adapters for one model.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from semantic_entropy.plugin import errors
from semantic_entropy_plugins.models.checkpoints import OTHER, folder_digest
from semantic_entropy_plugins.models.loading import LoadedModel
from semantic_entropy_plugins.models.tokenizers import load_tokenizer

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"


@dataclass(frozen=True, slots=True)
class Adapter:
    """A LoRA adapter in a local folder.

    Attributes:
        folder: the folder with the adapter.
        base: the base model: a name on the hub, or a folder.
        revision: the revision of the base model on the hub; None: the main branch.
        rank: r, the rank of the adapter.
        modules_to_save: the names of the layers that the adapter replaces as a whole.
    """

    folder: Path
    base: str
    revision: str | None
    rank: int
    modules_to_save: tuple[str, ...] = ()

    def has_tokenizer(self) -> bool:
        """Whether the folder has a tokenizer of its own."""
        return (self.folder / "tokenizer_config.json").is_file()

    def identity(self, base_commit: str | None) -> str:
        """A digest of the adapter's files and the identity of its base model: 16 hexadecimal digits."""
        patterns = (*OTHER, WEIGHTS)
        files = [path for path in self.folder.iterdir() if any(fnmatch(path.name, pattern) for pattern in patterns)]
        both = f"{folder_digest(self.folder, files)}\0{base_commit or self.base}"
        return hashlib.sha256(both.encode()).hexdigest()[:16]


def find_adapter(model: str, base_model: str | None, revision: str | None, purpose: str) -> Adapter | None:
    """The adapter in the folder `model`; None if `model` is not the folder of an adapter.

    Args:
        model: a folder, or a name on the hub.
        base_model: the base model that replaces the one in adapter_config.json.
        revision: the revision of the base model that replaces the one in adapter_config.json.
        purpose: the component that loads the model, for messages.

    Raises:
        OptionError: the adapter has another method than LoRA, no safetensors, or no base model; or `base_model` is
            given, and `model` is no adapter.
    """
    folder = Path(model).expanduser()
    path = folder / CONFIG
    subject = f"{purpose}: model={model!r}"
    if not path.is_file() or (folder / "config.json").is_file():
        if base_model is not None:
            raise errors.OptionError(
                f"{subject} is not the folder of a LoRA adapter (a folder with {CONFIG} and without config.json), and "
                f"base_model={base_model!r} is for adapters: leave it out"
            )
        return None
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
        kind, named, rank = settings["peft_type"], settings.get("base_model_name_or_path"), int(settings["r"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise errors.OptionError(f"{subject}: {CONFIG} is not readable: {type(error).__name__}: {error}") from error
    if kind != "LORA":
        raise errors.OptionError(f"{subject} is an adapter of type {kind!r}: only LORA is supported")
    if not (folder / WEIGHTS).is_file():
        raise errors.OptionError(f"{subject} is an adapter without {WEIGHTS}: save it as safetensors")
    base = base_model or named
    if not base:
        raise errors.OptionError(
            f"{subject} is a LoRA adapter, and its {CONFIG} names no base model: give base_model=..., the model "
            "on which the adapter was trained"
        )
    if base_model is None and _is_missing_folder(base):
        raise errors.OptionError(
            f"{subject} is a LoRA adapter of the model {base!r}, a folder that does not exist here (a relative path "
            "counts from the working directory): give base_model=..., the folder or name of this model"
        )
    saved = tuple(settings.get("modules_to_save") or ())
    return Adapter(folder, base, revision or (None if base_model else settings.get("revision")), rank, saved)


def with_adapter(loaded: LoadedModel, adapter: Adapter, purpose: str) -> LoadedModel:
    """The loaded base model with the adapter in it, and with the adapter's tokenizer if there is one.

    Raises:
        OptionError: the adapter does not fit the base model.
        MissingDependencyError: peft is not installed.
    """
    subject = f"{purpose}: model={str(adapter.folder)!r}"
    try:
        from peft import PeftModel
    except ImportError as error:
        command = errors.install_command("semantic-entropy[lora]")
        raise errors.MissingDependencyError(
            f"{subject} is a LoRA adapter, which needs peft, not installed here: {command}"
        ) from error
    try:
        wrapped: Any = PeftModel.from_pretrained(loaded.model, adapter.folder, torch_device=str(loaded.device))
    except Exception as error:  # a broken file can raise anything
        raise errors.OptionError(
            f"{subject} cannot be added to its base model {adapter.base!r}: {type(error).__name__}: "
            f"{' '.join(str(error).split())[:500]}"
        ) from error
    tokenizer = loaded.tokenizer
    if adapter.has_tokenizer():
        tokenizer = load_tokenizer(adapter.folder, subject, as_saved=True)
    return dataclasses.replace(
        loaded,
        model=wrapped.get_base_model().eval(),  # the layers of the adapter are inside the base model
        tokenizer=tokenizer,
        name=str(adapter.folder),
        commit=adapter.identity(loaded.commit),
    )


def _is_missing_folder(name: str) -> bool:
    """Whether a model name can only be a folder, and this folder does not exist."""
    is_path = name.startswith((".", "/", "~")) or name.count("/") > 1
    return is_path and not Path(name).expanduser().is_dir()
