"""What each process holds of the model, as transformers' own arguments: `launch.strategy`.

    ddp      all of it                              (torch's DistributedDataParallel)
    fsdp2    its share, gathered layer by layer     (torch's fully_shard, through accelerate)
    zero3    its share, by DeepSpeed's ZeRO stage 3

They are part of the training arguments rather than of a launcher's file, so that `empo-train`, `accelerate launch` and
torchrun all start the same run. "auto" in DeepSpeed's settings is filled in by transformers from the others.
"""

from __future__ import annotations

from typing import Any

from empo_rl.config.schema import Config


def strategy_arguments(config: Config) -> dict[str, Any]:
    """Of `transformers.TrainingArguments`."""
    if config.launch.strategy == "fsdp2":
        return {"fsdp": True, "fsdp_config": fsdp2()}
    if config.launch.strategy == "zero3":
        return {"deepspeed": zero3()}
    return {"ddp_find_unused_parameters": False}  # every weight is used in every step


def fsdp2() -> dict[str, Any]:
    """Each layer of the model's own list is a unit; a checkpoint holds the whole model."""
    return {
        "version": 2,
        "auto_wrap_policy": "TRANSFORMER_BASED_WRAP",
        "reshard_after_forward": True,  # False trades memory for a gather less
        "state_dict_type": "FULL_STATE_DICT",  # the same files as without sharding, so that `final/` is a model
        "cpu_ram_efficient_loading": False,  # True would load weights on one process of each machine alone
    }


def zero3() -> dict[str, Any]:
    """DeepSpeed keeps fp32 weights and optimizer states; what is computed is bf16 where the run is."""
    return {
        "zero_optimization": {
            "stage": 3,
            "overlap_comm": True,
            "contiguous_gradients": True,
            "reduce_bucket_size": "auto",
            "stage3_prefetch_bucket_size": "auto",
            "stage3_param_persistence_threshold": "auto",
            "stage3_gather_16bit_weights_on_model_save": True,  # else a checkpoint holds no model
        },
        "bf16": {"enabled": "auto"},
        "gradient_clipping": "auto",
        "gradient_accumulation_steps": "auto",
        "train_batch_size": "auto",
        "train_micro_batch_size_per_gpu": "auto",
    }
