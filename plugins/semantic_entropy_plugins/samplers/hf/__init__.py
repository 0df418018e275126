"""The sampler `hf`: a causal language model in this process, run by transformers' `generate`.

hf_sampler: the sampler and its options. hf_engine: batches of requests. generation: calls of `generate` with a shared
cache. generation_modes: tests the kinds of batches that a model supports. token_draws: draws each token.

This module imports nothing: torch is imported only when the sampler is used.
"""
