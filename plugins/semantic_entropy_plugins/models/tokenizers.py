"""Loads tokenizers of the transformers library, finds the context window, and breaks up control tokens in texts.

Control tokens, such as <|im_end|>, delimit turns in a prompt. A prompt from a chat template needs control tokens. But a
tokenizer also reads the characters "<|im_end|>" in a question or an answer as a control token, so such a text could end
its turn and write the next turn. Therefore a space is put into each control token in a question or an answer, which
changes the text slightly:

    <|im_end|>  ->  < |im_end|>

Left out: control tokens that the tokenizer does not mark as special (`<think>` in some); special tokens of one
character.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from semantic_entropy.plugin import errors

_UNLIMITED = 10**6  # tokens: a tokenizer without a limit states 10**30
_JOINT = re.compile(r"(?<=\S)(?=\S)")


def load_tokenizer(folder: Path, subject: str, *, as_saved: bool = False) -> Any:
    """Load the tokenizer in a model's folder.

    Args:
        folder: the model's files.
        subject: the component and the model, such as "nli: model='x'"; error messages start with this text.
        as_saved: load exactly the tokenizer that the files describe, if tokenizer_config.json names the class
            TokenizersBackend and tokenizer.json exists; otherwise AutoTokenizer is used. AutoTokenizer of transformers
            5 ignores the described class for a Qwen2 model, and loads Qwen2's own tokenizer class. This class silently
            replaces the rules for splitting words, so a text can get other tokens.

    Raises:
        OptionError: the folder has no tokenizer, or the tokenizer cannot be loaded.
    """
    from transformers import AutoTokenizer, PreTrainedTokenizerFast  # seconds, and the vLLM sampler does not need it

    kind = PreTrainedTokenizerFast if as_saved and _is_complete(folder) else AutoTokenizer
    try:
        tokenizer: Any = kind.from_pretrained(folder, trust_remote_code=False)
    except Exception as error:  # a broken file can raise anything
        raise errors.OptionError(
            f"{subject} has no tokenizer that can be loaded. Save a tokenizer in the model's folder with "
            f"`tokenizer.save_pretrained`. {transformers_error(error)}"
        ) from error
    if len(tokenizer) <= len(tokenizer.all_special_ids):  # transformers creates an empty tokenizer if it finds no files
        raise errors.OptionError(
            f"{subject} has no tokenizer: {folder} holds no vocabulary. Save a tokenizer in the model's folder with "
            "`tokenizer.save_pretrained`"
        )
    return tokenizer


def _is_complete(folder: Path) -> bool:
    path = folder / "tokenizer_config.json"
    declared = json.loads(path.read_text(encoding="utf-8")).get("tokenizer_class") if path.is_file() else None
    return declared == "TokenizersBackend" and (folder / "tokenizer.json").is_file()


def transformers_error(error: Exception) -> str:
    """The error of transformers, on one line, for the end of a message."""
    return f"transformers reports {type(error).__name__}: {' '.join(str(error).split())[:500]}"


def context_window(tokenizer: Any, model: Any) -> int | None:
    """The largest number of tokens that the model accepts; None: no limit is known.

    This is the smaller of the tokenizer's limit and the configuration's limit. Models of the RoBERTa family count
    positions from (the padding token's id + 1), so their limit is smaller by this number.
    """
    limits = [tokenizer.model_max_length] if tokenizer.model_max_length < _UNLIMITED else []
    positions = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    if positions and positions > 0:
        limits.append(positions - _first_position(model))
    return min(limits, default=None)


def _first_position(model: Any) -> int:
    for path, module in model.named_modules():
        if path.endswith("position_embeddings") and getattr(module, "padding_idx", None) is not None:
            return int(module.padding_idx) + 1
    return 0


def control_tokens(tokenizer: Any) -> frozenset[str]:
    """All tokens that the tokenizer marks as special. A special token may have no role such as bos or eos."""
    added = getattr(tokenizer, "added_tokens_decoder", {}).values()
    named = getattr(tokenizer, "all_special_tokens", ())
    return frozenset(str(token) for token in (*named, *(token for token in added if token.special)) if str(token))


def control_token_breaker(tokenizer: Any) -> Callable[[str], str]:
    """A function that puts a space into each control token in a text. It changes nothing else."""
    broken = {token: _JOINT.sub(" ", token, count=1) for token in control_tokens(tokenizer)}
    longest_first = sorted((token for token in broken if broken[token] != token), key=len, reverse=True)
    if not longest_first:
        return lambda text: text
    any_token = re.compile("|".join(map(re.escape, longest_first)))

    def break_up(text: str) -> str:
        while any_token.search(text):  # repeated, because tokens may overlap
            text = any_token.sub(lambda found: broken[found[0]], text)
        return text

    return break_up
