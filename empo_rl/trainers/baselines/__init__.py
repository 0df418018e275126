"""The baselines of the paper on TRL's own trainers: SFT and online DPO."""
