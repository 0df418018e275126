"""Samplers: draw responses from a language model.

openai_sampler: a model behind an HTTP endpoint (`openai_plan` chooses the number of responses for each request). hf: a
model in this process, run by transformers. vllm_sampler: a model in this process, run by vLLM.

Shared by the samplers with a model in this process: local_sampler (options, settings, variants), sampling_prompts,
sampling_requests (the state of a request), sampling_thread (drawing ahead of the reader), and sampled_text (from tokens
to a response).

This module imports nothing: torch, vllm and httpx are imported only by the sampler that needs them.
"""
