"""The report on many rows: size of the file, time to make it, to the first paint, and to filter, in headless Chromium.

    python benchmarks/report_size.py [--rows 10000] [--scored FILE.jsonl]

Without --scored, the rows are made: 10 responses of 20 words to each question. With --scored, the rows of a file of
`semantic-entropy estimate` are repeated until there are enough. All rows have labels, so that all charts are drawn.

    make          seconds for `write_report`
    size          of the file; gzip: as a web server would send it
    first paint   the browser's `first-contentful-paint`, from the start of the navigation
    ready         the script has ended: the charts and the first page of the table are drawn
    search        a word that one row has, in all responses: from the call until the rows are in the document; the first
                  search builds the lower-case texts, the second one uses them
    filter, sort  by agreement; by the score of the ranking
    heap          memory of the script, in MB

The times of the page are the medians of three loads. Exits with 1 if a search takes longer than a second.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import semantic_entropy
from semantic_entropy.report import write_report
from tests.chromium import CHROMIUM, Chromium

WORDS = "the capital river mountain painter physics wrote discovered century island theorem red green of in by".split()
LOADS = 3


def made_rows(count: int) -> Iterator[dict[str, Any]]:
    """Yield scored rows with labels. Each question is different; 100 results are repeated."""
    draw = random.Random(0)
    groups = []
    for _ in range(100):
        answers = [" ".join(draw.choices(WORDS, k=20)) for _ in range(draw.randint(1, 10))]
        groups.append(draw.choices(answers, k=10))
    results = [result.to_dict() for result in semantic_entropy.estimate(groups, equivalence="exact")]
    for i in range(count):
        group, result = groups[i % 100], results[i % 100]
        label = draw.random() > (result["normalized"] or 0) / 2
        yield {**result, "id": f"q{i}", "question": f"Question {i}?", "responses": group, "answer_correct": label}


def repeated(path: Path, count: int) -> Iterable[dict[str, Any]]:
    """Return the rows of a file, again and again."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return islice(cycle(rows), count)


def timed(tab: Chromium, change: str) -> float:
    """Return the milliseconds of a change of the table, layout included."""
    timer = "const start = performance.now(); {}; document.body.offsetHeight; return performance.now() - start;"
    return float(tab.evaluate(f"(() => {{ {timer.format(change)} }})()"))


def load(page: Path) -> dict[str, float]:
    """Return the times of one load in a new browser."""
    with Chromium() as tab:
        tab.open(page)
        tab.wait("document.documentElement.dataset.ready === 'yes'")
        paint = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime"
        tab.wait(f"{paint} > 0")
        return {
            "first paint": float(tab.evaluate(paint)),
            "ready": float(tab.evaluate("performance.getEntriesByName('ready')[0].startTime")),
            "search": timed(tab, "showOnly({search: 'theorem q77'})"),
            "search again": timed(tab, "showOnly({search: 'theorem q78'})"),
            "filter": timed(tab, "showOnly({band: 'split'})"),
            "sort": timed(tab, "state.sort = DATA.score === 'entropy' ? 'entropy' : 'score'; refresh()"),
            "next page": timed(tab, "state.page = 1; draw()"),
            "heap": float(tab.evaluate("performance.memory.usedJSHeapSize")) / 1e6,
        }


def main() -> int:
    """Print the numbers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--scored", type=Path, help="rows of `semantic-entropy estimate`; default: made rows")
    given = parser.parse_args()
    if CHROMIUM is None:
        print("Chromium is not installed (Debian: apt install chromium): nothing was measured")
        return 0
    rows = list(repeated(given.scored, given.rows) if given.scored else made_rows(given.rows))
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder, "report.html")
        start = time.perf_counter()
        write_report(rows, page, title="A benchmark")
        print(f"rows {len(rows):,}, make {time.perf_counter() - start:.1f} s")
        content = page.read_bytes()
        print(f"size {len(content) / 1e6:.1f} MB, gzip {len(gzip.compress(content, 6)) / 1e6:.1f} MB")
        loads = [load(page) for _ in range(LOADS)]
    medians = {name: statistics.median(each[name] for each in loads) for name in loads[0]}
    for name, value in medians.items():
        print(f"{name:<13}{value:8.0f} {'MB' if name == 'heap' else 'ms'}")
    return int(medians["search"] > 1000)


if __name__ == "__main__":
    sys.exit(main())
