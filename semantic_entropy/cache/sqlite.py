"""The verdict cache in an SQLite file, which many runs and processes can share.

The file uses write-ahead logging: readers never wait, writers take turns, and the verdicts that a killed writer had
committed stay in the file. Each thread of each process has its own connection, so neither threads nor forked processes
share a connection. The connection of a thread that has ended is closed at the next write.

A key contains the judge's class (`class_identity`), `settings`, `versions` and `rules`, the question if the judge uses
the question, and the two answers. The key has the same value in every process. The file holds the SHA-256 of the key,
not the texts. The settings of some judges have no meaning in another process, because they are not plain values (texts,
numbers, tuples of these): a plain function, or an `Equivalence` that does not override `settings`. The verdicts of such
a judge stay in memory, and `str()` of the cache says this.

This module does not delete old verdicts. The file grows by about 100 bytes for each verdict; to start again, delete the
file.
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

from semantic_entropy.cache.identity import PrivateSettings, class_identity
from semantic_entropy.cache.memory import VerdictCache
from semantic_entropy.errors import InputError, SemanticEntropyError
from semantic_entropy.types import Verdict

_APPLICATION_ID = 0x53456E74  # "SEnt", PRAGMA application_id: marks the files of this module
_FORMAT = 2  # PRAGMA user_version: version of the table
_KEY_FORMAT = "0.1.0"  # part of each key: the release that made the first keys of this form
_LOCK_TIMEOUT = 30.0  # seconds to wait for other writers; a write takes milliseconds
_MIN_FREE = 1 << 20  # bytes: with less free space, SQLite cannot create its auxiliary files
_TABLE = """
CREATE TABLE IF NOT EXISTS verdicts
(key BLOB PRIMARY KEY, same INTEGER NOT NULL, score REAL, reason TEXT, by TEXT) WITHOUT ROWID
"""
_Connections = dict[tuple[int, threading.Thread], sqlite3.Connection]  # by process id and thread


class CacheFile(VerdictCache):
    """A verdict cache in a file. A `VerdictCache` in memory holds the most recently used verdicts.

    Raises:
        InputError: the constructor raises it if the file cannot be opened, or is not a verdict cache.
        SemanticEntropyError: every method raises it if the file is damaged, another process locks the file for half a
            minute, or the disk is full.
    """

    def __init__(self, path: str | os.PathLike[str], size: int = 100_000) -> None:
        super().__init__(size)
        self.path = Path(path)
        self.found = self.added = 0
        self._not_stored: dict[str, str] = {}  # judge name -> the reason why the file does not store its verdicts
        self._connections: _Connections = {}
        weakref.finalize(self, _close, self._connections)
        self._connection()

    def get(self, key: Hashable) -> Verdict | None:
        verdict = super().get(key)
        if verdict is not None or (digest := self._digest(key)) is None:
            return verdict
        with self._errors():
            query = "SELECT same, score, reason, by FROM verdicts WHERE key = ?"
            row = self._connection().execute(query, (digest,)).fetchone()
        if row is None:
            return None
        self.found += 1
        verdict = Verdict(bool(row[0]), *row[1:])
        super().put_all([(key, verdict)])
        return verdict

    def put_all(self, entries: Iterable[tuple[Hashable, Verdict]]) -> None:
        rows, given = [], list(entries)
        super().put_all(given)
        for key, verdict in given:
            if verdict.same is not None and (digest := self._digest(key)) is not None:
                rows.append((digest, *_to_row(verdict)))
        if not rows:
            return
        self._close_ended()
        with self._errors(), _transaction(self._connection()) as connection:
            connection.executemany("INSERT OR REPLACE INTO verdicts VALUES (?, ?, ?, ?, ?)", rows)
        self.added += len(rows)

    def close(self) -> None:
        """Close the connections of this process. The next call opens new connections."""
        _close(self._connections)

    def __str__(self) -> str:
        lines = [f"{self.path}: {self.found} verdicts found, {self.added} added"]
        lines += [f"  {judge}: no verdict is stored, because {why}" for judge, why in sorted(self._not_stored.items())]
        if not self.found + self.added and self.free:
            judges = ", ".join(sorted(self.free))
            lines.append(f"  {judges}: no verdict is stored, because asking again is faster than reading the file")
        return "\n".join(lines)

    def _digest(self, key: Hashable) -> bytes | None:
        """Return the SHA-256 of the key; None if the key has no meaning in another process."""
        if not isinstance(key, tuple) or not isinstance(key[0], type):
            return None
        judge, settings, versions, _, *pair = key  # the repr() of the settings shows their types
        try:
            text = repr((*class_identity(judge), _KEY_FORMAT, _to_plain((settings, versions, *pair))))
        except _NotPlainError as error:
            self._not_stored[str(getattr(judge, "name", judge.__qualname__))] = str(error)
            return None
        return hashlib.sha256(text.encode()).digest()

    def _connection(self) -> sqlite3.Connection:
        owner = os.getpid(), threading.current_thread()
        if owner not in self._connections:
            self._close_ended()
            self._connections[owner] = _open_database(self.path)
        return self._connections[owner]

    def _close_ended(self) -> None:
        """Close the connections of the threads of this process that have ended."""
        for owner in list(self._connections):
            if owner[0] == os.getpid() and not owner[1].is_alive() and (ended := self._connections.pop(owner, None)):
                ended.close()

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise SemanticEntropyError(f"verdict cache {self.path}: {error}: {_advice(error, self.path)}") from error


class _NotPlainError(Exception):
    """A value in a key has no meaning in another process. The message names the value."""


def _to_plain(value: object) -> object:
    """Convert the value to types with a repr() that is complete and equal in every process.

    A subclass of a plain type is refused, because its repr() may be any text. A subclass of str, such as torch's
    version, is converted to str.
    """
    if type(value) is tuple:
        return tuple(map(_to_plain, value))
    if isinstance(value, str):
        return str.__str__(value)
    if type(value) in (int, float, bool, bytes, type(None)):
        return value
    if isinstance(value, PrivateSettings):
        raise _NotPlainError("it does not override `settings`: its verdicts mean nothing to another run")
    raise _NotPlainError(
        f"its settings hold {value!r:.80}, a {type(value).__name__}: use only texts, numbers, None and tuples of these"
    )


def _to_row(verdict: Verdict) -> tuple[bool, float | None, str | None, str | None]:
    """Convert a verdict to SQLite's types. Its score may be a numpy number; its reason may contain a lone surrogate."""
    score = None if verdict.score is None else float(verdict.score)
    reason = verdict.reason and verdict.reason.encode("utf-8", "backslashreplace").decode()
    return bool(verdict.same), score, reason, verdict.by


def _open_database(path: Path) -> sqlite3.Connection:
    try:
        connection = sqlite3.connect(path, timeout=_LOCK_TIMEOUT, isolation_level=None, check_same_thread=False)
    except sqlite3.Error as error:
        raise InputError(
            f"verdict cache {path}: {error}: name a file in a folder that exists and is writable"
        ) from error
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
    """Return advice for the user. The advice never says to delete a file that may hold other data."""
    match getattr(error, "sqlite_errorcode", 0) & 0xFF:  # the low 8 bits: the primary result code
        case sqlite3.SQLITE_FULL | sqlite3.SQLITE_IOERR as code:
            is_full = code == sqlite3.SQLITE_FULL or shutil.disk_usage(path.parent).free < _MIN_FREE
            what = "the disk is full" if is_full else "a quota or a limit on file sizes is reached, or the disk fails"
            return f"{what}: free some space and run again; the verdicts in the file are kept"
        case sqlite3.SQLITE_NOTADB:
            return "it is not a verdict cache: name another file"
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return "another process has locked it for half a minute: try again, or name another file"
        case sqlite3.SQLITE_CORRUPT:
            return "it is damaged: name another file; if it held nothing but verdicts, you can delete it"
        case _:
            return "name another file, in a folder that is writable"


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    """Create the table in a new file. Raise InputError for a file of another application, without a change."""
    with _transaction(
        connection, "BEGIN"
    ):  # one transaction for all three reads: another process may be creating the file
        application, file_format = _pragma(connection, "application_id"), _pragma(connection, "user_version")
        (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if application != _APPLICATION_ID and (application or file_format or tables):
        raise InputError(f"{path} is an SQLite file of another application: use another file as verdict cache")
    if application == _APPLICATION_ID and file_format != _FORMAT:
        raise InputError(
            f"verdict cache {path} has format {file_format}, this version reads {_FORMAT}: use another file"
        )
    if application != _APPLICATION_ID:
        _write_ahead(connection)
        with _transaction(connection):
            connection.execute(_TABLE)
            connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {_FORMAT}")
    connection.execute(
        "PRAGMA synchronous = NORMAL"
    )  # after a power cut, the last verdicts may be lost; the file stays intact


def _write_ahead(connection: sqlite3.Connection) -> None:
    """Switch to write-ahead logging. Retry, because SQLite fails while another process switches."""
    deadline = time.monotonic() + _LOCK_TIMEOUT
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
    """Close the connections of this process. A forked child must not touch its parent's connections."""
    for owner in [owner for owner in connections if owner[0] == os.getpid()]:
        connections.pop(owner).close()
