"""What a run over a file, or over many files, did: `RunSummary`."""

from __future__ import annotations

from dataclasses import dataclass

from semantic_entropy.decisions import GateSummary
from semantic_entropy.plain_text import plural
from semantic_entropy.results import MAX_UNDECIDED


@dataclass(frozen=True, slots=True)
class RunSummary:
    """The summary of a run over a file. `str()` of the summary is a line for the user.

    Attributes:
        rows: the number of rows that this run measured.
        skipped: the number of rows whose results of earlier runs were kept.
        rejected: the number of bad rows: rows without a result.
        rejected_file: the path of the report of bad rows; empty if there is none.
        seconds: the duration of the run.
        retryable: the number of bad rows for which the same command may give a result.
        pairs: the number of pairs that were compared for the results in the output.
        undecided: the number of these pairs without a verdict. They count as different.
        responses: the number of responses that a sampler drew for the rows of this run, or that their replies have.
        cut_off: the number of these that reached the token limit, with or without a text.
        empty: the number of the other ones that a sampler drew and that have no text.
        removed: the number of earlier results that were removed, because their rows are not in the input.
        empty_input: the name of the input if the input has no rows, else empty.
        hint: advice for the user about bad rows; empty if there is none.
        warning: what may make the results of this run wrong, such as rows without a question; empty if there is none.
        gate: the rows that fail the gate of the run; None: the run has no gate.
    """

    rows: int
    skipped: int
    rejected: int
    rejected_file: str
    seconds: float
    retryable: int = 0
    pairs: int = 0
    undecided: int = 0
    responses: int = 0
    cut_off: int = 0
    empty: int = 0
    removed: int = 0
    empty_input: str = ""
    hint: str = ""
    warning: str = ""
    gate: GateSummary | None = None

    @property
    def undecided_share(self) -> float:
        """The share of the compared pairs that have no verdict; 0 if no pair was compared."""
        return self.undecided / self.pairs if self.pairs else 0.0

    def __str__(self) -> str:
        gate = str(self.gate) if self.gate else ""
        if self.empty_input:
            return "\n".join(filter(None, (f"{self.empty_input} has no rows", gate)))
        rate = "" if self.retryable else " (nothing left to do)"
        if self.seconds > 0 and self.rows:
            rate = f" ({float(f'{self.rows / self.seconds:.2g}'):,g} rows/s)"  # two digits
        parts = [f"{self.rows} rows in {self.seconds:.1f} s{rate}"]
        if self.skipped:
            parts.append(f"{self.skipped} rows were done before (--overwrite measures them again)")
        if self.removed:
            parts.append(f"{plural(self.removed, 'result')} removed: their rows are not in the input any more")
        if self.rejected:
            see = f": see {self.rejected_file}" if self.rejected_file else ""
            parts.append(f"{plural(self.rejected, 'bad row')}{see}")
        if self.retryable:
            parts.append(f"{self.retryable} of the bad rows got no response: run the same command again to retry them")
        if 0 < self.undecided_share <= MAX_UNDECIDED:
            parts.append(f"{self.undecided:,} of {self.pairs:,} pairs undecided ({self.undecided_share:.1%})")
        for n, what in ((self.cut_off, "were cut off at the token limit: raise max_tokens"), (self.empty, "are empty")):
            if n:
                parts.append(f"{n:,} of {self.responses:,} responses ({n / self.responses:.1%}) {what}")
        warning = f"warning: {self.warning}" if self.warning else ""
        return "\n".join(filter(None, ("; ".join(parts), warning, self.hint, gate)))
