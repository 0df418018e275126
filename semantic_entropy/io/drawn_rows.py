"""Rows that hold a question alone, with the responses that a sampler draws for them.

Rows come out in the order in which they went in, each as soon as it and all before it are complete. The sampler works
ahead of whoever reads them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator
from dataclasses import replace

from semantic_entropy.errors import InputError
from semantic_entropy.io.rows import Row
from semantic_entropy.sampling import SampledQuestion, Sampler, SampleStore, SamplingRun


class AskedRows:
    """Fills the field `responses` (or whatever `field` says) of rows that have a question and nothing there."""

    def __init__(self, sampler: Sampler, n: int, store: SampleStore | None, field: str) -> None:
        self.draw, self.field = SamplingRun(sampler, n, store), field

    def filled(self, rows: Iterator[Row]) -> Generator[Row, None, None]:
        """The rows in order. Raises SamplingError where the sampler cannot go on; the rows before it have come."""
        order: deque[tuple[Row, int | None]] = deque()  # rows on their way, and the number of the question of each
        done: dict[int, SampledQuestion] = {}
        groups = self.draw.groups(self._questions(rows, order))
        try:
            for drawn in groups:
                done[drawn.index] = drawn
                yield from self._leading(order, done)
            yield from self._leading(order, done)
        finally:
            groups.close()

    def again(self, row: Row, output: str) -> Row:
        """A row whose result is written, with the responses that were drawn for it then.

        Raises:
            InputError: they are not kept, or another sampler drew them.
        """
        if not row.lacks(self.field):
            return row
        question = _question(row)
        kept = self.draw.store.get(self.draw.sampler, question, self.draw.n) if self.draw.store else []
        if not kept:
            where = f"{self.draw.store.path} does not hold" if self.draw.store else "no --samples file holds"
            raise InputError(
                f"{output} was made with responses that {where} (another sampler or other options of it, or the file "
                "is gone): use --overwrite, or another output"
            )
        return self._with(row, SampledQuestion(0, question, tuple(kept)))

    def _questions(self, rows: Iterator[Row], order: deque[tuple[Row, int | None]]) -> Iterator[str]:
        number = 0
        for row in rows:
            if not row.lacks(self.field):
                order.append((row, None))
                continue
            order.append((row, number))
            number += 1
            yield _question(row)

    def _leading(self, order: deque[tuple[Row, int | None]], done: dict[int, SampledQuestion]) -> Iterator[Row]:
        while order and (order[0][1] is None or order[0][1] in done):
            row, number = order.popleft()
            yield row if number is None else self._with(row, done.pop(number))

    def _with(self, row: Row, drawn: SampledQuestion) -> Row:
        if not drawn.samples:
            problem = f"no response from {self.draw.sampler.describe()}: {drawn.problem}"
            return replace(row, problem=problem, again=drawn.failure is not None and drawn.failure.transient)
        group = self.draw.to_group(drawn)
        known = {"logprobs": [list(tokens) for tokens in group.logprobs]} if group.logprobs else {}
        fields = {**(row.fields or {}), self.field: list(group.responses), **known}
        return replace(row.bare(self.field), fields=fields, problem=None, drawn=group)


def _question(row: Row) -> str:
    question = (row.fields or {}).get("question")
    return question if isinstance(question, str) else ""
