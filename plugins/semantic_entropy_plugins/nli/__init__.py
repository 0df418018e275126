"""The NLI judge: two answers mean the same if a natural language inference model says that they entail each other.

`nli_judge` holds the judge, `entailment_rules` turns the model's labels into verdicts, `pair_classifier` runs the
model. The judge is imported at its first use, because it imports torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from semantic_entropy_plugins.nli.nli_judge import NLI

__all__ = ["NLI"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from semantic_entropy_plugins.nli import nli_judge

    return getattr(nli_judge, name)
