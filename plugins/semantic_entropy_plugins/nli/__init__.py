"""The NLI judge: answers that entail each other mean the same."""
