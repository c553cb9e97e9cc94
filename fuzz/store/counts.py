"""The counts of a campaign by name: arrays in the campaign, rows in the store.

Names outlive a change of the arrays, so what other sources counted can still be read.
"""

from collections.abc import Iterable
from typing import Any

from harness import census
from harness.classes import CLASSES

from .standing import Standing

Row = tuple[str, str, int]  # what is counted, of which name, how often

CLASS_CASES = "class-cases"
CLASS_ENTRIES = "class-entries"
DIVERGING = "diverging"
KIND = "kind"
TRAIT = "trait"
TOTAL = "total"
CASES = "cases"
ENTRIES = "entries"

_TOTALS = {
    census.CASES: CASES,
    census.ENTRIES: ENTRIES,
    census.DESCRIBED: "described",
    census.DESCRIBED_ENTRIES: "described-entries",
    census.ACTIVE: "changed-or-flushed",
    census.REQUESTS: "requests-reference",
    census.REQUESTS + 1: "requests-target",
    census.INVALIDATIONS: "invalidations-reference",
    census.INVALIDATIONS + 1: "invalidations-target",
}


def _places() -> dict[tuple[str, str], int]:
    """The place in the tally of each count."""
    places = {}
    for number, known in enumerate(CLASSES):
        places[CLASS_CASES, known.name] = census.CLASS_CASES + number
        places[CLASS_ENTRIES, known.name] = census.CLASS_ENTRIES + number
    for number, kind in enumerate(census.KINDS):
        places[KIND, kind] = census.KIND_CASES + number
    for number, (trait, _) in enumerate(census.TRAITS):
        places[TRAIT, trait] = census.TRAIT_CASES + number
    places |= {(TOTAL, name): place for place, name in _TOTALS.items()}
    return places


PLACES = _places()
_CLASS = {known.name: number for number, known in enumerate(CLASSES)}


def rows_of(standing: Standing) -> list[Row]:
    """Every count of `standing` that is not zero."""
    tally = [(*name, int(standing.tally[place])) for name, place in PLACES.items()]
    seen = [(DIVERGING, name, int(standing.seen[number])) for name, number in _CLASS.items()]
    return [row for row in (*tally, *seen) if row[2]]


def fill(standing: Standing, rows: Iterable[tuple[Any, Any, Any]]) -> None:
    """Set the counts of an empty `standing` to those of `rows`."""
    for what, name, count in rows:
        if what == DIVERGING:
            standing.seen[_CLASS[name]] = count
        else:
            standing.tally[PLACES[what, name]] = count
