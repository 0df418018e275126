"""The routes that gateways call: each has the form that its gateway expects.

litellm_guardrail    the Generic Guardrail API of LiteLLM
answer_verification  the verify endpoint of vLLM's Semantic Router
"""
