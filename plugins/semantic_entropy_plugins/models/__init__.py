"""Loading local models: checkpoints, batches, tokenizers."""
