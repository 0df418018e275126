"""The sampler `hf`: a causal language model in this process, by transformers' `generate`.

hf_sampler: options. hf_engine: batches of requests. generation: calls of `generate` with a shared cache.
generation_modes: which kind of batches a model supports. token_draws: how each token is drawn.

Nothing is imported here: torch is imported only when the sampler is used.
"""
