"""The baselines of the paper, SFT and online DPO, on TRL's own trainers.

The baselines are two modules because online DPO needs `trl.experimental`, and importing `trl.experimental` prints a
warning.
"""
