"""How a notebook shows results, as HTML without a script: `Result._repr_html_`, `BatchResult._repr_html_`.

Meanings have a letter and a colour, which `semantic_entropy.report` uses too: A is the meaning with the largest share.
Answers are untrusted text, and are escaped. The text has the colour of the notebook, so it can be read in dark themes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any, NamedTuple

from semantic_entropy.html_views.word_notice import Compared, word_notice
from semantic_entropy.plain_text import one_line, plural, shorten

COLOURS = ("#1f5fa8", "#b4491d", "#2b7a3f", "#8a3d8f", "#806200", "#0f727a", "#b0305c", "#5b5f66")
"""The colours of the meanings A, B, ... on white text; the ninth meaning has the first colour again."""
INVALID = "\u2013"  # instead of the letter of a meaning
_MOST_MEANINGS = 10
_MOST_RESULTS = 20
_MOST_SENTENCES = 100
_DOUBT = "background:#b4491d33;color:inherit;text-decoration:underline wavy"  # not by colour alone
_WIDEST = 300  # characters of an answer
_STRIPES = "repeating-linear-gradient(135deg,#8888 0 3px,transparent 3px 7px)"
_CELL = 'style="text-align:left;vertical-align:top;padding:2px 10px 2px 0"'


class Meaning(NamedTuple):
    """A cluster with its letter. `name` and `colour` say that the answers are invalid if `answer` is None."""

    name: str
    colour: str
    share: float
    answer: str | None
    indices: tuple[int, ...]


def letter(number: int) -> str:
    """Return the letter of the meaning with this rank, from 0: A to Z, then AA, AB, ..."""
    return (letter(number // 26 - 1) if number >= 26 else "") + chr(ord("A") + number % 26)


def meanings(fields: Mapping[str, Any]) -> list[Meaning]:
    """Return the clusters of a result, given as `Result.to_dict()`: the largest share first, invalid answers last."""
    clusters = sorted(
        fields["clusters"],
        key=lambda cluster: (cluster["representative"] is None, -(cluster["share"] or 0), -len(cluster["indices"])),
    )
    found = []
    for rank, cluster in enumerate(clusters):
        valid = cluster["representative"] is not None
        name, colour = (letter(rank), COLOURS[rank % len(COLOURS)]) if valid else (INVALID, _STRIPES)
        indices = tuple(cluster["indices"])
        found.append(Meaning(name, colour, cluster["share"] or 0.0, cluster["representative"], indices))
    return found


def meanings_in(fields: Mapping[str, Any]) -> str:
    """Return the number of meanings of a result, given as `Result.to_dict()`; an invalid answer has no meaning."""
    valid = sum(cluster["representative"] is not None for cluster in fields["clusters"])
    invalid = f", {fields['invalid']} of them without a valid answer" if fields["invalid"] else ""
    return f"{plural(valid, 'meaning')} in {plural(len(fields['answers']), 'response')}{invalid}"


def result_html(fields: Mapping[str, Any]) -> str:
    """Return the HTML of a result, given as `Result.to_dict()`."""
    found, size = meanings(fields), len(fields["answers"])
    lines = []
    if long := fields.get("long_answer"):
        whole = "<div style='margin-top:8px'><small>the responses as wholes:</small></div>"
        lines += [sentences_html(long), whole]
    lines += [f"<div><b>{_headline(fields)}</b></div>", _bar(found)]
    rows = [
        f"<tr><td {_CELL}>{_mark(meaning)}</td><td {_CELL}>{_percent(meaning.share)}</td>"
        f"<td {_CELL}>{len(meaning.indices)} of {size}</td><td {_CELL}>{_answer(meaning.answer)}</td></tr>"
        for meaning in found[:_MOST_MEANINGS]
    ]
    if len(found) > _MOST_MEANINGS:
        rows.append(f"<tr><td></td><td {_CELL} colspan=3>and {len(found) - _MOST_MEANINGS} more</td></tr>")
    lines.append(f"<table style='margin:4px 0'>{''.join(rows)}</table>")
    lines += [f"<div>&#9888; {_text(warning)}</div>" for warning in (*fields["warnings"], *_notices(fields))]
    if "flag" in fields:
        verdict = "flagged: do not answer with this" if fields["flag"] else "not flagged"
        chance = "unknown" if fields["p_wrong"] is None else f"{fields['p_wrong']:.1%}"
        lines.append(f"<div><b>{verdict}</b> (p(wrong) {chance})</div>")
    provenance = fields["provenance"]
    judge = f"{provenance['equivalence']} ({provenance['equivalence_reason']})"
    pairs = provenance["asked"] + provenance["cached"]
    lines.append(f"<div><small>judge: {_text(judge)} &middot; {plural(pairs, 'pair')} compared</small></div>")
    return f"<div>{''.join(lines)}</div>"


def sentences_html(answer: Mapping[str, Any]) -> str:
    """Return the HTML of a long answer, given as `LongAnswer.to_dict()`: doubtful sentences are marked.

    Claims are listed under the answer, because they are not written in it.
    """
    sentences, samples = answer["sentences"], answer["samples"]
    parts = []
    for sentence in sentences[:_MOST_SENTENCES]:
        uncertainty = sentence["uncertainty"]
        title = f"uncertainty {_number(uncertainty)}, supported by {sentence['supported_by']} of {samples}"
        text = f"<bdi>{escape(shorten(sentence['text'], _WIDEST))}</bdi>"
        if sentence["doubtful"]:
            text = f'<mark style="{_DOUBT}">{text}</mark> <small>({_text(title)})</small>'
        parts.append(f'<span title="{title}">{text}</span>')
    if len(sentences) > _MOST_SENTENCES:
        rest = sentences[_MOST_SENTENCES:]
        parts.append(f"and {len(rest):,} more, {sum(each['doubtful'] for each in rest):,} of them doubtful")
    count, score = plural(len(sentences), answer["unit"]), _number(answer["uncertainty"])
    by = f"; claims by {answer['claims_by']}" if answer["claims_by"] else ""
    marked = f"marked: fewer than half of the samples support it (support: {answer['support']}{by})"
    head = f"<b>{_text(f'{count}, uncertainty {score}')}</b> <small>{_text(marked)}</small>"
    if answer["unit"] == "sentence":
        return f"<div>{head}<br>{'<br>'.join(parts)}</div>"
    claims = "".join(f"<li>{part}</li>" for part in parts)
    return f"<div>{head}<br>{_answer(answer['answer'])}<ul style='margin:0'>{claims}</ul></div>"


def batch_html(results: Sequence[Mapping[str, Any]], headline: str) -> str:
    """Return the HTML of a batch: the headline, and its most uncertain results; an unknown uncertainty is the first.

    Long answers are ordered by the uncertainty of their sentences. If only some are long, the entropy of the others is
    divided by its maximum, as in a report.
    """
    long = [result.get("long_answer") for result in results]
    name = "entropy" if not any(long) else "unsupported" if all(long) else "uncertainty"

    scores: list[float | None] = [
        result["scores"].get("unsupported", answer["uncertainty"])
        if answer
        else result["entropy" if name == "entropy" else "normalized"]
        for result, answer in zip(results, long, strict=True)
    ]
    keys = [-math.inf if value is None else -value for value in scores]
    rows = [
        f"<tr><td {_CELL}>{i}</td><td {_CELL}>{_number(scores[i])}</td><td {_CELL}>{_agreement(results[i])}</td>"
        f"<td {_CELL}>{_answer((long[i] or results[i])['answer'])}</td></tr>"
        for i in sorted(range(len(results)), key=keys.__getitem__)[:_MOST_RESULTS]
    ]
    seen = "meanings" if not any(long) else "doubtful" if all(long) else "meanings, or doubtful"
    heads = "".join(f"<th {_CELL}>{head}</th>" for head in ("#", name, seen, "answer"))
    shown = "" if len(results) <= _MOST_RESULTS else f" The {_MOST_RESULTS} most uncertain:"
    more = (
        ""
        if not shown
        else "<div><small>all: semantic_entropy.report.write_report(results, 'report.html')</small></div>"
    )
    table = f"<table style='margin:4px 0'><tr>{heads}</tr>{''.join(rows)}</table>" if results else ""
    lines = "<br>".join(map(_text, headline.splitlines()))
    return f"<div><b>{lines}</b>{shown}{table}{more}</div>"


def _agreement(fields: Mapping[str, Any]) -> str:
    """Return the meanings of a result as a bar; of a long answer, how many sentences are doubtful."""
    long = fields.get("long_answer")
    if not long:
        return _bar(meanings(fields))
    doubtful = sum(sentence["doubtful"] for sentence in long["sentences"])
    return f"{doubtful:,} of {plural(len(long['sentences']), long['unit'])}"


def _notices(fields: Mapping[str, Any]) -> list[str]:
    long = fields.get("long_answer") or {}
    judge = fields["provenance"]["equivalence"]
    notice = word_notice([Compared(judge, fields["answers"], long.get("support"), long.get("unit", "sentence"))])
    return [notice] if notice else []


def _headline(fields: Mapping[str, Any]) -> str:
    entropy, normalized = fields["entropy"], fields["normalized"]
    share = "" if normalized is None else f" ({normalized:.0%} of the maximum)"
    return f"semantic entropy {_number(entropy)} nats{share}, {meanings_in(fields)}"


def _bar(found: Sequence[Meaning]) -> str:
    parts = "".join(
        f'<span title="{meaning.name} {_percent(meaning.share)}" style="flex:{meaning.share:.4f} 1 0;min-width:2px;'
        f'overflow:hidden;text-align:center;{_colours(meaning)}">'
        f"{meaning.name if meaning.share >= 0.08 and meaning.answer is not None else ''}</span>"
        for meaning in found
        if meaning.share > 0
    )
    return (
        f'<div style="display:flex;gap:2px;width:240px;font-size:11px;line-height:16px;min-height:16px">{parts}</div>'
    )


def _mark(meaning: Meaning) -> str:
    return f'<span style="padding:0 5px;border-radius:3px;{_colours(meaning)}"><b>{meaning.name}</b></span>'


def _colours(meaning: Meaning) -> str:
    return f"background:{meaning.colour};color:{'inherit' if meaning.answer is None else '#fff'}"


def _answer(answer: str | None) -> str:
    return "<i>no valid answer</i>" if answer is None else f"<bdi>{escape(shorten(answer, _WIDEST))}</bdi>"


def _text(text: str) -> str:
    return escape(one_line(text))


def _number(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.3f}"


def _percent(share: float) -> str:
    return f"{share:.1%}" if 0 < share < 0.1 else f"{share:.0%}"
