"""The NLI judge: two answers mean the same where a natural language inference model says that they entail each other.

`nli_judge` holds the judge, `entailment_rules` turns the model's labels into verdicts, `pair_classifier` runs the
model. This module imports nothing, because the judge imports torch.
"""
