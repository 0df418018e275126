"""HTTP client for servers with OpenAI's chat completions protocol, for the LLM judge and the sampler `openai`.

client: the public class `Endpoint`. call_thread: the event loop that sends calls. retry: attempts, waits, and when to
stop. failures: classifies failed attempts. replies: reads response bodies. request: request options. key: the API key.

This module imports nothing, because importing httpx takes 0.1 seconds.
"""
