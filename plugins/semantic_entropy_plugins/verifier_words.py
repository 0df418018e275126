"""Yes and No as tokens: which ids to compare, worked out as the continuation of the actual prompt.

    prompt + " Yes" -> shared tokens, yes, ...
    prompt + " No"  -> shared tokens, no, ...

The model reads the shared tokens, and its logits for the first tokens that differ are compared. This covers words of
several tokens, a lone space piece before them, and tokenizers that see bytes, characters or pieces of words.

Left out: other ways to write the words (YES, yes, 是).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from semantic_entropy.plugin import errors
from semantic_entropy_plugins.verifier_prefix import common_prefix

YES, NO = "Yes", "No"


class Words(NamedTuple):
    """The tokens that decide.

    yes, no: their ids. space: what stands between a prompt and the word. tail: how many tokens a prompt with " Yes"
    after it has from `yes` on, those that the tokenizer adds at the end included.
    """

    yes: int
    no: int
    space: str
    tail: int


def find_words(tokenizer: Any, prompt: str, *, special: bool) -> Words:
    """The ids of Yes and No after this prompt.

    Args:
        tokenizer: the model's.
        prompt: one of those to be judged; all end alike.
        special: whether the tokenizer adds its special tokens.

    Raises:
        EquivalenceError: the words are unknown to the tokenizer, or look alike; shows the ids.
    """
    tried = []
    for space in ("",) if prompt[-1:].isspace() else (" ", ""):
        ids = tokenizer([prompt + space + word for word in (YES, NO)], add_special_tokens=special)["input_ids"]
        shared = common_prefix(*ids)
        yes, no = (one[shared] for one in ids)
        if yes != no and tokenizer.unk_token_id not in (yes, no):
            return Words(yes, no, space, len(ids[0]) - shared)
        tried.append(", ".join(f"{space + word!r}: {one[-4:]}" for word, one in zip((YES, NO), ids, strict=True)))
    raise errors.EquivalenceError(
        f"verifier: this tokenizer cannot tell Yes from No after {prompt[-30:]!r}; the last ids of the prompt with the "
        f"word are {'; '.join(tried)}, where {tokenizer.unk_token_id} is unknown. Use another model, or mode='generate'"
    )


def encoder(tokenizer: Any, words: Words, *, special: bool) -> Callable[[Sequence[str]], list[list[int] | None]]:
    """The function from prompts to the ids that the model reads.

    None: for this prompt alone the tokenizer cuts the word differently, so that the ids would not be the word's.
    """

    def encode(prompts: Sequence[str]) -> list[list[int] | None]:
        texts = [prompt + words.space + YES for prompt in prompts]
        found = tokenizer(texts, add_special_tokens=special, verbose=False)["input_ids"] if texts else []
        return [ids[: -words.tail] if ids[-words.tail :][:1] == [words.yes] else None for ids in found]

    return encode
