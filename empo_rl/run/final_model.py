"""Write a model directory: the folder `final/` of a run, or the model of a checkpoint. Upload `final/` to the hub.

    without lora    final/    the model
    lora            final/    the adapter; its adapter_config.json names the base model
    lora.merge      final/    the model merged with the adapter
                    adapter/  the adapter

The folder is complete before the upload begins, so the model is not lost if the hub is unreachable.

A checkpoint of FSDP2 holds shards in the format of torch.distributed.checkpoint; version 0.1.0 wrote one file.
`export_checkpoint` reads them into the memory of one process: 4 bytes per weight in fp32. torch reads the table of
contents of the shards with pickle, so export only checkpoints of your own runs.
"""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from transformers import AutoConfig, AutoModelForCausalLM

from empo_rl.config.schema import Config, Hub
from empo_rl.files import checkpoints, run_directory
from empo_rl.trainers.trl.sharding import whole_models, without_tied_weights
from semantic_entropy import InputError, SemanticEntropyError

_MODEL = ("config.json", "generation_config.json", "model*.safetensors", "model.safetensors.index.json", "adapter_*")
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
    if config.lora is None or not config.lora.merge:
        return export_checkpoint(checkpoint, final)
    adapter = export_checkpoint(checkpoint, directory / run_directory.ADAPTER)
    _merge(config, adapter, final)
    return final


def export_checkpoint(checkpoint: Path, folder: Path) -> Path:
    """Write the model or the adapter of a checkpoint, with its tokenizer, into a folder that `from_pretrained` loads.

    Raises:
        InputError: the checkpoint holds neither weights nor shards, or is not complete, or its shards belong to a
            model whose class is not part of transformers.
    """
    if fault := checkpoints.model_fault(checkpoint):
        raise InputError(f"{checkpoint} has no complete model: {fault}. Choose a folder checkpoint-N of a run.")
    shards = checkpoint / checkpoints.SHARDS
    folder.mkdir(parents=True, exist_ok=True)
    _copy(checkpoint, folder, (*_MODEL, *_TOKENIZER))
    if shards.is_dir():
        _write_weights(_read_shards(shards), checkpoint, folder)
    elif checkpoints.is_unsharded(checkpoint) and checkpoints.weights_fault(folder):
        file = checkpoints.unsharded_file(checkpoint)
        _write_weights(torch.load(file, map_location="cpu", weights_only=True), checkpoint, folder)
    return folder


def push(final: Path, hub: Hub) -> str:
    """Upload the folder `final`, and return the address of the repository.

    Raises:
        PushError: the upload failed. The message contains the command for a later upload.
    """
    from huggingface_hub import HfApi, errors

    transport: Any = errors.HTTPError  # type: ignore[attr-defined]  # of the HTTP library below the hub's library
    api = HfApi()
    try:
        repo = api.create_repo(hub.repo, private=hub.private, exist_ok=True)
        # the pickled arguments contain paths of this machine, and no user of the model needs them
        api.upload_folder(repo_id=repo.repo_id, folder_path=final, ignore_patterns=["training_args.bin"])
    except (OSError, ValueError, RuntimeError, transport) as error:  # of the hub's library, its uploads, the network
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise PushError(
            f"push_to_hub: {final} is complete, but the upload to {hub.repo!r} failed ({reason}). "
            f"Upload it later with: hf upload {hub.repo} {final}{' --private' if hub.private else ''}"
        ) from error
    return str(repo)


def _merge(config: Config, adapter: Path, final: Path) -> None:
    """Merge the adapter into its base model. Both are read from disk: with sharding, no process holds all weights."""
    from peft import PeftModel

    base = adapter.parent / run_directory.BASE if config.model == "demo" else config.model
    # merge in fp32: bf16 would round small adapters to zero
    with whole_models():
        model = AutoModelForCausalLM.from_pretrained(
            base, dtype=torch.float32, revision=config.revision, trust_remote_code=False
        )
        merged = PeftModel.from_pretrained(model, adapter).merge_and_unload()
    merged.save_pretrained(final)
    _copy(adapter, final, _TOKENIZER)


def _read_shards(shards: Path) -> dict[str, torch.Tensor]:
    """All weights of a sharded checkpoint, whole, on the CPU."""
    from torch.distributed.checkpoint.filesystem import FileSystemReader
    from torch.distributed.checkpoint.metadata import TensorStorageMetadata
    from torch.distributed.checkpoint.state_dict_loader import load

    reader = FileSystemReader(shards)
    stored = reader.read_metadata().state_dict_metadata
    weights = {
        name: torch.empty(entry.size, dtype=entry.properties.dtype)
        for name, entry in stored.items()
        if isinstance(entry, TensorStorageMetadata)
    }
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "torch.distributed is disabled")  # torch warns that `no_dist` has no group
        load(weights, storage_reader=reader, no_dist=True)
    return {name.removeprefix("model."): weight for name, weight in weights.items()}  # accelerate's name of the part


def _write_weights(weights: dict[str, torch.Tensor], checkpoint: Path, folder: Path) -> None:
    if (checkpoint / "adapter_config.json").exists():
        save_file(weights, folder / "adapter_model.safetensors", metadata={"format": "pt"})
        return
    kind = next(iter(weights.values())).dtype
    try:
        config = AutoConfig.from_pretrained(checkpoint, trust_remote_code=False)
        # the class of the model, without memory: it names tied weights and splits large files
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(config, dtype=kind, trust_remote_code=False)
    except ValueError as error:  # transformers refuses code of the folder, or does not know the type of the model
        raise InputError(f"{checkpoint}: transformers cannot create the model of its config.json: {error}") from error
    model.save_pretrained(folder, state_dict=without_tied_weights(model, weights))


def _has_files(folder: Path, source: Path, patterns: Iterable[str]) -> bool:
    return all((folder / file.name).exists() for pattern in patterns for file in source.glob(pattern))


def _copy(source: Path, target: Path, patterns: Iterable[str]) -> None:
    """Copy files. To load and save a tokenizer could change its files."""
    for pattern in patterns:
        for file in source.glob(pattern):
            shutil.copy2(file, target)
