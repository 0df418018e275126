"""Compute advantages from completions. This package imports neither torch nor a trainer.

    groups      RolloutGroup, and grouping by position
    rewards/    reward signals, and the comparison with gold answers
    guards      rules about single completions
    filters     bounds of a group's entropy and of the share of its largest cluster
    advantages  normalisation of rewards
    contracts   calls of signals, guards and filters, with checks of what they return
    metrics     the numbers of a batch for a log
    provider    EmpoProvider, which uses the modules above and returns a BatchDecision
    presets     the settings of the paper and of its official code, by name

`empo_rl` exports the public names. The other packages of `empo_rl` import the names from the modules.
"""
