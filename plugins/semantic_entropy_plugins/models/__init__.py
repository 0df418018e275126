"""Code for judges and samplers with a local model: it finds and loads checkpoints and tokenizers, and forms batches.

This module imports nothing, because `loading` and `batches` import torch.
"""
