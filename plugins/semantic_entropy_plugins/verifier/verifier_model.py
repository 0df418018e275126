"""The verifier's model: writes a question and two answers as a prompt, encodes the prompt, and computes the verdict.

    (question, reference, answer) -> prompt -> token ids -> p(Yes) and p(No), or a written decision -> verdict

If a prompt cannot be judged, for example because it is longer than the window, the verdict is undecided, with a reason.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from semantic_entropy.plugin import Verdict, errors
from semantic_entropy_plugins.models.loading import LoadedModel
from semantic_entropy_plugins.verifier.prompts import PromptTemplate, prompt_encoder, prompt_writer
from semantic_entropy_plugins.verifier.written_decisions import WrittenDecisions
from semantic_entropy_plugins.verifier.yes_no_scores import Encode, YesNoScores, before_decision, find_yes_no

Query = tuple[str | None, str, str]
"""The question, the reference, and the answer that is compared with the reference."""
TOKENISED_AT_ONCE = 16384
"""The number of prompts that are tokenised together: large enough to find common prefixes, small enough for memory."""

# The fast methods are checked on these queries. The first two prompts must have a common prefix.
_PROBES = (
    ("What is the capital of Italy?", "Rome", "The city of Rome."),
    ("What is the capital of Italy?", "Rome", "Paris"),
    ("Who wrote the tragedy Faust, in two parts, and when was the first one printed?", "Goethe", "Goethe, in 1808"),
)


@dataclass(frozen=True, slots=True)
class VerifierModel:
    """A loaded model, with the functions that turn queries into verdicts.

    Attributes:
        write: a function that returns the text of a prompt.
        encode: a function that returns the token ids of prompts; None in place of the ids of a prompt that cannot be
            scored.
        runner: computes verdicts from token ids.
        window: the length of the longest prompt in tokens; None: no limit.
    """

    write: Callable[[str | None, str, str], str]
    encode: Encode
    runner: YesNoScores | WrittenDecisions
    window: int | None

    def verdicts(self, queries: Sequence[Query]) -> Iterator[tuple[int, Verdict]]:
        """Yields (index of the query, verdict on the query) after each batch."""
        for start in range(0, len(queries), TOKENISED_AT_ONCE):
            for index, verdict in self._verdicts(queries[start : start + TOKENISED_AT_ONCE]):
                yield start + index, verdict

    def _verdicts(self, queries: Sequence[Query]) -> Iterator[tuple[int, Verdict]]:
        indices, prompts = [], []
        for index, ids in enumerate(self.encode([self.write(*query) for query in queries])):
            if ids is None:
                reason = "the tokenizer splits the decision word differently after this prompt"
                yield index, Verdict(None, reason=reason)
            elif self.window is not None and len(ids) > self.window:
                reason = f"too long: {len(ids)} tokens, and the model's window for a prompt is {self.window}"
                yield index, Verdict(None, reason=reason)
            else:
                indices.append(index)
                prompts.append(ids)
        for position, verdict in self.runner.verdicts(prompts):
            yield indices[position], verdict


def scoring_model(
    loaded: LoadedModel, template: PromptTemplate, chat: bool, tokens: int | None, *, share_prefix: bool
) -> VerifierModel:
    """Make a verifier model that compares the probabilities of Yes and No for the next token.

    Raises:
        OptionError: the template is invalid, or is longer than the model's window.
        EquivalenceError: the model does not run on this machine, or its tokenizer cannot distinguish Yes from No.
    """
    write = prompt_writer(template, loaded.tokenizer, chat=chat, lead=True)
    encode = prompt_encoder(template, loaded.tokenizer, chat=chat)
    texts = [write(*probe) for probe in _PROBES]
    words = find_yes_no(loaded.tokenizer, encode, texts[0])
    encode = before_decision(encode, words)
    probes = [ids or [] for ids in encode(texts)]
    longest = max(map(len, probes))
    if loaded.max_length is not None and longest > loaded.max_length:
        raise errors.OptionError(
            f"verifier: a short question takes {longest} tokens with this template, over the window of "
            f"{loaded.max_length} tokens of model={loaded.name!r}: use a shorter template or another model"
        )
    runner = YesNoScores(loaded, words, tokens=tokens, probes=probes, share_prefix=share_prefix)
    return VerifierModel(write, encode, runner, loaded.max_length)


def generating_model(
    loaded: LoadedModel, template: PromptTemplate, chat: bool, tokens: int | None, max_new_tokens: int
) -> VerifierModel:
    """Make a verifier model that writes its decision, in at most `max_new_tokens` tokens.

    Raises:
        OptionError: `max_new_tokens` leaves no room for a prompt.
    """
    if loaded.max_length is not None and max_new_tokens >= loaded.max_length:
        raise errors.OptionError(
            f"verifier: max_new_tokens={max_new_tokens} leaves no room for a prompt in the window of "
            f"{loaded.max_length} tokens of model={loaded.name!r}: lower max_new_tokens"
        )
    write = prompt_writer(template, loaded.tokenizer, chat=chat, lead=False)
    encode = prompt_encoder(template, loaded.tokenizer, chat=chat)
    runner = WrittenDecisions(loaded, tokens=tokens, max_new_tokens=max_new_tokens)
    window = None if loaded.max_length is None else loaded.max_length - max_new_tokens
    return VerifierModel(write, encode, runner, window)
