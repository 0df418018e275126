"""The LLM judge: a language model behind an HTTP endpoint decides whether two answers mean the same.

llm_judge: the judge. judge_prompts: the prompts. verdict_reading: reads the verdict from the model's reply.

This module imports nothing, because importing httpx takes 0.1 seconds.
"""
