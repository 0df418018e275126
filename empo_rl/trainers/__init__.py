"""Trainers that take their rewards and advantages from the provider."""
