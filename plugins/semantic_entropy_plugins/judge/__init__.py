"""The LLM judge: a language model behind an HTTP endpoint decides whether two answers mean the same.

llm_judge: the judge. judge_prompts: what the model is asked. verdict_reading: how its reply becomes a verdict.

Nothing is imported here: importing httpx takes 0.1 seconds, which a user without an endpoint need not pay.
"""
