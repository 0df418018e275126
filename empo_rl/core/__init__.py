"""From completions to advantages. Imports no torch and no trainer.

    groups      RolloutGroup, and grouping by position
    rewards/    reward signals, and the comparison with gold answers
    guards      rules about single completions
    filters     bounds of the entropy and of the largest share
    advantages  normalisation of rewards
    metrics     the numbers of a batch for a log
    provider    EmpoProvider puts these together and returns a BatchDecision
    presets     the settings of the paper and of its official code, by name

`empo_rl` exports the public names; neighbours import them from the modules.
"""
