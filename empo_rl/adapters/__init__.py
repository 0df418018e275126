"""Trainers that consume a `BatchDecision`. Each module imports its own trainer; nothing here does."""
