"""The paper's baselines on TRL's own trainers: SFT and online DPO.

They are two modules because importing `trl.experimental`, which online DPO needs, warns.
"""
