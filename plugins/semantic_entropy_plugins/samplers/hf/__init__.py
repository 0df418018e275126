"""The transformers sampler."""
