"""The conditions under which scores were measured. A calibration holds for scores of the same conditions only.

`Origin` is the part of one result's provenance that a calibration depends on. `Conditions` is what the origins of all
labelled groups have in common, and `Conditions.differences` names each choice in which another result differs, with
both values. Some results of the same choices still are outside of what the calibration has seen: `Conditions.gaps`.

The model is the description of the sampler, without the options that do not change the distribution of the responses
(such as the seed). The prompts (system text, templates) are kept as a digest, because a calibration file is shared. If
the caller passed the responses, the model is what the caller declared. Versions of libraries are not compared.
"""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any, NamedTuple, Self

from semantic_entropy.clusters import is_doubted
from semantic_entropy.errors import InputError
from semantic_entropy.plain_text import plural, shorten
from semantic_entropy.results import Provenance

_SAME_SAMPLES = frozenset("seed logprobs top_logprobs token_entropies hidden_states end_token".split())
"""Options of samplers that do not change the distribution that responses are drawn from."""
_OPTIONAL = {
    "similarity": frozenset({"similarity", "greedy_similarity", "long_answer"}),
    "replies_by": frozenset({"replies"}),
}
"""Fields of `Origin` that matter only to scores that read one of these fields of `Evidence`."""
_PROMPTS = frozenset("system template chat chat_template chat_template_kwargs messages".split())
"""Options of samplers with texts that are sent besides the question."""


class Origin(NamedTuple):
    """How one result came about: the part of its provenance that a calibration depends on. None: not known.

    Attributes:
        n: the number of responses: as many as a sampler was asked for, or as the caller passed.
        responses: the number of responses that were measured.
        model: the model; None: undeclared.
        prompts: the digest of the prompts of the sampler; None: it has none, or there is no sampler.
        replies_by: the model that replied to the prompts of estimators.
        cut_off: the number of responses that ended at the token limit.
        (others): as in `Provenance`.
    """

    convention: str
    equivalence: str
    auto: bool
    clusterer: str
    extract: str
    invalid: str
    similarity: str | None
    estimators: tuple[str, ...]
    n: int | None
    responses: int | None
    stopping_rule: str | None
    model: str | None
    prompts: str | None
    replies_by: str | None = None
    cut_off: int = 0

    @classmethod
    def of(cls, provenance: Provenance | Mapping[str, Any], responses: int | None = None) -> Self:
        """Read the provenance of a result, as an object or as the dict in an output row.

        Args:
            provenance: the provenance.
            responses: the number of responses of the group; None: not known.

        Raises:
            InputError: a field is missing, or has a wrong type.
        """
        fields = _fields(provenance)
        model, prompts = describe_model(fields.get("sampler"))
        drawn = fields.get("n") if fields.get("sampler") else None
        return cls(
            convention=fields["convention"],
            equivalence=fields["equivalence"],
            auto=fields["equivalence_reason"].startswith("auto"),
            clusterer=fields["clusterer"],
            extract=fields["extract"],
            invalid=fields["invalid"],
            similarity=fields.get("similarity"),
            estimators=tuple(fields.get("estimators") or ()),
            n=responses if drawn is None else drawn,
            responses=responses,
            stopping_rule=fields.get("stopping_rule"),
            model=model or fields.get("model"),
            prompts=prompts,
            replies_by=describe_model(fields.get("replies_by"))[0],
            cut_off=fields.get("cut_off") or 0,
        )


@dataclass(frozen=True, slots=True)
class JudgedBy:
    """A judge of the labelled groups, and the choices that depend on it."""

    equivalence: str
    clusterer: str
    extract: str


@dataclass(frozen=True, slots=True)
class Conditions:
    """The conditions that the scores of a calibration have in common.

    Attributes:
        convention: the name of the convention.
        judges: the judges of the groups, with their clusterers and extractors. Only `auto` uses several.
        auto: whether `auto` chose the judges.
        invalid: the policy for invalid answers.
        similarity: the similarity that a score of the calibration reads; None: none reads one.
        estimators: the estimators of the scores, with options, by the name of the score.
        fewest: the smallest number of responses of a group.
        most: the largest number of responses of a group.
        stopping_rule: the rule of `n="auto"`; None: the number of responses was fixed.
        model: the model; None: undeclared.
        prompts: SHA-256 of the prompts that are sent besides the question; None: there are none, or not known.
        replies_by: the model that replied to the prompts of estimators; None: no score needs replies.
    """

    convention: str
    judges: tuple[JudgedBy, ...]
    auto: bool
    invalid: str
    similarity: str | None
    estimators: Mapping[str, str]
    fewest: int
    most: int
    stopping_rule: str | None = None
    model: str | None = None
    prompts: str | None = None
    replies_by: str | None = None

    @classmethod
    def of(
        cls,
        origins: Iterable[Origin | Provenance | Mapping[str, Any]],
        scores: Sequence[str],
        *,
        model: str | None = None,
        reads: Collection[str] = (),
    ) -> Self:
        """Return the conditions that all of these results share.

        Args:
            origins: the origins, or the provenances, of the labelled results.
            scores: the names of the scores that the calibration uses.
            model: the model that the user declares for responses without a sampler.
            reads: the fields of `Evidence` that the scores read, such as "similarity" and "replies".

        Raises:
            InputError: there are no results, or two of them were measured with different choices.
        """
        found = dict.fromkeys(each if isinstance(each, Origin) else Origin.of(each) for each in origins)
        if not found:
            raise InputError("no row says how it was measured: measure the rows with `semantic-entropy estimate`")
        first = next(iter(found))
        optional = [name for name, fields in _OPTIONAL.items() if fields & set(reads)]
        for each in found:
            for what, one, other in _choices(first, each, scores, optional):
                if one != other:
                    raise InputError(
                        f"the rows were measured with different choices: {what} {_show(one)} and {_show(other)}. "
                        "Calibrate the rows of one choice by themselves"
                    )
        judges = dict.fromkeys(JudgedBy(each.equivalence, each.clusterer, each.extract) for each in found)
        auto = all(each.auto for each in found)
        if len(judges) > 1 and not auto:
            named = " and ".join(judge.equivalence for judge in judges)
            raise InputError(
                f"the rows were measured with different choices: judge {named}. Use one judge for all rows"
            )
        sizes = [each.n for each in found if each.n is not None]
        if not sizes:
            raise InputError("no row says how many responses it has: measure the rows with `semantic-entropy estimate`")
        declared, prompts = describe_model(model) if model else (first.model, first.prompts)
        if model and first.model and not _same_model(declared, first.model):
            raise InputError(
                f"the rows were drawn with {first.model}, and the declared model is {declared}: correct it"
            )
        return cls(
            convention=first.convention,
            judges=tuple(judges),
            auto=auto,
            invalid=first.invalid,
            similarity=first.similarity if "similarity" in optional else None,
            estimators={name: _estimator(name, first) for name in scores},
            fewest=min(sizes),
            most=max(sizes),
            stopping_rule=first.stopping_rule,
            model=first.model or declared,
            prompts=first.prompts or prompts,
            replies_by=first.replies_by if "replies_by" in optional else None,
        )

    def differences(self, other: Origin | Provenance | Mapping[str, Any], responses: int | None = None) -> list[str]:
        """Return a text for each choice in which a result differs; empty: the calibration is for such results.

        Args:
            other: the origin, or the provenance, of the result.
            responses: the number of its responses, if `other` is a provenance; None: not known.
        """
        origin = other if isinstance(other, Origin) else Origin.of(other, responses)
        found = [
            _difference(what, mine, theirs)
            for what, mine, theirs in (
                ("convention", self.convention, origin.convention),
                ("invalid", self.invalid, origin.invalid),
                ("similarity", self.similarity, origin.similarity if self.similarity else None),
                ("model that replies", self.replies_by, origin.replies_by if self.replies_by else None),
                ("stopping rule", self.stopping_rule, origin.stopping_rule),
                *((f"score {n}:", mine, _estimator(n, origin)) for n, mine in self.estimators.items()),
            )
            if mine != theirs
        ]
        return [*found, *self._judge(origin), *self._size(origin), *self._model(origin)]

    def _judge(self, origin: Origin) -> Iterator[str]:
        judged = [judge for judge in self.judges if judge.equivalence == origin.equivalence]
        if not judged and not (self.auto and origin.auto):
            yield _difference("judge", " or ".join(judge.equivalence for judge in self.judges), origin.equivalence)
        clusterers, extracts = [each.clusterer for each in judged], [each.extract for each in judged]
        if judged and origin.clusterer not in clusterers:
            yield _difference("clusterer", " or ".join(clusterers), origin.clusterer)
        if judged and origin.extract not in extracts:
            yield _difference("extract", " or ".join(extracts), origin.extract)

    def _size(self, origin: Origin) -> Iterator[str]:
        if self.stopping_rule is None and origin.n is not None and not self.fewest <= origin.n <= self.most:
            size = f"{self.fewest}" if self.fewest == self.most else f"{self.fewest} to {self.most}"
            yield _difference("n", f"{size} responses", plural(origin.n, "response"))

    def _model(self, origin: Origin) -> Iterator[str]:
        if self.model and origin.model:
            if not _same_model(self.model, origin.model):
                yield _difference("model", self.model, origin.model)
            elif self.model == origin.model and self.prompts != origin.prompts:
                yield _difference("prompts (SHA-256)", self.prompts, origin.prompts)

    def check(self, other: Origin | Provenance | Mapping[str, Any], responses: int | None = None) -> None:
        """Raise InputError if a result differs in a choice. The message names both values."""
        if found := self.differences(other, responses):
            raise InputError(
                f"the calibration is for other conditions: {'; '.join(found)}. Measure with the same choices, or "
                "calibrate again with these"
            )

    def gaps(self, origin: Origin, n_valid: int, answer: str | None) -> list[str]:
        """Return why nothing is known about a result of the same choices; empty: it is like the labelled ones.

        Args:
            origin: the origin of the result.
            n_valid: the number of its responses with a valid answer.
            answer: its main answer.
        """
        found = []
        if origin.equivalence not in {judge.equivalence for judge in self.judges}:
            seen = " or ".join(judge.equivalence for judge in self.judges)
            found.append(f"auto chose the judge {origin.equivalence}, and the calibration has seen {seen}")
        fewest = 2 if self.stopping_rule else self.fewest  # a rule draws as many as it needs
        if origin.responses is not None and origin.responses < fewest:
            found.append(f"{plural(origin.responses, 'response')}, and the calibration needs at least {fewest}")
        if n_valid < 2:
            found.append(f"{plural(n_valid, 'valid answer')}: nothing to compare")
        elif origin.responses is not None and n_valid * 2 < origin.responses:
            found.append(f"only {n_valid} of {origin.responses} answers are valid")
        if is_doubted(answer, origin.extract):
            found.append(f"the answer {answer!r} may stand for a missing one")
        if mostly_cut_off(origin.cut_off, origin.responses):
            found.append(f"{origin.cut_off} of {origin.responses} responses were cut off at the token limit")
        return found

    def undeclared(self, other: Origin | Provenance | Mapping[str, Any]) -> str | None:
        """Return a warning if the model of the calibration or of a result is not known; None: both are known."""
        origin = other if isinstance(other, Origin) else Origin.of(other)
        if self.model and origin.model:
            return None
        of = "of these responses" if self.model else "that the calibration was learned with"
        return f"the model {of} is undeclared: the calibration holds for one model only"


def mostly_cut_off(cut_off: int, responses: int | None) -> bool:
    """Whether more than half of the responses ended at the token limit: they look alike without their answers."""
    return responses is not None and cut_off * 2 > responses


@lru_cache(maxsize=256)
def describe_model(sampler: str | None) -> tuple[str | None, str | None]:
    """Return (the model, the digest of the prompts) of the description of a sampler, or of a user's words.

    A description has the form `name(option=value, ...)`. Options that do not change the distribution of the responses
    are left out of the model, and those with prompts are in the digest. Another text is the model as it is.
    """
    if not sampler:
        return None, None
    try:
        call = ast.parse(sampler.strip(), mode="eval").body
        if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name) or call.args:
            return sampler, None
        options = {str(each.arg): ast.literal_eval(each.value) for each in call.keywords}
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return sampler, None
    prompts = {name: options[name] for name in sorted(_PROMPTS & options.keys())}
    shown = ", ".join(f"{name}={options[name]!r}" for name in options if name not in _PROMPTS | _SAME_SAMPLES)
    digest = hashlib.sha256(json.dumps(prompts, sort_keys=True, default=repr).encode()).hexdigest()
    return f"{call.func.id}({shown})" if shown else call.func.id, digest if prompts else None


def _same_model(one: str | None, other: str | None) -> bool:
    """Whether two models are the same. A user may declare the name of the model alone."""
    both = ((one, other), (other, one))
    return one == other or any(name and text and f"model={name!r}" in text for name, text in both)


def _choices(one: Origin, other: Origin, scores: Sequence[str], optional: Sequence[str]) -> list[tuple[str, Any, Any]]:
    names = ["convention", "invalid", "stopping_rule", "model", "prompts", *optional]
    chosen = [(name, getattr(one, name), getattr(other, name)) for name in names]
    return chosen + [("estimator", _estimator(name, one), _estimator(name, other)) for name in scores]


def _estimator(name: str, origin: Origin) -> str:
    """Return the description of the estimator with this score. The name of a score, or what it begins with, is it."""
    for description in origin.estimators:
        if description == name or description.partition("(")[0] == name:
            return description
    return name


def _fields(provenance: Provenance | Mapping[str, Any]) -> Mapping[str, Any]:
    fields = asdict(provenance) if isinstance(provenance, Provenance) else provenance
    texts = "convention equivalence equivalence_reason clusterer extract invalid".split()
    if not isinstance(fields, Mapping):
        raise InputError(f"a provenance is a dict, and not {fields!r:.80}")
    for name in texts:
        if not isinstance(fields.get(name), str):
            raise InputError(f"the field {name!r} of a provenance is {fields.get(name)!r:.80}; it must be a text")
    cut_off = fields.get("cut_off") or 0  # older results lack it
    if isinstance(cut_off, bool) or not isinstance(cut_off, int) or cut_off < 0:
        raise InputError(f"the field 'cut_off' of a provenance is {cut_off!r:.80}; it must be a count")
    return fields


def _difference(what: str, mine: Any, theirs: Any) -> str:
    return f"{what} {_show(mine)}, and here {_show(theirs)}"


def _show(value: Any) -> str:
    return "none" if value is None else shorten(str(value), 200)
