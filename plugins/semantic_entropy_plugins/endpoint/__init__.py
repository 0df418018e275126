"""HTTP client for servers with OpenAI's chat completions protocol; the LLM judge and the sampler `openai` use it.

client: the entry, `Endpoint`. call_thread: the event loop that sends calls. retry: attempts, waits, and when to stop.
failures: what a failed attempt means. replies: reads response bodies. request: request options. key: the API key.

Nothing is imported here: importing httpx takes 0.1 seconds, which a user without an endpoint need not pay.
"""
