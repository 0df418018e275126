"""Trainers that use an `EmpoProvider`. Each module imports the library of its trainer; this package imports nothing.

trl/             EmpoGRPOTrainer, EmpoAsyncGRPOTrainer, and the trainer, callbacks and costs of a training run
reward_function  the provider as a reward function for TRL's own trainers
slime_hooks      the provider as the reward, filter and normalisation hooks of slime; imports no slime
verl/            the trainer mode `empo` of verl; this package imports verl, because verl loads the package
baselines/       SFT and online DPO, the baselines of the paper
"""
