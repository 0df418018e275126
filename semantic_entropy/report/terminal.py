"""Draw one question in the terminal: the sentences of a long answer, then its meanings with the letters of the report.

The responses are below each meaning.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from semantic_entropy.html_views.notebook import INVALID, Meaning, meanings, meanings_in
from semantic_entropy.long_answers import LongAnswer
from semantic_entropy.plain_text import one_line, plural, shorten
from semantic_entropy.report.findings import ResponseAgreement, compared_by_words, reasons
from semantic_entropy.report.scored_rows import ReportRow, known
from semantic_entropy.results import Result

if TYPE_CHECKING:
    from rich.console import Console

_BAR_WIDTH = 30  # characters for a meaning that has all responses
_COLOURS = ("cyan", "yellow", "green", "magenta", "blue", "red")  # of the meanings, which also have a letter
_LONGEST = 400  # characters of a response
_MOST_SENTENCES = 100  # of a long answer: more would hide the rest


def draw_question(
    result: Result, responses: Sequence[str], question: str | None, console: Console | None = None
) -> None:
    """Print a bar for each meaning, the largest share first, and its responses; equal responses once, with a count.

    A meaning is one line. A response is as many lines as it needs, up to `_LONGEST` characters.

    Args:
        result: the result of the question.
        responses: (G,) the responses.
        question: the question; None: not known.
        console: where to print; None: standard output.
    """
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Column, Table

    console = console or Console(highlight=False)
    if question:
        console.print(f"[bold]{escape(one_line(question))}[/bold]")
    row = ReportRow("", question, tuple(responses), result)
    first, *notes = reasons(row, ResponseAgreement.of(result))
    _draw_one_answer(result, console, first)
    share = f"{result.normalized:.0%} of the maximum; " if result.n_valid > 1 else "too few valid answers to compare; "
    console.print(f"semantic entropy [bold]{result.entropy:.3f}[/bold] nats, {share}{meanings_in(result.to_dict())}")
    found = meanings(result.to_dict())
    for rank, meaning in enumerate(found):
        colour = "white" if meaning.name == INVALID else _COLOURS[rank % len(_COLOURS)]
        name = "[dim](no answer)[/dim]" if meaning.answer is None else escape(one_line(meaning.answer))
        filled = round(meaning.share * _BAR_WIDTH)
        bar = f"[{colour}]{'█' * filled}[/{colour}][dim]{'·' * (_BAR_WIDTH - filled)}[/dim]"
        title = f"\n[bold {colour}]{meaning.name:>2}[/bold {colour}] {bar} {meaning.share:6.1%}  {name}"
        console.print(title, overflow="ellipsis", no_wrap=True)
        for index, text in _responses(meaning, responses):
            table = Table.grid(Column(width=7, justify="right"), Column(), padding=(0, 2, 0, 0))
            table.add_row(str(index), escape(text))
            console.print(table)
    if dropped := result.labels.count(-1):
        console.print(f"\nleft out: {plural(dropped, 'response')} without a valid answer")
    if result.long_answer is None:
        console.print(f"\n{escape(one_line(first))}")
    else:
        console.print()
    for note in [*notes, *filter(None, [compared_by_words([row])])]:
        console.print(f"[yellow]warning:[/yellow] {escape(one_line(note))}")
    if result.flag is not None:
        console.print(escape(_decision(result)), style="bold red" if result.flag else "bold green")
    for pair in result.undecided:
        text = f"undecided: {pair.left} | {pair.right} ({pair.reason})"
        console.print(f"[dim]{escape(one_line(text))}[/dim]", overflow="ellipsis", no_wrap=True)
    provenance = result.provenance
    judge = f"judge: {provenance.equivalence} ({provenance.equivalence_reason})"
    method = f"estimator: {provenance.estimator} \u00b7 clusterer: {provenance.clusterer}"
    for line in (f"{judge} \u00b7 {method}", *provenance.costs()):
        console.print(f"[dim]{escape(one_line(line))}[/dim]")


def _draw_one_answer(result: Result, console: Console, reason: str) -> None:
    """Print the answer that is scored: the greedy answer, and the sentences of a long answer with the reason."""
    from rich.markup import escape

    if result.greedy_sample and not result.long_answer:
        console.print(f"greedy answer: {escape(one_line(result.greedy_sample.text))}")
    if result.long_answer:
        _draw_sentences(result.long_answer, console)
        console.print(f"{escape(one_line(reason))}\n\n[dim]The responses as wholes:[/dim]")


def _draw_sentences(answer: LongAnswer, console: Console) -> None:
    """Print the sentences of a long answer in its order, with their uncertainty; `!` marks the doubtful ones.

    Claims follow the answer, because they are not written in it.
    """
    from rich.markup import escape
    from rich.table import Column, Table

    console.print(escape(one_line(answer.lines()[0])))
    if answer.unit != "sentence":
        console.print(f"answer: {escape(one_line(answer.answer or ''))}")
    table = Table.grid(Column(width=3), Column(width=11), Column(width=12), Column(), padding=(0, 2, 0, 0))
    table.add_row("", "uncertainty", "supported by", answer.unit, style="dim")
    for sentence in answer.sentences[:_MOST_SENTENCES]:
        uncertainty = "unknown" if sentence.unknown else f"{sentence.uncertainty:.3f}"
        mark, style = ("!", "bold red") if sentence.doubtful else ("", "dim")
        support, text = f"{sentence.supported_by} of {answer.samples}", escape(shorten(sentence.text, _LONGEST))
        table.add_row(mark, uncertainty, support, text, style=style)
    console.print(table)
    if rest := answer.sentences[_MOST_SENTENCES:]:
        doubtful = sum(sentence.doubtful for sentence in rest)
        console.print(f"and {plural(len(rest), answer.unit)} more, {doubtful:,} of them doubtful")


def _responses(meaning: Meaning, responses: Sequence[str]) -> list[tuple[int, str]]:
    """Return each distinct response with its first index, and how often it was given."""
    texts = {i: one_line(responses[i]) for i in meaning.indices}
    times = Counter(texts.values())
    first = {text: i for i, text in reversed(texts.items())}
    return [
        (first[text], (shorten(text, _LONGEST) or "(empty)") + (f"  x {count}" if count > 1 else ""))
        for text, count in times.items()
    ]


def _decision(result: Result) -> str:
    found = known(result.p_wrong)
    chance = "unknown" if found is None else f"{found:.1%}"
    return f"{'flagged: do not answer with this' if result.flag else 'not flagged'} (p(wrong) {chance})"
