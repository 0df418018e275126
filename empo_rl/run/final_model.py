"""What a run leaves in `final/`: the trained model, or with LoRA the adapter, and where it is pushed.

    lora            final/  the adapter; its config names the model it belongs to
    lora.merge      adapter/  the adapter     final/  the model with the adapter worked in
    otherwise       final/  the model

It is written before anything is pushed, so that a hub that cannot be reached loses nothing.
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
    """The hub did not take the model, which lies on the disk all the same."""


def save(trainer: Any, config: Config, directory: Path) -> Path:
    """Write what was trained; every process calls it, since each may hold a part of the weights."""
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
    """The last checkpoint as the final model, for a run that was killed before it had written one."""
    final = directory / run_directory.FINAL
    if not checkpoints.weights_fault(final) and _has(final, checkpoint, _TOKENIZER):
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
    """Upload the folder, and return its address.

    Raises:
        PushError: it could not be uploaded; says how to do so later.
    """
    from huggingface_hub import HfApi

    api = HfApi()
    try:
        repo = api.create_repo(hub.repo, private=hub.private, exist_ok=True)
        # the pickled arguments hold this machine's paths, and nobody needs them
        api.upload_folder(repo_id=repo.repo_id, folder_path=final, ignore_patterns=["training_args.bin"])
    except (OSError, ValueError) as error:  # both of the hub's families of errors, and the network's
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise PushError(
            f"push_to_hub: {final} is written and complete, but {hub.repo!r} did not take it ({reason}). "
            f"Push it later with: hf upload {hub.repo} {final}{' --private' if hub.private else ''}"
        ) from error
    return str(repo)


def _merge(config: Config, adapter: Path, final: Path) -> None:
    """The adapter worked into its model, both from the disk: under sharding no process holds the whole."""
    import torch
    from peft import PeftModel

    base = adapter.parent / run_directory.BASE if config.model == "demo" else config.model
    # merged in fp32, since bf16 would round small adapters away
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    merged = PeftModel.from_pretrained(model, adapter).merge_and_unload()
    merged.save_pretrained(final)
    _copy(adapter, final, _TOKENIZER)


def _has(folder: Path, source: Path, patterns: Iterable[str]) -> bool:
    return all((folder / file.name).exists() for pattern in patterns for file in source.glob(pattern))


def _copy(source: Path, target: Path, patterns: Iterable[str]) -> None:
    """File by file: a tokenizer that is loaded and saved again need not be the same."""
    for pattern in patterns:
        for file in source.glob(pattern):
            shutil.copy2(file, target)
