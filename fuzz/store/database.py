"""The SQLite file of a work directory: its schema, its transactions, its errors as ours.

It is in WAL mode: a commit appends to one file without waiting for the disk, so a campaign
can afford one a second, and `midfolio report` reads while it does. What is committed outlives
a kill at once, and a power cut at most loses the last commits. Where a file system has no
shared memory, SQLite itself stays with the rollback journal.
"""

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from harness.case import CaseError

from ..exits import NotWritten

APPLICATION = 0x6D696466
VERSION = 2
BUSY_SECONDS = 30.0

SCHEMA = (
    """CREATE TABLE campaigns (
        id INTEGER PRIMARY KEY,
        arch TEXT NOT NULL,
        kernel TEXT NOT NULL,
        target TEXT NOT NULL,
        content TEXT NOT NULL,
        batching TEXT NOT NULL,
        denied TEXT NOT NULL,
        engine TEXT NOT NULL,
        seed TEXT NOT NULL,
        version INTEGER NOT NULL,
        window INTEGER NOT NULL,
        started REAL NOT NULL,
        updated REAL NOT NULL,
        seconds REAL NOT NULL DEFAULT 0,
        first_finding REAL,
        UNIQUE (arch, kernel, target, content, batching, denied, engine, seed, version, window)
    )""",
    # Case numbers that are done, [first, last).
    """CREATE TABLE ranges (
        campaign INTEGER NOT NULL REFERENCES campaigns ON DELETE CASCADE,
        first INTEGER NOT NULL,
        last INTEGER NOT NULL,
        PRIMARY KEY (campaign, first)
    ) WITHOUT ROWID""",
    # Counts that are not zero, named as in fuzz.store.counts.
    """CREATE TABLE counts (
        campaign INTEGER NOT NULL REFERENCES campaigns ON DELETE CASCADE,
        what TEXT NOT NULL,
        name TEXT NOT NULL,
        count INTEGER NOT NULL,
        PRIMARY KEY (campaign, what, name)
    ) WITHOUT ROWID""",
    # Findings whose files were written, in this order.
    """CREATE TABLE findings (
        id INTEGER PRIMARY KEY,
        campaign INTEGER NOT NULL REFERENCES campaigns ON DELETE CASCADE,
        class TEXT NOT NULL,
        path TEXT NOT NULL,
        number TEXT NOT NULL,
        UNIQUE (campaign, path)
    )""",
    """CREATE TABLE flaky (
        campaign INTEGER NOT NULL REFERENCES campaigns ON DELETE CASCADE,
        number TEXT NOT NULL,
        PRIMARY KEY (campaign, number)
    ) WITHOUT ROWID""",
    # What a guided engine keeps: the text of the case, and as little-endian uint64 the features
    # that it is kept for and the choices that make it.
    """CREATE TABLE entries (
        id INTEGER PRIMARY KEY,
        campaign INTEGER NOT NULL REFERENCES campaigns ON DELETE CASCADE,
        name TEXT NOT NULL,
        text TEXT NOT NULL,
        features BLOB NOT NULL,
        words BLOB NOT NULL,
        UNIQUE (campaign, name)
    )""",
)
# Of an older format only the entries differ, and no engine wrote any.
_UPGRADABLE = 1
_UPGRADE = ("DROP TABLE entries", SCHEMA[-1])
# The place is wrong, not our write.
_BAD_PLACE = ("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM", "SQLITE_AUTH")


class Database:
    """An open file."""

    def __init__(self, path: Path) -> None:
        """Open the file at `path`, made if absent; CaseError where it is not ours to write."""
        self.path = path
        with self.errors():
            self.connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None)
            try:
                self._set_up()
            except BaseException:
                self.connection.close()
                raise

    @classmethod
    def to_read(cls, path: Path) -> "Database":
        """The file at `path`, opened to be read; CaseError for another file."""
        self = cls.__new__(cls)
        self.path = path
        # A reader keeps house, too, and writes beside the file. Where nobody can, nobody does.
        writable = os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)
        with self.errors():
            mode = "mode=rw" if writable else "immutable=1"
            uri = f"{path.absolute().as_uri()}?{mode}"
            self.connection = sqlite3.connect(
                uri, timeout=BUSY_SECONDS, isolation_level=None, uri=True
            )
            try:
                if not self.is_empty():
                    self._check()
            except BaseException:
                self.connection.close()
                raise
        return self

    def is_empty(self) -> bool:
        """Whether there is no table: the first writer found no room for them, say."""
        return not self.connection.execute("SELECT 1 FROM sqlite_master").fetchall()

    def _pragma(self, name: str) -> int:
        return int(self.connection.execute(f"PRAGMA {name}").fetchone()[0])

    def _check(self) -> None:
        """CaseError unless the file is of this format."""
        if self._pragma("application_id") != APPLICATION:
            raise CaseError(f"{self.path} is no campaign store; expected a file that fuzz wrote")
        version = self._pragma("user_version")
        if version not in (_UPGRADABLE, VERSION):
            raise CaseError(
                f"{self.path} has format {version}, expected {VERSION}; "
                "move it away, or choose another --work"
            )

    def _set_up(self) -> None:
        run = self.connection.execute
        new = self.is_empty()
        if not new:
            self._check()
        run("PRAGMA journal_mode = WAL")
        run("PRAGMA synchronous = NORMAL")
        run("PRAGMA foreign_keys = ON")
        if new:
            self._make(SCHEMA)
        elif self._pragma("user_version") == _UPGRADABLE:
            self._make(_UPGRADE)

    def _make(self, statements: Sequence[str]) -> None:
        """Run `statements`, which make the file one of this format."""
        with self.transaction():
            for statement in statements:
                self.connection.execute(statement)
            self.connection.execute(f"PRAGMA application_id = {APPLICATION}")
            self.connection.execute(f"PRAGMA user_version = {VERSION}")

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Turn SQLite's errors into ours."""
        try:
            yield
        except sqlite3.Error as error:
            name = getattr(error, "sqlite_errorname", "")
            if name == "SQLITE_NOTADB":
                raise CaseError(
                    f"{self.path} is no campaign store ({error}); expected a file that fuzz wrote"
                ) from None
            if name.startswith(_BAD_PLACE):
                raise CaseError(
                    f"cannot use {self.path}: {error}; expected a work directory to write to"
                ) from None
            raise NotWritten(
                f"cannot write {self.path}: {error}; what was written before is whole"
            ) from None

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All that is executed inside is committed at the end, or none of it."""
        with self.errors():
            self.connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self.connection.execute("COMMIT")
            except BaseException:
                if self.connection.in_transaction:
                    self.connection.execute("ROLLBACK")
                raise

    def rows(self, query: str, values: Sequence[Any] = ()) -> list[Any]:
        """The rows that `query` gives."""
        with self.errors():
            return self.connection.execute(query, values).fetchall()

    def close(self) -> None:
        """Close it; the last one to do so takes the write-ahead log away."""
        with self.errors():
            self.connection.close()
