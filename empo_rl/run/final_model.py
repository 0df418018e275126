"""Write the folder `final/` of a run, with the trained model or the adapter, and upload the folder to the hub.

    without lora    final/    the model
    lora            final/    the adapter; its adapter_config.json names the base model
    lora.merge      final/    the model merged with the adapter
                    adapter/  the adapter

The folder is complete before the upload begins, so the model is not lost if the hub is unreachable.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from transformers import AutoModelForCausalLM

from empo_rl.config.schema import Config, Hub
from empo_rl.files import checkpoints, run_directory
from semantic_entropy import SemanticEntropyError

_TOKENIZER = ("*token*", "*.jinja", "vocab.*", "merges.txt", "*.model")


class PushError(SemanticEntropyError):
    """The upload to the hub failed. The model is complete on the disk."""


def save(trainer: Any, config: Config, directory: Path) -> Path:
    """Write the trained model or adapter. Every process calls this function, since each process may hold a shard."""
    final = directory / run_directory.FINAL
    if config.lora is None or not config.lora.merge:
        trainer.save_model(str(final))
        return final
    adapter = directory / run_directory.ADAPTER
    trainer.save_model(str(adapter))
    if trainer.accelerator.is_main_process:
        _merge(config, adapter, final)
    trainer.accelerator.wait_for_everyone()
    return final


def finish_from(checkpoint: Path, config: Config, directory: Path) -> Path:
    """Write the final model from the last checkpoint. Needed if a run was killed after the last step."""
    final = directory / run_directory.FINAL
    if not checkpoints.weights_fault(final) and _has_files(final, checkpoint, _TOKENIZER):
        return final
    if config.lora is None:
        AutoModelForCausalLM.from_pretrained(checkpoint).save_pretrained(final)
        _copy(checkpoint, final, _TOKENIZER)
        return final
    adapter = directory / (run_directory.ADAPTER if config.lora.merge else run_directory.FINAL)
    adapter.mkdir(parents=True, exist_ok=True)
    _copy(checkpoint, adapter, ("adapter_*", *_TOKENIZER))
    if config.lora.merge:
        _merge(config, adapter, final)
    return final


def push(final: Path, hub: Hub) -> str:
    """Upload the folder `final`, and return the address of the repository.

    Raises:
        PushError: the upload failed. The message contains the command for a later upload.
    """
    from huggingface_hub import HfApi

    api = HfApi()
    try:
        repo = api.create_repo(hub.repo, private=hub.private, exist_ok=True)
        # the pickled arguments contain paths of this machine, and no user of the model needs them
        api.upload_folder(repo_id=repo.repo_id, folder_path=final, ignore_patterns=["training_args.bin"])
    except (OSError, ValueError) as error:  # errors of the hub's library and of the network
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise PushError(
            f"push_to_hub: {final} is complete, but the upload to {hub.repo!r} failed ({reason}). "
            f"Upload it later with: hf upload {hub.repo} {final}{' --private' if hub.private else ''}"
        ) from error
    return str(repo)


def _merge(config: Config, adapter: Path, final: Path) -> None:
    """Merge the adapter into its base model. Both are read from disk: with sharding, no process holds all weights."""
    import torch
    from peft import PeftModel

    base = adapter.parent / run_directory.BASE if config.model == "demo" else config.model
    # merge in fp32: bf16 would round small adapters to zero
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32, revision=config.revision)
    merged = PeftModel.from_pretrained(model, adapter).merge_and_unload()
    merged.save_pretrained(final)
    _copy(adapter, final, _TOKENIZER)


def _has_files(folder: Path, source: Path, patterns: Iterable[str]) -> bool:
    return all((folder / file.name).exists() for pattern in patterns for file in source.glob(pattern))


def _copy(source: Path, target: Path, patterns: Iterable[str]) -> None:
    """Copy files. To load and save a tokenizer could change its files."""
    for pattern in patterns:
        for file in source.glob(pattern):
            shutil.copy2(file, target)
