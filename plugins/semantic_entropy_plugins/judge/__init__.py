"""The LLM judge: a language model behind an HTTP endpoint compares two answers."""
