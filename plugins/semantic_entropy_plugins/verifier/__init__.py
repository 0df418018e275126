"""The verifier judge: a causal language model says whether two answers are equivalent (Algorithm 3 of the EMPO paper).

`verifier_judge` holds the judge. `prompts` writes what the model reads, `verifier_model` goes from two answers to a
verdict, by comparing Yes with No (`yes_no_scores`, with `shared_prefixes` for speed) or by reading what the model
writes (`written_decisions`). This module imports nothing, because the judge imports torch.
"""
