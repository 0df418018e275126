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
from semantic_entropy_plugins.verifier.prefix import common_prefix

YES, NO = "Yes", "No"

Encode = Callable[[Sequence[str]], list[list[int] | None]]


class Words(NamedTuple):
    """The tokens that decide.

    yes, no: their ids. space: what stands between a prompt and the word. tail: how many tokens a prompt with " Yes"
    after it has from `yes` on, those that the tokenizer adds at the end included.
    """

    yes: int
    no: int
    space: str
    tail: int


def find_words(tokenizer: Any, encode: Encode, prompt: str) -> Words:
    """The ids of Yes and No after this prompt.

    Args:
        tokenizer: the model's, to know which id stands for what it does not know.
        encode: from prompts to its ids.
        prompt: one of those to be judged; all end alike.

    Raises:
        EquivalenceError: the words are unknown to the tokenizer, or look alike; shows the ids.
    """
    tried = []
    for space in ("",) if prompt[-1:].isspace() else (" ", ""):
        ids = [ids or [] for ids in encode([prompt + space + word for word in (YES, NO)])]
        shared = common_prefix(*ids)
        yes, no = (one[shared] for one in ids)
        if yes != no and tokenizer.unk_token_id not in (yes, no):
            return Words(yes, no, space, len(ids[0]) - shared)
        tried += [f"{space + word!r} {one[-4:]}" for word, one in zip((YES, NO), ids, strict=True)]
    raise errors.EquivalenceError(
        f"verifier: this tokenizer cannot tell Yes from No after {prompt[-30:]!r}. The last ids with each word are "
        f"{', '.join(tried)}; {tokenizer.unk_token_id} stands for the unknown. Use another model, or mode='generate'"
    )


def with_word(encode: Encode, words: Words) -> Encode:
    """The function from prompts to the ids that the model reads before it decides.

    None: after this prompt the tokenizer cuts the word in another way, and the ids compared would not be the word's.
    """

    def before_word(prompts: Sequence[str]) -> list[list[int] | None]:
        found = encode([prompt + words.space + YES for prompt in prompts])
        return [ids[: -words.tail] if ids and ids[-words.tail :][:1] == [words.yes] else None for ids in found]

    return before_word
