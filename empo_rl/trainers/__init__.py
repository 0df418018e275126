"""Trainers that use an `EmpoProvider`. Each module imports its trainer's library; this module imports nothing.

trl/             EmpoGRPOTrainer and what a run adds to it
reward_function  the provider as a reward function for TRL's own trainers
baselines/       SFT and online DPO, the baselines of the paper
"""
