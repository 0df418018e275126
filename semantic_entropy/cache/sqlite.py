"""Verdict cache in an SQLite file: kept from run to run, and shared by processes.

Write-ahead logging: readers never wait, writers take turns, and a writer that is killed leaves what it had committed.
Every thread of every process has a connection of its own, so neither threads nor forks share one.

A key means the same in every process. It is made of the judge's class (`class_identity`), `settings` and `versions`,
`RULES`, the question if the judge uses it, and the two answers. The file holds its SHA-256, not the texts. A judge
whose settings are not plain values (texts, numbers, tuples of them) means nothing to another process: a plain function,
or an `Equivalence` that does not override `settings`. Its verdicts stay in memory, and `str()` says so.

Left out: forgetting. The file grows by about 100 bytes a verdict; delete it to begin anew.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import sqlite3
import threading
import time
import weakref
from collections.abc import Hashable, Iterable, Iterator
from pathlib import Path

from semantic_entropy.cache.memory import VerdictCache
from semantic_entropy.clusters.equivalence import Unsaid
from semantic_entropy.errors import InputError, SemanticEntropyError
from semantic_entropy.types import Verdict, class_identity

_MARK = 0x53456E74  # "SEnt": tells our files from other SQLite files (PRAGMA application_id)
_FORMAT = 2  # PRAGMA user_version
RULES = "0.1.0"
"""Part of every key: the last release in which a judge's verdicts changed. Other upgrades keep all verdicts."""
_PATIENCE = 30.0  # seconds to wait for other writers; one holds the file for milliseconds
_LITTLE = 1 << 20  # bytes: with fewer, SQLite cannot make the files that it needs beside its own
_TABLE = """
CREATE TABLE IF NOT EXISTS verdicts
(key BLOB PRIMARY KEY, same INTEGER NOT NULL, score REAL, reason TEXT, by TEXT) WITHOUT ROWID
"""
_Connections = dict[tuple[int, int], sqlite3.Connection]  # by process and thread


class CacheFile(VerdictCache):
    """Verdicts in memory, as `VerdictCache`, in front of those in the file.

    Raises:
        InputError: the file cannot be opened, or is something else; at construction.
        SemanticEntropyError: it is damaged, full or locked for half a minute; when that shows.
    """

    def __init__(self, path: str | os.PathLike[str], size: int = 100_000) -> None:
        super().__init__(size)
        self.path = Path(path)
        self.found = self.added = 0
        self._unkept: dict[str, str] = {}  # by the judge's name: why its verdicts are not in the file
        self._connections: _Connections = {}
        weakref.finalize(self, _close, self._connections)
        self._connection()

    def get(self, key: Hashable) -> Verdict | None:
        verdict = super().get(key)
        if verdict is not None or (kept := self._kept(key)) is None:
            return verdict
        with self._errors():
            query = "SELECT same, score, reason, by FROM verdicts WHERE key = ?"
            row = self._connection().execute(query, (kept,)).fetchone()
        if row is None:
            return None
        self.found += 1
        verdict = Verdict(bool(row[0]), *row[1:])
        super().put(key, verdict)
        return verdict

    def put(self, key: Hashable, verdict: Verdict) -> None:
        self.put_all([(key, verdict)])

    def put_all(self, verdicts: Iterable[tuple[Hashable, Verdict]]) -> None:
        rows = []
        for key, verdict in verdicts:
            super().put(key, verdict)
            if verdict.same is not None and (kept := self._kept(key)) is not None:
                rows.append((kept, *_row(verdict)))
        if not rows:
            return
        with self._errors(), _transaction(self._connection()) as connection:
            connection.executemany("INSERT OR REPLACE INTO verdicts VALUES (?, ?, ?, ?, ?)", rows)
        self.added += len(rows)

    def close(self) -> None:
        """Close this process's connections; the next call opens them anew."""
        _close(self._connections)

    def __str__(self) -> str:
        lines = [f"{self.path}: {self.found} verdicts found, {self.added} added"]
        lines += [f"  {judge}: nothing is kept, since {why}" for judge, why in sorted(self._unkept.items())]
        if not self.found + self.added and self.free:
            lines.append(
                f"  {', '.join(sorted(self.free))}: nothing is kept, since asking again costs less than a look"
            )
        return "\n".join(lines)

    def _kept(self, key: Hashable) -> bytes | None:
        """The key as the file has it; None for one that no other process would understand."""
        if not isinstance(key, tuple) or not isinstance(key[0], type):
            return None
        judge = key[0]
        try:
            text = repr((*class_identity(judge), RULES, _plain(key[1:])))
        except _NotPlainError as found:
            self._unkept[str(getattr(judge, "name", judge.__qualname__))] = str(found)
            return None
        return hashlib.sha256(text.encode()).digest()

    def _connection(self) -> sqlite3.Connection:
        who = os.getpid(), threading.get_ident()
        if who not in self._connections:
            self._connections[who] = _opened(self.path)
        return self._connections[who]

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise SemanticEntropyError(f"verdict cache {self.path}: {error}: {_advice(error, self.path)}") from error


class _NotPlainError(Exception):
    """A value means nothing outside this process; says which."""


def _plain(value: object) -> object:
    """The value in types of which repr() says all, in any process.

    A subclass's repr() may say anything, so that the exact type counts: of a text's the text is taken, any other is not
    plain.
    """
    if type(value) is tuple:
        return tuple(map(_plain, value))
    if isinstance(value, str):
        return str.__str__(value)
    if type(value) in (int, float, bool, bytes, type(None)):
        return value
    if isinstance(value, Unsaid):
        raise _NotPlainError("it does not say its settings: only this run knows it")
    raise _NotPlainError(f"its settings hold {value!r:.80}, a {type(value).__name__}, which only this run understands")


def _row(verdict: Verdict) -> tuple[bool, float | None, str | None, str | None]:
    """A verdict in SQLite's types: a score may be numpy's, a reason may quote what UTF-8 cannot hold."""
    score = None if verdict.score is None else float(verdict.score)
    reason = verdict.reason and verdict.reason.encode("utf-8", "backslashreplace").decode()
    return bool(verdict.same), score, reason, verdict.by


def _opened(path: Path) -> sqlite3.Connection:
    try:
        connection = sqlite3.connect(path, timeout=_PATIENCE, isolation_level=None, check_same_thread=False)
    except sqlite3.Error as error:
        raise InputError(f"verdict cache {path}: {error}: it needs a folder that exists and can be written") from error
    try:
        _prepare(connection, path)
    except sqlite3.Error as error:
        connection.close()
        raise InputError(f"verdict cache {path}: {error}: {_advice(error, path)}") from error
    except InputError:
        connection.close()
        raise
    return connection


def _advice(error: sqlite3.Error, path: Path) -> str:
    """What to do about it. A file that is not known to be ours is nobody's to delete."""
    match getattr(error, "sqlite_errorcode", 0) & 0xFF:  # the other bits say where it happened
        case sqlite3.SQLITE_FULL | sqlite3.SQLITE_IOERR as code:
            is_full = code == sqlite3.SQLITE_FULL or shutil.disk_usage(path.parent).free < _LITTLE
            what = "the disk is full" if is_full else "the disk is full to you (a quota, a limit), or it fails"
            return f"{what}: free some space and run again; the verdicts in the file stay"
        case sqlite3.SQLITE_NOTADB:
            return "it holds something else: name another file"
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return "another process has held it for half a minute: try again, or name another file"
        case sqlite3.SQLITE_CORRUPT:
            return "it is damaged: name another file; if it held verdicts alone, it can be deleted"
        case _:
            return "name another file, in a folder that can be written"


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    """Make the table where the file is new; leave a file alone that is not ours."""
    with _transaction(connection, "BEGIN"):  # one look at all three: another process may be making the file
        mark, made_by = _pragma(connection, "application_id"), _pragma(connection, "user_version")
        (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if mark != _MARK and (mark or made_by or tables):
        raise InputError(f"{path} is an SQLite file of something else: use another file as verdict cache")
    if mark == _MARK and made_by != _FORMAT:
        raise InputError(f"verdict cache {path} has format {made_by}, this version reads {_FORMAT}: use another file")
    if mark != _MARK:
        _write_ahead(connection)
        with _transaction(connection):
            connection.execute(_TABLE)
            connection.execute(f"PRAGMA application_id = {_MARK}")
            connection.execute(f"PRAGMA user_version = {_FORMAT}")
    connection.execute("PRAGMA synchronous = NORMAL")  # a power cut may cost the last verdicts, never the file


def _write_ahead(connection: sqlite3.Connection) -> None:
    """Switch to write-ahead logging. SQLite does not wait here for another process that does the same: we do."""
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    (value,) = connection.execute(f"PRAGMA {name}").fetchone()
    return int(value)


@contextlib.contextmanager
def _transaction(connection: sqlite3.Connection, begin: str = "BEGIN IMMEDIATE") -> Iterator[sqlite3.Connection]:
    connection.execute(begin)
    try:
        yield connection
        connection.execute("COMMIT")
    except BaseException:
        with contextlib.suppress(sqlite3.Error):  # a failed COMMIT may have rolled back already
            connection.execute("ROLLBACK")
        raise


def _close(connections: _Connections) -> None:
    """Close this process's own; a forked child must not touch its parent's."""
    for who in [who for who in connections if who[0] == os.getpid()]:
        connections.pop(who).close()
