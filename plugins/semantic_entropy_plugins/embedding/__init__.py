"""The embedding judge: the cosine of two answers' sentence embeddings, above a threshold.

`embedding_judge` holds the judge, `sentence_model` loads the model. Both are imported at their first use,
because they import torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from semantic_entropy_plugins.embedding.embedding_judge import Embedding

__all__ = ["Embedding"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from semantic_entropy_plugins.embedding import embedding_judge

    return getattr(embedding_judge, name)
