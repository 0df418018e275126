"""A verifier's model at work: from questions and two answers to prompts, token ids and verdicts.

    (question, reference, answer) -> text -> token ids -> Yes against No, or the decision it writes

What cannot be asked (a prompt longer than the window) is undecided, with the reason.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from semantic_entropy.plugin import Verdict, errors
from semantic_entropy_plugins.models.loading import LoadedModel
from semantic_entropy_plugins.verifier.prompts import Template, encoder, writer
from semantic_entropy_plugins.verifier.scores import YesNo
from semantic_entropy_plugins.verifier.written_decisions import Decisions
from semantic_entropy_plugins.verifier.yes_no_tokens import Encode, find_words, with_word

Ask = tuple[str | None, str, str]
"""Question, the answer that stands as the reference, and the one that is checked against it."""
AT_A_TIME = 16384
"""Prompts that are held as tokens at a time: enough to find what they have in common, few enough for the memory."""

# Any three prompts will do, if the first two begin alike: on them the fast ways of running the model are checked.
_PROBES = (
    ("What is the capital of Italy?", "Rome", "The city of Rome."),
    ("What is the capital of Italy?", "Rome", "Paris"),
    ("Who wrote the tragedy Faust, in two parts, and when was the first one printed?", "Goethe", "Goethe, in 1808"),
)


@dataclass(frozen=True, slots=True)
class Engine:
    """A loaded model, and how it is asked.

    write: the prompt's text. encode: its token ids, None where they cannot be compared. window: tokens of a prompt.
    """

    write: Callable[[str | None, str, str], str]
    encode: Encode
    run: YesNo | Decisions
    window: int | None

    def verdicts(self, asks: Sequence[Ask]) -> Iterator[tuple[int, Verdict]]:
        """As batches are done: (index of the ask, its verdict)."""
        for start in range(0, len(asks), AT_A_TIME):
            for place, verdict in self._verdicts(asks[start : start + AT_A_TIME]):
                yield start + place, verdict

    def _verdicts(self, asks: Sequence[Ask]) -> Iterator[tuple[int, Verdict]]:
        places, prompts = [], []
        for place, ids in enumerate(self.encode([self.write(*ask) for ask in asks])):
            if ids is None:
                yield (
                    place,
                    Verdict(None, reason="the tokenizer cuts the decision word in another way after this prompt"),
                )
            elif self.window is not None and len(ids) > self.window:
                reason = f"too long: {len(ids)} tokens, and the model's window for a prompt is {self.window}"
                yield place, Verdict(None, reason=reason)
            else:
                places.append(place)
                prompts.append(ids)
        for index, verdict in self.run.verdicts(prompts):
            yield places[index], verdict


def scoring(loaded: LoadedModel, template: Template, chat: bool, tokens: int | None, *, share_prefix: bool) -> Engine:
    """Yes against No at the next token.

    Raises:
        OptionError: the template does not fit into the model's window, or cannot be asked.
        EquivalenceError: the model does not run here, or its tokenizer cannot tell Yes from No.
    """
    write = writer(template, loaded.tokenizer, chat=chat, lead=True)
    encode = encoder(template, loaded.tokenizer, chat=chat)
    texts = [write(*probe) for probe in _PROBES]
    words = find_words(loaded.tokenizer, encode, texts[0])
    encode = with_word(encode, words)
    probes = [ids or [] for ids in encode(texts)]
    longest = max(map(len, probes))
    if loaded.max_length is not None and longest > loaded.max_length:
        raise errors.OptionError(
            f"verifier: a short question takes {longest} tokens with this template, over the window of "
            f"{loaded.max_length} tokens of model={loaded.name!r}: use a shorter template or another model"
        )
    run = YesNo(loaded, words, tokens=tokens, probes=probes, share_prefix=share_prefix)
    return Engine(write, encode, run, loaded.max_length)


def generating(loaded: LoadedModel, template: Template, chat: bool, tokens: int | None, new: int) -> Engine:
    """The decision that it writes, in at most `new` tokens.

    Raises:
        OptionError: so many tokens leave no room for a prompt.
    """
    if loaded.max_length is not None and new >= loaded.max_length:
        raise errors.OptionError(
            f"verifier: max_new_tokens={new} leaves no room for a prompt in the window of {loaded.max_length} tokens "
            f"of model={loaded.name!r}"
        )
    write = writer(template, loaded.tokenizer, chat=chat, lead=False)
    run = Decisions(loaded, tokens=tokens, max_new_tokens=new)
    window = None if loaded.max_length is None else loaded.max_length - new
    return Engine(write, encoder(template, loaded.tokenizer, chat=chat), run, window)
