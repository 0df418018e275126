"""Samplers: draw responses from a language model.

openai_sampler: a model behind an HTTP endpoint (`openai_plan`: how many responses each request asks for).
hf: a model in this process, by transformers. vllm_sampler: a model in this process, by vLLM.

Shared by the samplers with a model in this process: local_sampler (options, settings, variants), sampling_prompts,
sampling_requests (the state of a request), sampling_thread (drawing ahead of the reader), and sampled_text (from tokens
to a response).

Nothing is imported here: torch, vllm and httpx are imported only by the sampler that needs them.
"""
