"""Asking the model: samplers (`sampler`), and the samples kept on disk (`store`)."""
