"""The pictures of reports in docs/images, taken in headless Chromium.

    python benchmarks/report_pictures.py --scored FILE.jsonl [--title TEXT] [--search WORDS] [--long FILE.jsonl]

--scored is a file of `semantic-entropy estimate` with short answers, and gives `report-light.png` (the top of the
page), `report-dark.png` (an opened question) and `report-phone.png` (the answers to check first). --long is one with
long answers, and gives `report-long.png` (the answers to check first, and the least supported sentences). The pictures
in the docs are made of the public data sets of `docs/explanation/data.md`.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

from semantic_entropy.report import write_report
from tests.chromium import CHROMIUM, Chromium

READY = "document.documentElement.dataset.ready === 'yes'"


def opened(tab: Chromium, page: Path, scheme: str) -> None:
    """Show a page in a colour scheme."""
    tab.media(scheme=scheme)
    tab.open(page)
    tab.wait(READY)


def take(tab: Chromium, path: Path) -> None:
    """Write what the window shows."""
    path.write_bytes(tab.screenshot())
    print(f"{path}: {path.stat().st_size / 1000:.0f} kB")


def short_pictures(page: Path, folder: Path, search: str) -> None:
    """Take the three pictures of a report of short answers."""
    with Chromium(1100, 900) as tab:
        opened(tab, page, "light")
        take(tab, folder / "report-light.png")
        opened(tab, page, "dark")
        tab.evaluate(f"showOnly({{search: {json.dumps(search)}}})")
        tab.evaluate(f"document.querySelector('#filters [name=search]').value = {json.dumps(search)}")
        tab.click("#rows .toggle")
        tab.evaluate("document.getElementById('all').scrollIntoView({behavior: 'instant'})")
        take(tab, folder / "report-dark.png")
        tab.resize(390, 780, phone=True)
        opened(tab, page, "light")
        tab.evaluate("document.getElementById('first').scrollIntoView({behavior: 'instant'})")
        take(tab, folder / "report-phone.png")


def long_picture(page: Path, folder: Path) -> None:
    """Take the picture of a report of long answers."""
    with Chromium(1100, 1420) as tab:
        opened(tab, page, "light")
        take(tab, folder / "report-long.png")


def main() -> int:
    """Take the pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scored", type=Path, help="rows of `semantic-entropy estimate` with short answers")
    parser.add_argument("--long", type=Path, help="rows with long answers")
    parser.add_argument("--title", default="Questions", help="the heading of the report of short answers")
    parser.add_argument("--search", default="", help="the words of the question that is opened; default: the first one")
    parser.add_argument("--to", type=Path, default=Path("docs/images"), help="the folder of the pictures")
    given = parser.parse_args()
    if CHROMIUM is None:
        print("Chromium is not installed (Debian: apt install chromium): no picture was taken")
        return 1
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder, "report.html")
        if given.scored:
            write_report(given.scored, page, title=given.title)
            short_pictures(page, given.to, given.search)
        if given.long:
            write_report(given.long, page, title="Biographies")
            long_picture(page, given.to)
    return 0


if __name__ == "__main__":
    sys.exit(main())
