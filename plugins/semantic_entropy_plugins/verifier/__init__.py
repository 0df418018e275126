"""The verifier judge: a causal language model says whether two answers are equivalent (Algorithm 3 of the EMPO paper).

`verifier_judge` holds the judge. `prompts` writes prompts. `verifier_model` computes a verdict on two answers: it
compares the probabilities of Yes and No (`yes_no_scores`, with `shared_prefixes` for speed), or reads the decision in a
text that the model writes (`written_decisions`). The judge is imported at its first use, because it imports torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from semantic_entropy_plugins.verifier.verifier_judge import Verifier

__all__ = ["Verifier"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from semantic_entropy_plugins.verifier import verifier_judge

    return getattr(verifier_judge, name)
