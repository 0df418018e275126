"""A page for a browser, on which a person labels answers, and the labels that it exports.

The page is one file, which asks no server for anything: see `semantic_entropy.html_views.offline_page`. Labels stay in
the browser's localStorage until they are exported, as a file to download:

    {"format": "semantic-entropy labels", "version": 1, "page": "5f0c...", "labels": [{"key": "...", "number": 3,
     "correct": true}, ...]}

A label belongs to the row with the same key: a digest of its question, its answer and its id.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from semantic_entropy.errors import InputError
from semantic_entropy.files import replacement
from semantic_entropy.html_views.offline_page import offline_page
from semantic_entropy.labelling.label_run import WaitingRow
from semantic_entropy.labelling.labelled_file import INPUT, PAGE, Label, read_label

_FORMAT, _VERSION = "semantic-entropy labels", 1
_KEY = re.compile(r"[0-9a-f]{32}")
_MOST_BYTES = 512 * 2**20  # of a file of labels


def write_page(path: str, rows: Sequence[WaitingRow], source: str) -> int:
    """Write a page with these rows. Return their number.

    Raises:
        InputError: there is no row, or the path is a file that is no such page.
    """
    if not rows:
        raise InputError(f"{source}: all rows with an answer have a label, so there is nothing to label")
    target = Path(path)
    if target.exists() and not (target.is_file() and b'id="data"' in target.read_bytes()):
        raise InputError(f"{path} exists and is not such a page: choose another name")
    keys = json.dumps([item.key for _, item in rows])
    data = {
        "format": _FORMAT,
        "version": _VERSION,
        "page": hashlib.sha256(keys.encode()).hexdigest()[:32],
        "items": [
            {
                "key": item.key,
                "number": item.number,
                "question": item.question,
                "answer": item.answer,
                "shown": item.shown,
            }
            for _, item in rows
        ],
    }
    text = offline_page(_part("page.html"), _part("page.css"), _part("page.js"), data)
    with replacement(target) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")
    return len(rows)


def read_labels(path: str) -> dict[str, Label]:
    """Return the labels by key of an export of such a page, or of a labelled file.

    Raises:
        InputError: the file is something else. The message names the first wrong value.
    """
    if Path(path).stat().st_size > _MOST_BYTES:
        raise InputError(f"{path} is larger than {_MOST_BYTES >> 20} MiB, so it is no export of labels")
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8: {error}") from None
    try:
        value = json.loads(text)
    except RecursionError:
        raise InputError(f"{path} is nested too deeply to be an export of labels") from None
    except ValueError:
        return _of_lines(path, text)
    if isinstance(value, dict) and value.get("format") == _FORMAT:
        return _of_export(path, value)
    return _of_lines(path, text)


def _of_export(path: str, value: Mapping[str, Any]) -> dict[str, Label]:
    if value.get("version") != _VERSION:
        raise InputError(
            f"{path} has version {value.get('version')!r:.80} of the export, and this release reads {_VERSION}: use "
            "the release that wrote the page"
        )
    listed = value.get("labels")
    if not isinstance(listed, list):
        raise InputError(f"{path}: 'labels' is {listed!r:.80}; it must be a list")
    found: dict[str, Label] = {}
    for i, each in enumerate(listed):
        key, correct = (each.get("key"), each.get("correct")) if isinstance(each, dict) else (None, None)
        if not isinstance(key, str) or not _KEY.fullmatch(key) or not isinstance(correct, bool):
            raise InputError(f"{path}: 'labels[{i}]' is {each!r:.80}; it needs a key and \"correct\": true or false")
        if key in found and found[key].correct is not correct:
            raise InputError(f"{path}: 'labels[{i}]' contradicts an earlier label of the same key")
        found[key] = Label(PAGE, correct)
    if not found:
        raise InputError(f"{path} has no label: label some answers on the page, and export again")
    return found


def _of_lines(path: str, text: str) -> dict[str, Label]:
    """Return the labels of a labelled file, except those that its input had."""
    found: dict[str, Label] = {}
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            fields = json.loads(line)
            labelled = read_label(fields) if isinstance(fields, dict) else None
        except (ValueError, RecursionError):
            labelled = None
        if labelled is None:
            raise InputError(
                f"{path}, line {number}: neither the export of a page of --html, nor a labelled file of this command"
            )
        if labelled[1].by not in (None, INPUT):
            found[labelled[0]] = labelled[1]
    if not found:
        raise InputError(f"{path} has no label")
    return found


def _part(name: str) -> str:
    return (Path(__file__).parent / name).read_text(encoding="utf-8")
