"""EMPO with TRL.

Modules for a training step:

    rollouts        make rollout groups from TRL's rows
    distributed     make one decision about the batch of several processes
    grpo_trainer    EmpoGRPOTrainer: apply the provider's decision to TRL's loss
    token_measures  compute entropy and self-certainty of the token distributions

Modules for TRL's asynchronous trainer, which is in `trl.experimental`:

    async_rollouts      the worker process: decide about each group, refill the groups that are dropped
    async_grpo_trainer  EmpoAsyncGRPOTrainer: train on the samples of the worker, log what it has judged

Modules for a training run:

    run_trainer     RunTrainer: save states in checkpoints, restore the order of prompts when a run is resumed
    sharding        which models FSDP2 and DeepSpeed shard, and what a save of a sharded model writes
    callbacks       report the monitor's alarms, write the metrics file, show the progress
    costs           measure the seconds and the memory of each step
"""
