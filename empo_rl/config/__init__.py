"""The configuration of a training run: its schema, how it is loaded, and how it becomes TRL's arguments."""
