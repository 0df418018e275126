"""So many rows by a seed, the same whatever order they come in.

Every row gets a number from a hash (BLAKE2b) of the seed and its content, and those with the smallest stay: a uniform
draw without replacement, in one pass and in memory for the rows that stay. Rows with equal content are told apart by
counting, so that each has a chance of its own. A draw of n rows is the beginning of a draw of more.

Memory beside the rows that stay: about 130 bytes for each row seen, for the counting.
"""

from __future__ import annotations

import heapq
import json
from collections import Counter
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

Row = Mapping[str, Any]


class Draw:
    """Offer it all rows, then take `rows`."""

    def __init__(self, size: int, seed: int) -> None:
        self.size, self.seed = size, seed
        self._seen: Counter[bytes] = Counter()
        self._heap: list[tuple[int, int, str, Row]] = []  # the largest hash on top, by its negative
        self._offered = 0

    def offer(self, place: str, row: Row) -> None:
        """One more row, which stood at `place`."""
        self._offered += 1
        entry = (-self._hash(row), self._offered, place, row)  # the count decides before rows are compared
        if len(self._heap) < self.size:
            heapq.heappush(self._heap, entry)
        elif entry > self._heap[0]:
            heapq.heapreplace(self._heap, entry)

    def rows(self) -> list[tuple[str, Row]]:
        """(place, row), in the order of their hashes: a shuffle by the seed."""
        return [(place, row) for _, _, place, row in sorted(self._heap, reverse=True)]

    def _hash(self, row: Row) -> int:
        content = json.dumps(row, sort_keys=True).encode()
        digest = blake2b(content, digest_size=16, salt=self.seed.to_bytes(8, "little")).digest()
        self._seen[digest] += 1
        numbered = digest + self._seen[digest].to_bytes(8, "little")
        return int.from_bytes(blake2b(numbered, digest_size=16).digest(), "little")
