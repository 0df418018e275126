"""How far samples support the sentences of a long answer: who says it, and the measurement of many groups together.

`support=` is the name of a judge that has `Equivalence.support` ("text", "nli", "embedding", "judge"), such a judge, or
a function of two texts, `support(sample, sentence)`, that returns a number in [0, 1], True, False, or None (undecided).

The answer that is doubted is the greedy answer if it is known, else the first response with a valid answer. All other
responses are its samples. A sample that equals the answer supports each of its sentences, and is not asked about.

With `claims=`, the claims of the answer take the place of its sentences (`claim_extraction`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias, TypedDict

from semantic_entropy.clusters import Equivalence, strip_reasoning, whole
from semantic_entropy.contracts import call_component, describe, share, shown
from semantic_entropy.errors import InputError, MissingDependencyError
from semantic_entropy.long_answers import LongAnswer, Statement, assess, decide_long
from semantic_entropy.measuring.claim_extraction import AnyClaims, ClaimExtractor, Claims, load_claims
from semantic_entropy.measuring.judges import Options, Resources, check_options
from semantic_entropy.measuring.pipeline import PairBatch, judge_key
from semantic_entropy.measuring.sentences import sentence_spans
from semantic_entropy.plain_text import plural
from semantic_entropy.registry import default_registry
from semantic_entropy.sampling import SampleStore
from semantic_entropy.types import Extractor, Group, Pair, Verdict

AnySupport: TypeAlias = str | Equivalence | Callable[[str, str], float | bool | None]


class LongChoices(TypedDict, total=False):
    """The arguments of `Scorer` that set how long answers are measured."""

    long: bool | None
    support: AnySupport | None
    support_options: Options
    claims: AnyClaims
    claims_options: Options


NO_SENTENCES: LongChoices = {"support": None, "support_options": None, "claims": None, "claims_options": None}
"""These choices if no long answer is measured: others would change nothing."""


def load_support(given: AnySupport, resources: Resources, options: Options = None) -> Equivalence:
    """Return the scorer of a name with options, a judge or a function. `resources` loads the judge of a name.

    Raises:
        InputError: the value is of another kind, or the judge does not say what supports a sentence.
    """
    if isinstance(given, str | Equivalence):
        judge = resources.judge(given, options) if isinstance(given, str) else given
        if type(judge).support is Equivalence.support:
            raise InputError(
                f"support={judge.name!r}: this judge compares two answers, and does not say whether a long sample "
                f"supports a sentence. Use {', '.join(_supporting())}, or a function of two texts (sample, sentence)"
            )
        return judge
    if isinstance(given, type) or not callable(given):
        raise InputError(
            f"support={given!r:.80} is unusable: pass {', '.join(map(repr, _supporting()))}, a judge with support(), "
            "or a function of two texts (sample, sentence) that returns a number in [0, 1]"
        )
    return _FunctionSupport(given)


def _supporting() -> list[str]:
    """The names of the judges that can be used, of those that need nothing that is missing."""
    registry, names = default_registry(), []
    for entry in registry.entries("equivalence"):
        try:
            component = entry.component.load()
        except Exception:  # noqa: BLE001, S112  # a plugin that cannot be loaded is no part of this error
            continue
        if getattr(component, "support", Equivalence.support) is not Equivalence.support:
            names.append(registry.name_of(entry))
    return names


class _FunctionSupport(Equivalence):
    """The support that a plain function returns."""

    cheap = True  # its values are not cached: the function can change

    def __init__(self, function: Callable[[str, str], float | bool | None]) -> None:
        self._function = function
        self.name = getattr(function, "__name__", type(function).__name__)

    def judge(self, pairs: Sequence[Pair]) -> Sequence[Verdict]:
        return [self._verdict(pair) for pair in pairs]

    def support(self, pairs: Sequence[Pair]) -> Iterator[tuple[int, Verdict]]:
        yield from enumerate(map(self._verdict, pairs))

    def _verdict(self, pair: Pair) -> Verdict:
        value = call_component(f"support {self.name!r}", self._function, pair.left, pair.right, error=InputError)
        found = share(float(value) if type(value).__name__ in ("bool", "bool_") else value)
        if found is None:
            return Verdict(None, reason="the function returned None")
        if type(found) is float and 0.0 <= found <= 1.0:
            return Verdict(found >= 0.5, found)
        raise InputError(
            f"support {self.name!r} returned {shown(value)} for the sample {pair.left[:60]!r} and the sentence "
            f"{pair.right[:60]!r}; return a number in [0, 1], True, False, or None"
        )


class DirectedSupport(Equivalence):
    """A scorer as a judge of directed pairs (sample, sentence), so that they run through a batch like all pairs."""

    def __init__(self, scorer: Equivalence) -> None:
        self._scorer, self.cheap = scorer, scorer.cheap
        self.name = f"{scorer.name} (support)"

    def judge(self, pairs: Sequence[Pair]) -> Sequence[Verdict]:
        return self.collect(pairs)

    def stream(self, pairs: Sequence[Pair]) -> Iterator[tuple[int, Verdict]]:
        return iter(self._scorer.support(pairs))


class Assessment(NamedTuple):
    """What is known about the long answers of a group: None if they are short; and warnings for the result."""

    answer: LongAnswer | None
    warnings: tuple[str, ...] = ()


class _Doubted(NamedTuple):
    """The answer of a group that is doubted, and the valid samples that it is compared with."""

    question: str | None
    answer: str | None
    position: int | None
    samples: Sequence[str]
    invalid: int
    statements: Sequence[Statement]
    reason: str
    claims: Claims | None = None

    def pairs(self) -> Iterator[Pair]:
        for sample in dict.fromkeys(self.samples):
            if sample != self.answer:
                yield from (Pair(self.question, sample, statement.text) for statement in self.statements)


@dataclass(frozen=True, slots=True)
class LongAnswerMeasurer:
    """Measures long answers sentence by sentence.

    Attributes:
        asked: whether the answers are long; None: `decide_long` decides for each group.
        chosen: says how far a sample supports a sentence; None: the judge `text`, loaded when it is needed.
        resources: loads this judge, and has the cache of verdicts.
        extract: finds the answer in a response; None: the whole response without its reasoning.
        invalid: the policy for invalid answers; with "drop", invalid samples do not count.
        claims: finds the claims of an answer; None: sentences are measured.
    """

    asked: bool | None
    chosen: Equivalence | None
    resources: Resources
    extract: Extractor | None
    invalid: str
    claims: ClaimExtractor | None = None

    @property
    def scorer(self) -> Equivalence:
        """The scorer."""
        return self.chosen or self.resources.judge("text")

    @property
    def description(self) -> str:
        """Who says what is supported, and whose claims, with their options."""
        support = describe("support", self.scorer)
        return f"{support}, of claims by {self.claims.description}" if self.claims else support

    def measure(self, groups: Sequence[Group], answers: Sequence[Sequence[str | None]]) -> list[Assessment]:
        """Measure the groups whose answers are long, in one call of the scorer.

        Args:
            groups: B groups.
            answers: for each group, (G,) the answer that was found in each response; None: invalid.

        Raises:
            MissingDependencyError: `asked` is true, and sentencex is not installed.
            InputError: the function that finds claims failed, or returned something else.
            SamplingError: the model that finds claims is not available.
            EquivalenceError: the scorer broke its contract, or its model or server is not available.
        """
        found: list[_Doubted | Assessment] = [
            self._doubted(group, own) for group, own in zip(groups, answers, strict=True)
        ]
        if self.claims:
            found = self._with_claims(self.claims, found)
        doubted = [each for each in found if isinstance(each, _Doubted)]
        supports = self._supports(doubted) if doubted else {}
        return [self._assessed(each, supports) if isinstance(each, _Doubted) else each for each in found]

    def _doubted(self, group: Group, answers: Sequence[str | None]) -> _Doubted | Assessment:
        rule = decide_long(answers, self.asked)
        if not rule.is_long:
            return Assessment(None)
        texts = [self._text(response) for response in group.responses]
        greedy = group.evidence.greedy.text if group.evidence and group.evidence.greedy else None
        index = None if greedy is not None else next((i for i, text in enumerate(texts) if text is not None), None)
        answer = self._text(greedy) if greedy is not None else None if index is None else texts[index]
        samples = [text for i, text in enumerate(texts) if i != index]
        valid = [text for text in samples if text is not None]
        try:
            statements = [] if answer is None or self.claims else _sentences(answer)
        except MissingDependencyError as error:
            if self.asked:
                raise
            what = f"the answers are long ({rule.reason}), and their sentences are not measured"
            return Assessment(None, (f"{what}: {error}; long=False leaves this out",))
        invalid = 0 if self.invalid == "drop" else len(samples) - len(valid)
        return _Doubted(group.question, answer, index, valid, invalid, statements, rule.reason)

    def _with_claims(
        self, extractor: ClaimExtractor, found: Sequence[_Doubted | Assessment]
    ) -> list[_Doubted | Assessment]:
        """Return the groups with the claims of their answers, which are found in one call."""
        asked = [(each.answer, each.question) for each in found if isinstance(each, _Doubted) and each.answer]
        claims = iter(extractor.find(asked) if asked else ())
        filled: list[_Doubted | Assessment] = []
        for each in found:
            if isinstance(each, _Doubted) and each.answer:
                own = next(claims)
                if extractor.is_model:
                    own = self._compared(own, Pair(each.question, each.answer, ""))
                filled.append(each._replace(statements=[Statement(text) for text in own.texts], claims=own))
            else:
                filled.append(each)
        return filled

    def _compared(self, claims: Claims, answer: Pair) -> Claims:
        """Return the claims with a note if the answer does not say all of them; unknown if it says less than half."""
        pairs = [answer._replace(right=text) for text in claims.texts]
        verdicts = DirectedSupport(self.resources.judge("text")).judge(pairs) if pairs else ()
        others = [pair.right for pair, verdict in zip(pairs, verdicts, strict=True) if verdict.same is False]
        if not others:
            return claims
        what = f"the words of {len(others)} of {plural(len(pairs), 'claim')} are not in the answer, such as "
        what += repr(others[0][:60])
        return claims._replace(texts=(), problem=what) if 2 * len(others) > len(pairs) else claims._replace(note=what)

    def _text(self, response: str) -> str | None:
        found = self.extract(response) if self.extract else whole(strip_reasoning(response))
        return found if found and found.strip() else None

    def _supports(self, doubted: Sequence[_Doubted]) -> dict[Pair, Verdict]:
        """Return the verdict on each pair (sample, sentence): from the cache, or from the scorer in one call."""
        scorer, cache, known = self.scorer, self.resources.cache, dict[Pair, Verdict]()
        batch = PairBatch(DirectedSupport(scorer))
        key: tuple[Hashable, ...] = () if scorer.cheap else (*judge_key(scorer), "support")
        for pair in dict.fromkeys(pair for each in doubted for pair in each.pairs()):
            if key:
                question = pair.question if scorer.uses_question else None
                own = (*key, question, pair.left, pair.right)
                if verdict := cache.get(own):
                    known[pair] = verdict
                    continue
                batch.keys.append(own)
            batch.pairs.append(pair)
        if batch.pairs:
            batch.judge(cache)
        return known | dict(zip(batch.pairs, batch.verdicts, strict=True))

    def _assessed(self, doubted: _Doubted, supports: dict[Pair, Verdict]) -> Assessment:
        claims = doubted.claims or Claims()
        usage = claims.usage
        verdicts = [
            [
                _EQUAL if sample == doubted.answer else supports[Pair(doubted.question, sample, statement.text)]
                for sample in doubted.samples
            ]
            for statement in doubted.statements
        ]
        for pair in doubted.pairs():
            if paid := supports[pair].usage:
                usage = paid if usage is None else usage + paid
                supports[pair] = supports[pair]._replace(usage=None)  # another group with this pair pays nothing
        answer = assess(
            doubted.answer,
            doubted.statements,
            [list(map(_value, row)) for row in verdicts],
            supports=[[verdict.same is True for verdict in row] for row in verdicts],
            doubted=doubted.position,
            samples=len(doubted.samples) + doubted.invalid,
            invalid=doubted.invalid,
            unit="claim" if self.claims else "sentence",
            scorer=describe("support", self.scorer),
            claims_by=self.claims.description if self.claims else None,
            reason=doubted.reason,
            usage=usage,
        )
        reasons = [v.reason for v in (supports[pair] for pair in doubted.pairs()) if v.same is None and v.reason]
        warnings = answer.warnings()
        if reasons:
            warnings[-1] += f" ({reasons[0]})"
        if claims.problem:
            warnings.insert(0, f"the claims of the answer, and its uncertainty, are unknown: {claims.problem}")
        elif claims.note:
            warnings.insert(0, f"{claims.note}: read them, before you trust the uncertainty")
        return Assessment(answer, tuple(warnings))


_EQUAL = Verdict(same=True, score=1.0)


def _value(verdict: Verdict) -> float:
    """Return the support of a verdict; nan: undecided."""
    if verdict.same is None:
        return math.nan
    return float(verdict.same) if verdict.score is None else verdict.score


def _sentences(text: str) -> list[Statement]:
    """Return the sentences of a text with their places, without headings.

    A text of headings alone has these, and one without a letter or digit is one sentence.
    """
    spans = sentence_spans(text, headings=False) or sentence_spans(text) or [(0, len(text))]
    return [Statement(text[start:end], start, end) for start, end in spans]


def measurer_of(
    choices: LongChoices, resources: Resources, store: SampleStore | None, extract: Extractor | None, invalid: str
) -> LongAnswerMeasurer | None:
    """Return how long answers are measured; None: they are not.

    Args:
        choices: all of the arguments `LongChoices` of `Scorer`.
        resources: loads the scorer of a name.
        store: keeps the replies of a model that finds claims.
        extract: the extractor of `Scorer`.
        invalid: the policy for invalid answers.

    Raises:
        InputError: a choice cannot be used, or changes nothing, because no long answer is measured.
    """
    long, support, options = choices["long"], choices["support"], choices["support_options"]
    check_options("support", support or "text", options)
    if long not in (None, True, False):
        raise InputError(
            f"long={long!r:.80} is unknown: True (measure sentences), False (do not), or None (if the answers are long)"
        )
    if long is False:
        given: Mapping[str, object] = choices
        if unread := [name for name, default in NO_SENTENCES.items() if given[name] != default]:
            raise InputError(
                f"{unread[0]}= is given, and long=False measures no sentences and claims: leave one of them out"
            )
        return None
    chosen = load_support(support or "text", resources, options) if long or support or options else None
    claims = load_claims(choices["claims"], choices["claims_options"], store)
    return LongAnswerMeasurer(long, chosen, resources, extract, invalid, claims)
