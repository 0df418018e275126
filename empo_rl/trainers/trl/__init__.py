"""EMPO on TRL's GRPOTrainer."""
