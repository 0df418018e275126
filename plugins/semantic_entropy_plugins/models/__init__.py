"""What judges and samplers with a local model share: finding and loading checkpoints, tokenizers, batches.

This module imports nothing, because `loading` and `batches` import torch.
"""
