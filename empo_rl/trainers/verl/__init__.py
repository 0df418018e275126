"""EMPO with verl (0.9), without a fork of it: `VERL_USE_EXTERNAL_MODULES=empo_rl.trainers.verl` loads this package.

`import verl` then imports this package, which registers the trainer mode `empo` (`trainer.v1.trainer_mode=empo`):

    queue_groups   rollout groups from the rows of verl's TransferQueue, one group for each prompt uid
    refill         a replay buffer that evicts the groups outside the window, and asks for as many new prompts
    verl_trainer   the trainer of the mode `empo`: the decision of the provider, written into verl's batch

`empo_rl.config.verl_command` renders verl's command line from a configuration of `empo-train`, without verl.
"""

from empo_rl.trainers.verl.verl_trainer import EmpoPPOTrainer

__all__ = ["EmpoPPOTrainer"]
