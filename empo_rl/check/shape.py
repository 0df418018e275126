"""How large a model is, without loading it: from its config.json where that is on this machine, else from `check:`.

The number of weights is that of a decoder as transformers writes it (Qwen2, Llama, Mistral): for each layer
q, o: 2 h^2; k, v: 2 h x kv; the MLP: 3 h x i; and the embeddings, twice where they are not tied. Norms and biases are
left out: less than a thousandth.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from empo_rl.config.schema import Config


@dataclass(frozen=True, slots=True)
class Shape:
    """parameters: weights in all. source: where it is from. What is not known is None."""

    parameters: float
    hidden: int | None
    layers: int | None
    vocabulary: int | None
    source: str
    keys: int | None = None  # the width of a token's keys in one layer


def model_shape(config: Config) -> Shape | None:
    """None where nothing says how large the model is."""
    given = config.check
    if given.parameters is not None:
        return Shape(given.parameters, given.hidden, given.layers, given.vocabulary, "the section check", given.keys)
    found = _config_json(config.model)
    if found is None:
        return None
    try:
        values = json.loads(found.read_text(encoding="utf-8"))
        return _shape(values, str(found))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _shape(values: Mapping[str, Any], source: str) -> Shape:
    hidden, layers, vocabulary = values["hidden_size"], values["num_hidden_layers"], values["vocab_size"]
    heads = values["num_attention_heads"]
    head = values.get("head_dim") or hidden // heads
    queries, keys = head * heads, head * (values.get("num_key_value_heads") or heads)
    a_layer = 2 * hidden * queries + 2 * hidden * keys + 3 * hidden * values["intermediate_size"]
    embeddings = vocabulary * hidden * (1 if values.get("tie_word_embeddings") else 2)
    return Shape(layers * a_layer + embeddings, hidden, layers, vocabulary, source, keys)


def _config_json(model: str) -> Path | None:
    local = Path(model) / "config.json"
    if local.is_file():
        return local
    if "/" not in model:
        return None
    try:
        from huggingface_hub import try_to_load_from_cache
    except ImportError:
        return None
    try:
        cached = try_to_load_from_cache(model, "config.json")
    except ValueError:  # no name of a repository
        return None
    return Path(cached) if isinstance(cached, str) else None
