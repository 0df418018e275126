"""The verifier judge: a language model says whether two answers are equivalent."""
