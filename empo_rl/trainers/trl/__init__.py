"""EMPO with TRL. One training step:

    rollouts        TRL's rows -> columns -> rollout groups
    distributed     one decision about them, also if several processes share the batch
    grpo_trainer    EmpoGRPOTrainer: the decision in TRL's loss
    token_measures  entropy and self-certainty of the token distributions

and a whole run:

    run_trainer     RunTrainer: checkpoints of the state, a resumed order of prompts
    callbacks       the monitor's alarms, the metrics file, the progress
    costs           seconds and memory of each step
"""
