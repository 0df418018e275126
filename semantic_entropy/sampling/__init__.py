"""Asking the model: groups as they are drawn (`drawing`), and the samples kept on disk (`store`)."""
