"""Campaigns in the store: which there are, what each came to, and the corpus of a guided one."""

import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .counts import Row, fill, rows_of
from .database import Database
from .standing import Kept, Standing


class Key(NamedTuple):
    """What makes two runs one campaign: with equal ones, a case number means the same verdict."""

    arch: str
    kernel: str
    target: str
    content: str  # fuzz.content
    batching: str
    denied: str  # classes, comma-separated
    engine: str
    seed: str  # a uint64, and SQLite's integers are signed
    version: int  # of the generator
    window: int


class Entry(NamedTuple):
    """A case that a guided engine keeps."""

    name: str  # its id
    text: str  # harness.casefile
    features: Any  # uint64, for which it is kept
    words: Any = ()  # uint64, the choices that make it; empty if none do


# So many entries a campaign has at most. The last ones are kept: the later a feature is seen
# first, the rarer it is.
MOST_ENTRIES = 512


class Past(NamedTuple):
    """A campaign of whichever sources, as rows."""

    key: Key
    started: float
    updated: float
    seconds: float
    first_finding: float | None
    cases_done: list[tuple[int, int]]
    counts: list[Row]
    findings: list[Kept]
    flaky: list[str]
    entries: int


class Store:
    """The campaigns of one file."""

    def __init__(self, database: Database) -> None:
        """Campaigns of `database`, which `close` closes."""
        self.database = database
        self._run = database.connection.execute
        self._rows = database.rows

    def close(self) -> None:
        """Close the file."""
        self.database.close()

    # Writing.

    def find(self, key: Key) -> int | None:
        """The id of the campaign, None if there is none."""
        where = " AND ".join(f"{name} = ?" for name in Key._fields)
        rows = self._rows(f"SELECT id FROM campaigns WHERE {where}", key)
        return rows[0][0] if rows else None

    def begin(self, key: Key, *, fresh: bool) -> int:
        """The id of the campaign, made if absent; `fresh` forgets what it came to."""
        with self.database.transaction():
            known = self.find(key)
            if known is not None and not fresh:
                return known
            if known is not None:
                self._run("DELETE FROM campaigns WHERE id = ?", (known,))
            names, now = ", ".join(Key._fields), time.time()
            marks = ", ".join("?" for _ in (*Key._fields, "started", "updated"))
            cursor = self._run(
                f"INSERT INTO campaigns ({names}, started, updated) VALUES ({marks})",
                (*key, now, now),
            )
            assert cursor.lastrowid is not None
            return cursor.lastrowid

    def save(self, campaign: int, standing: Standing, entries: Iterable[Entry] = ()) -> None:
        """Make `standing` what the campaign came to, and add `entries` to its corpus, at once."""
        many = self.database.connection.executemany
        rows = [
            (campaign, entry.name, entry.text, _blob(entry.features), _blob(entry.words))
            for entry in entries
        ]
        with self.database.transaction():
            self._run(
                "UPDATE campaigns SET updated = ?, seconds = ?, first_finding = ? WHERE id = ?",
                (time.time(), standing.seconds, standing.first_finding, campaign),
            )
            self._run("DELETE FROM ranges WHERE campaign = ?", (campaign,))
            many(
                "INSERT INTO ranges VALUES (?, ?, ?)",
                [(campaign, *bounds) for bounds in standing.done],
            )
            # Counts only grow.
            many(
                "INSERT OR REPLACE INTO counts VALUES (?, ?, ?, ?)",
                [(campaign, *row) for row in rows_of(standing)],
            )
            many(
                "INSERT OR IGNORE INTO findings (campaign, class, path, number) VALUES (?, ?, ?, ?)",
                [(campaign, kept.name, str(kept.path), kept.number) for kept in standing.kept],
            )
            many(
                "INSERT OR IGNORE INTO flaky VALUES (?, ?)",
                [(campaign, number) for number in standing.flaky],
            )
            if not rows:
                return
            many(
                "INSERT OR IGNORE INTO entries (campaign, name, text, features, words) "
                "VALUES (?, ?, ?, ?, ?)",
                rows,
            )
            self._run(
                "DELETE FROM entries WHERE campaign = ? AND id NOT IN "
                "(SELECT id FROM entries WHERE campaign = ? ORDER BY id DESC LIMIT ?)",
                (campaign, campaign, MOST_ENTRIES),
            )

    # Reading.

    def standing(self, campaign: int) -> Standing:
        """What the campaign came to; it must be one of these sources."""
        found = Standing()
        fill(found, self._counts(campaign))
        for first, last in self._ranges(campaign):
            found.done.add(first, last)
        found.kept = self._findings(campaign)
        found.flaky = self._flaky(campaign)
        ((found.seconds, found.first_finding),) = self._rows(
            "SELECT seconds, first_finding FROM campaigns WHERE id = ?", (campaign,)
        )
        return found

    def entries(self, campaign: int) -> Iterator[Entry]:
        """The corpus, in the order in which it grew."""
        rows = self._rows(
            "SELECT name, text, features, words FROM entries WHERE campaign = ? ORDER BY id",
            (campaign,),
        )
        for name, text, features, words in rows:
            yield Entry(name, text, _numbers(features), _numbers(words))

    def nr_entries(self, campaign: int) -> int:
        """The size of the corpus."""
        ((count,),) = self._rows("SELECT count(*) FROM entries WHERE campaign = ?", (campaign,))
        return int(count)

    def campaigns(self) -> list[Past]:
        """Every campaign, the one that ran last first."""
        if self.database.is_empty():
            return []
        names = ", ".join(Key._fields)
        rows = self._rows(
            f"SELECT {names}, started, updated, seconds, first_finding, id FROM campaigns "
            "ORDER BY updated DESC, id DESC"
        )
        return [self._past(*row) for row in rows]

    def _past(self, *row: Any) -> Past:
        *key, started, updated, seconds, first_finding, campaign = row
        return Past(
            Key(*key),
            started,
            updated,
            seconds,
            first_finding,
            self._ranges(campaign),
            self._counts(campaign),
            self._findings(campaign),
            self._flaky(campaign),
            self.nr_entries(campaign),
        )

    def _ranges(self, campaign: int) -> list[tuple[int, int]]:
        return self._rows(
            "SELECT first, last FROM ranges WHERE campaign = ? ORDER BY first", (campaign,)
        )

    def _counts(self, campaign: int) -> list[Row]:
        return self._rows(
            "SELECT what, name, count FROM counts WHERE campaign = ? ORDER BY what, name",
            (campaign,),
        )

    def _findings(self, campaign: int) -> list[Kept]:
        rows = self._rows(
            "SELECT class, path, number FROM findings WHERE campaign = ? ORDER BY id", (campaign,)
        )
        return [Kept(name, Path(path), number) for name, path, number in rows]

    def _flaky(self, campaign: int) -> list[str]:
        rows = self._rows(
            "SELECT number FROM flaky WHERE campaign = ? ORDER BY number", (campaign,)
        )
        return [number for (number,) in rows]


def _blob(numbers: Any) -> bytes:
    return np.asarray(numbers, "<u8").tobytes()


def _numbers(blob: bytes) -> Any:
    return np.frombuffer(blob, "<u8").astype(np.uint64)
