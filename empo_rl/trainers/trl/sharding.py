"""Sharded training (FSDP2, DeepSpeed's ZeRO-3): which models are sharded, and what a save writes.

    the trained model    each process keeps its shard (`empo_rl.run.models.load_model`)
    other models         judges, graders, the base model of a merge: whole in each process. They are loaded and called
                         inside `whole_models`
    a checkpoint         FSDP2: each process writes its shard, so no process gathers the model; `ShardedSavesMixin` adds
                         the configuration and the tokenizer, which transformers leaves out of a sharded checkpoint
    the final model      gathered by process 0, one weight after another, and written as a plain model directory

transformers shards by global state: a DeepSpeed configuration that lives as long as the training arguments, and
environment variables for FSDP. Every `from_pretrained` of the process reads this state, and so does `generate`. Without
`whole_models`, a judge would be split among the processes, and processes with unequal numbers of pairs would wait for
each other without end.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from accelerate.utils import is_peft_model
from transformers.integrations import deepspeed as deepspeed_state

from empo_rl.files import checkpoints

_LOAD_ONCE = "FSDP_CPU_RAM_EFFICIENT_LOADING"  # transformers loads the weights in one process of each machine only


@contextmanager
def whole_models() -> Iterator[None]:
    """Load and call models inside this context as if the run did not shard its model."""
    reference: Any = deepspeed_state._hf_deepspeed_config_weak_ref  # noqa: SLF001  # no public function returns it
    load_once = os.environ.get(_LOAD_ONCE)
    deepspeed_state.unset_hf_deepspeed_config()
    os.environ[_LOAD_ONCE] = "false"
    try:
        yield
    finally:
        settings = reference() if reference is not None else None
        if settings is not None:
            deepspeed_state.set_hf_deepspeed_config(settings)
        if load_once is None:
            del os.environ[_LOAD_ONCE]
        else:
            os.environ[_LOAD_ONCE] = load_once


class ShardedSavesMixin:
    """Saves a model that FSDP2 shards with SHARDED_STATE_DICT, and the state file of each process.

    The mixin precedes the trainer in the list of bases.
    """

    accelerator: Any
    args: Any
    is_fsdp_enabled: bool
    model: Any
    processing_class: Any

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Write a model directory. Every process calls this method, since each process may hold a shard.

        _internal_call: the trainer writes a checkpoint. Each process then writes its shard by itself, and this method
            writes only the configuration and the tokenizer.
        """
        if not self.is_fsdp_enabled or "SHARDED" not in str(self.accelerator.state.fsdp_plugin.state_dict_type):
            super().save_model(output_dir, _internal_call)  # type: ignore[misc]  # defined by the trainer
            return
        folder = str(output_dir or self.args.output_dir)
        if not _internal_call:
            self._save(folder, state_dict=self._gathered_weights())  # type: ignore[attr-defined]  # of the trainer
        elif self.args.should_save:
            _write_description(self.model, self.processing_class, Path(folder))

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        """Write also the state file of this process, which tells how many processes a complete checkpoint needs."""
        super()._save_optimizer_and_scheduler(output_dir)  # type: ignore[misc]  # defined by the trainer
        Path(output_dir).mkdir(parents=True, exist_ok=True)  # process 0 may not have created it yet
        text = json.dumps({"processes": self.args.world_size, **self.run_state()})
        checkpoints.state_file(Path(output_dir), self.args.process_index).write_text(text, encoding="utf-8")

    def run_state(self) -> dict[str, Any]:
        """The state in the file of this process, as JSON. The baselines have none."""
        return {}

    def _gathered_weights(self) -> dict[str, Any]:
        """The whole weights in process 0, on the CPU; with LoRA the adapters alone. Empty in all other processes."""
        from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict

        options = StateDictOptions(
            full_state_dict=True, cpu_offload=True, ignore_frozen_params=is_peft_model(self.model)
        )
        return without_tied_weights(self.model, get_model_state_dict(self.model, options=options))


def without_tied_weights(model: Any, weights: Mapping[str, Any]) -> dict[str, Any]:
    """Remove the second copy of each weight that the model uses in two places. `from_pretrained` ties it again."""
    tied = getattr(model, "all_tied_weights_keys", {})
    return {name: weight for name, weight in weights.items() if name not in tied}


def _write_description(model: Any, tokenizer: Any, folder: Path) -> None:
    """Write the files from which `empo-train merge` makes a model directory: all files except the weights."""
    folder.mkdir(parents=True, exist_ok=True)
    if is_peft_model(model):
        model.peft_config[model.active_adapter].save_pretrained(folder)
    else:
        model.config.save_pretrained(folder)
        if model.can_generate():
            model.generation_config.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
