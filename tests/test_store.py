"""What the store keeps, what it refuses, and that it is whole when it could not write."""

import itertools
import sqlite3
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fuzz.store.store as store_module
from fuzz.exits import NotWritten
from fuzz.store.counts import PLACES
from fuzz.store.database import APPLICATION, Database
from fuzz.store.ranges import Ranges
from fuzz.store.standing import Kept, Standing
from fuzz.store.store import Entry, Key, Store
from harness.case import CaseError
from harness.census import CASES, TALLY_SIZE

KEY = Key("arch", "7.3", "batched", "abc", "exact", "", "random", str(2**64 - 1), 2, 0)

numbers = st.integers(0, 30)


@given(st.lists(st.tuples(numbers, numbers)), numbers, numbers)
def test_ranges_are_sets_of_numbers(pairs: list[tuple[int, int]], first: int, last: int) -> None:
    ranges = Ranges(pairs)
    numbers = {n for begin, end in pairs for n in range(begin, end)}
    found = list(ranges)
    assert {n for begin, end in found for n in range(begin, end)} == numbers
    assert len(ranges) == len(numbers)
    # Apart, so that there is one way to write a set.
    assert all(a[1] < b[0] for a, b in itertools.pairwise(found))
    assert ranges.has(first, last) == (set(range(first, last)) <= numbers)
    begin, end = ranges.next_missing(first)
    assert not set(range(first, begin)) - numbers
    assert begin not in numbers
    assert end is None or (end in numbers and not set(range(begin, end)) & numbers)


def test_every_count_has_a_name() -> None:
    assert sorted(PLACES.values()) == list(range(TALLY_SIZE))


def standing() -> Standing:
    """One in which each count is another number."""
    made = Standing(seconds=1.5, first_finding=0.25, flaky=["a:1"])
    made.tally[:] = np.arange(TALLY_SIZE)
    made.seen[:] = np.arange(len(made.seen))
    made.done.add(0, 10)
    made.done.add(20, 30)
    made.kept.append(Kept("cow-write", Path("/some/where.case"), "a:2"))
    return made


def test_a_standing_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite"
    store = Store(Database(path))
    campaign = store.begin(KEY, fresh=False)
    entries = [Entry("x", "text", [2, 2**64 - 1], [7]), Entry("y", "other", [])]
    store.save(campaign, standing(), entries)
    store.save(campaign, standing(), entries[:1])  # nothing twice
    store.close()
    assert [file.name for file in tmp_path.iterdir()] == ["a.sqlite"]
    store = Store(Database(path))
    assert store.begin(KEY, fresh=False) == campaign
    found, made = store.standing(campaign), standing()
    assert found.tally.tolist() == made.tally.tolist()
    assert found.seen.tolist() == made.seen.tolist()
    assert list(found.done) == [(0, 10), (20, 30)]
    assert (found.seconds, found.first_finding) == (1.5, 0.25)
    assert (found.kept, found.flaky) == (made.kept, made.flaky)
    kept = [
        (e.name, e.text, e.features.tolist(), e.words.tolist()) for e in store.entries(campaign)
    ]
    assert kept == [("x", "text", [2, 2**64 - 1], [7]), ("y", "other", [], [])]


def test_of_a_corpus_the_last_entries_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "MOST_ENTRIES", 3)
    store = Store(Database(tmp_path / "a.sqlite"))
    other = store.begin(KEY._replace(seed="5"), fresh=False)
    store.save(other, standing(), [Entry("x", "text", [1])])
    campaign = store.begin(KEY, fresh=False)
    for name in "abcde":
        store.save(campaign, standing(), [Entry(name, "text", [1])])
    assert [entry.name for entry in store.entries(campaign)] == ["c", "d", "e"]
    assert store.nr_entries(other) == 1


def test_fresh_forgets_one_campaign_only(tmp_path: Path) -> None:
    store = Store(Database(tmp_path / "a.sqlite"))
    other = store.begin(KEY._replace(seed="5"), fresh=False)
    mine = store.begin(KEY, fresh=False)
    for campaign in (other, mine):
        store.save(campaign, standing(), [Entry("x", "text", [1])])
    mine = store.begin(KEY, fresh=True)
    assert store.standing(mine).cases == 0
    assert (store.nr_entries(mine), store.nr_entries(other)) == (0, 1)
    assert store.standing(other).cases == CASES
    # Nothing of it is left behind.
    tables = ("ranges", "counts", "findings", "flaky", "entries")
    for table in tables:
        rows = store.database.rows(f"SELECT DISTINCT campaign FROM {table}")
        assert rows == [(other,)], table


@pytest.mark.parametrize("change", [f for f in Key._fields if f not in ("version", "window")])
def test_another_key_is_another_campaign(tmp_path: Path, change: str) -> None:
    store = Store(Database(tmp_path / "a.sqlite"))
    store.begin(KEY, fresh=False)
    assert store.find(KEY._replace(**{change: "other"})) is None
    assert store.find(KEY._replace(version=3)) is None
    assert store.find(KEY._replace(window=3)) is None
    assert store.find(KEY) is not None


def test_a_file_of_somebody_else_is_refused_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite"
    path.write_bytes(b"no database at all, and not even short " * 50)
    for opened in (Database, Database.to_read):
        with pytest.raises(CaseError, match=r"a\.sqlite is no campaign store"):
            opened(path)
    assert path.read_bytes().startswith(b"no database")
    path.unlink()
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE mine (x)")
    connection.close()
    for opened in (Database, Database.to_read):
        with pytest.raises(CaseError, match=r"a\.sqlite is no campaign store"):
            opened(path)


def test_another_format_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite"
    Database(path).close()
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA application_id").fetchone() == (APPLICATION,)
        connection.execute("PRAGMA user_version = 3")
    connection.close()
    with pytest.raises(CaseError, match="has format 3, expected 2"):
        Database(path)


def test_the_first_format_is_read_and_made_the_second(tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite"
    store = Store(Database(path))
    store.save(store.begin(KEY, fresh=False), standing())
    store.close()
    with sqlite3.connect(path) as connection:
        connection.execute("ALTER TABLE entries DROP COLUMN words")
        connection.execute("PRAGMA user_version = 1")
    connection.close()
    reader = Store(Database.to_read(path))
    (past,) = reader.campaigns()
    reader.close()
    store = Store(Database(path))
    campaign = store.find(KEY)
    assert campaign is not None
    store.save(campaign, standing(), [Entry("x", "text", [1], [2])])
    assert (
        store.standing(campaign).cases == {(w, n): c for w, n, c in past.counts}["total", "cases"]
    )
    assert [entry.words.tolist() for entry in store.entries(campaign)] == [[2]]


def test_a_full_database_is_not_written_and_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite"
    store = Store(Database(path))
    campaign = store.begin(KEY, fresh=False)
    store.save(campaign, standing(), [Entry("x", "text", [1])])
    ((pages,),) = store.database.rows("PRAGMA page_count")
    store.database.rows(f"PRAGMA max_page_count = {pages + 2}")
    later = standing()
    later.tally += 1
    with pytest.raises(NotWritten, match=r"cannot write .*a\.sqlite: .*full"):
        store.save(campaign, later, [Entry("y", "long " * 10_000, [1])])
    assert store.standing(campaign).tally.tolist() == standing().tally.tolist()
    assert store.nr_entries(campaign) == 1
    assert store.database.rows("PRAGMA integrity_check") == [("ok",)]
    store.save(campaign, standing())


def test_a_reader_sees_what_is_committed_meanwhile(tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite"
    store = Store(Database(path))
    campaign = store.begin(KEY, fresh=False)
    for entries in (1, 2):
        store.save(campaign, standing(), [Entry(f"x{entries}", "text", [1])])
        reader = Store(Database.to_read(path))
        (past,) = reader.campaigns()
        reader.close()
        assert (past.key, past.entries) == (KEY, entries)
        assert past.cases_done == [(0, 10), (20, 30)]
