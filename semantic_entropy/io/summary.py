"""What a run over a file did, in words."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Done:
    """What a run did, and how to say it.

    rows: measured. skipped: measured before. bad, bad_before: set aside now, and before. again: of them, those that
    another run asks again. empty: the input, where it holds no rows. hint: what would help bad rows.
    """

    rows: int
    skipped: int
    bad: int
    bad_file: str
    seconds: float
    bad_before: int = 0
    again: int = 0
    empty: str = ""
    hint: str = ""

    def __str__(self) -> str:
        nothing_left = "" if self.bad else " (nothing left to do)"
        rate = f" ({self.rows / self.seconds:,.0f} rows/s)" if self.seconds > 0 and self.rows else nothing_left
        if self.empty:
            return f"{self.empty} holds no rows"
        parts = [f"{self.rows} rows in {self.seconds:.1f} s{rate}"]
        if self.skipped:
            parts.append(f"{self.skipped} done before (--overwrite starts anew)")
        if self.bad:
            parts.append(
                f"{self.bad} bad rows set aside in {self.bad_file}" if self.bad_file else f"{self.bad} bad rows"
            )
        if self.bad_before:
            parts.append(f"{self.bad_before} bad rows were set aside before in {self.bad_file}")
        if self.again:
            parts.append(f"{self.again} of the bad rows got no answer: the same command asks them again")
        return "; ".join(parts) + ("\n" + self.hint if self.hint else "")
