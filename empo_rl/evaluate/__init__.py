"""`empo-eval`: greedy accuracy, pass@k and entropy of a model on the paper's evaluation sets."""
