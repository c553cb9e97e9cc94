"""What of a case user space builds, and what it must see afterwards.

Raises CaseError where the point of a case would be lost. What is only brought about nearly is
listed in `Plan.notes`.
"""

from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

from mm.flags import FOLIO_ANON

from ..anatomy import is_present, is_valid, pfn_of
from ..case import Case, Folio
from .scope import (
    COPYING,
    EXEC,
    MPROTECT,
    PRIVATE,
    PRIVATE_FILE,
    READ,
    REGULAR,
    SHMEM,
    WRITE,
    backing_of,
    call_of,
    field,
    is_registered,
    lost,
    maps_page,
    page_of,
)

# No anonymous folio has two pages.
MIN_LARGE = 4
SPAN = 512


class Large(NamedTuple):
    """A large folio that the program makes: its pages, from place `first` of the program's memory."""

    first: int
    pages: int


class Plan(NamedTuple):
    """All that is to be built; a place is a page of the program's memory."""

    backing: str  # PRIVATE, PRIVATE_FILE, SHMEM, REGULAR
    call: str  # MPROTECT, PROTECT, RESOLVE
    at: int  # the place of entry 0
    places: int
    larges: tuple[Large, ...]
    smalls: frozenset[int]
    zeros: frozenset[int]
    copies: frozenset[int]  # anonymous pages in a mapping of a file
    holes: frozenset[int]
    exclusive: frozenset[int]
    clean: frozenset[int]
    start: int  # the range of the call
    end: int
    before: int  # PROT_* of the range
    after: int
    notes: tuple[str, ...]


def plan_of(case: Case) -> Plan:
    """The plan of `case`; CaseError if user space cannot build what the case is about."""
    backing = backing_of(case)
    call = call_of(case)
    pages = {i: page_of(case, i, backing) for i in range(len(case.ptes)) if maps_page(case, i)}
    if backing != PRIVATE:
        _check_spans(case, pages)
    at, larges = _place(case, pages, MIN_LARGE if backing == PRIVATE else 1)
    nr = len(case.ptes)
    places = max([at + nr, *(large.first + large.pages for large in larges)])
    mapped = {at + i: folio for i, folio in pages.items() if folio}
    zeros = {at + i for i, folio in pages.items() if folio is None}
    # Anonymous memory maps all of a folio; of any other, only what an entry shows is mapped.
    beside: set[int] = set()
    if backing == PRIVATE:
        beside = {p for large in larges for p in range(large.first, large.first + large.pages)}
        beside -= set(range(at, at + nr))
    before, after = _rights(case, call)
    dirty = field(case, "dirty")
    return Plan(
        backing=backing,
        call=call,
        at=at,
        places=places,
        larges=tuple(larges),
        smalls=frozenset(p for p, folio in mapped.items() if folio.nr_pages == 1),
        zeros=frozenset(zeros),
        copies=frozenset(
            p for p, folio in mapped.items() if backing == PRIVATE_FILE and _is_anon(folio)
        ),
        holes=frozenset(set(range(places)) - set(mapped) - zeros - beside),
        exclusive=frozenset(_exclusive(case, at, pages) if backing in COPYING else ()),
        clean=frozenset(p for p in mapped if not case.ptes[p - at] & dirty),
        start=at + case.call.start,
        end=at + case.call.end,
        before=before,
        after=after,
        notes=tuple(_notes(case, backing, before)),
    )


def _place(case: Case, pages: dict[int, Folio | None], smallest: int) -> tuple[int, list[Large]]:
    """The place of entry 0, and the large folios; `smallest`: the pages of a large folio at least."""
    firsts: dict[Folio, int] = {}
    for i, folio in pages.items():
        if folio is None:
            continue
        first = i - (pfn_of(case.layout, case.ptes[i]) - folio.pfn)
        if firsts.setdefault(folio, first) != first:
            raise lost(
                f"folio {folio.pfn:#x} is mapped at two places, or out of order",
                "folios whose entries follow each other can",
            )
    large = {folio: first for folio, first in firsts.items() if folio.nr_pages > 1}
    for at in range(SPAN):
        if all(
            at + first >= 0 and (at + first) % max(folio.nr_pages, smallest) == 0
            for folio, first in large.items()
        ):
            break
    else:
        raise lost(
            "its folios cannot all lie at multiples of their size",
            "folios at such addresses can",
        )
    made = [Large(at + first, max(f.nr_pages, smallest)) for f, first in large.items()]
    made.sort()
    for one, other in pairwise(made):
        if one.first + one.pages > other.first:
            raise lost(
                "two large folios would have to lie at the same place",
                "folios side by side can, of 4 pages or more in private memory",
            )
    return at, made


def _check_spans(case: Case, pages: dict[int, Folio | None]) -> None:
    """Refuse an entry that maps another page of the file where the page cache has one of a large folio."""
    for i, folio in pages.items():
        if folio is None:
            continue
        head = i - (pfn_of(case.layout, case.ptes[i]) - folio.pfn)
        for other in range(max(head, 0), min(head + folio.nr_pages, len(case.ptes))):
            there = pages.get(other, folio)
            # A copy leaves the file's page where it is.
            if there != folio and not (there and _is_anon(there)):
                raise lost(
                    f"pte {other} maps another page than folio {folio.pfn:#x} has there",
                    "in a file each page has one place",
                )


def _is_anon(folio: Folio) -> bool:
    return bool(folio.flags & int(FOLIO_ANON))


def _exclusive(case: Case, at: int, pages: dict[int, Folio | None]) -> Iterator[int]:
    """The places of exclusive pages, those of a large folio beside the window included."""
    for i, folio in pages.items():
        if folio is None or not _is_anon(folio):
            continue
        head = i - (pfn_of(case.layout, case.ptes[i]) - folio.pfn)
        for page in range(folio.nr_pages):
            # Inside the window only an entry says whose page is there.
            shown = 0 <= head + page < len(case.ptes)
            if folio.exclusive >> page & 1 and not (shown and pages.get(head + page) != folio):
                yield at + head + page


def _rights(case: Case, call: str) -> tuple[int, int]:
    """PROT_* of the range before the call and after it, which differ, or mprotect does nothing."""
    after = case.vma.flags & (READ | WRITE | EXEC)
    if call != MPROTECT:
        return after, after
    called = range(case.call.start, case.call.end)
    mapped = [case.ptes[i] for i in called if is_present(case.layout, case.ptes[i])]
    if not mapped and not is_registered(case):
        raise lost("no entry of the range maps a page", "ranges with a page can")
    if not all(is_valid(case.layout, word) for word in mapped):
        before = 0
    elif any(word & field(case, "write") for word in mapped):
        before = READ | WRITE
    else:
        before = READ
    # Executing changes nothing that is looked at.
    return (before ^ EXEC | READ if before == after else before), after


def _notes(case: Case, backing: str, before: int) -> Iterator[str]:
    """What is not built exactly as the case has it."""
    yield "kernel " + case.kernel + " is the model's; the program runs on any."
    yield "PFNs, nodes and addresses are what the kernel gives. Accessed bits are those of a touch."
    if backing == PRIVATE and any(folio.nr_pages == 2 for folio in case.folios):
        yield "A folio of 2 pages is one of 4: anonymous memory has none of 2."
    valid = [word for word in case.ptes if is_valid(case.layout, word)]
    writes = {bool(word & field(case, "write")) for word in valid}
    clean = [word for word in valid if not word & field(case, "dirty")]
    writable = before & WRITE and len(writes) > 1
    if backing in COPYING:
        if writable:
            yield "Before the call exactly the exclusive pages are writable."
        if clean and backing == PRIVATE:
            yield "Clean pages are made by MADV_FREE: under memory pressure they may lose content."
        if clean and backing == PRIVATE_FILE:
            yield "Anonymous pages in a mapping of a file are dirty."
    elif backing == REGULAR:
        if before & WRITE and any(word & field(case, "write") for word in clean):
            yield "A clean page is read-only before the call, so it is in no batch with dirty ones."
        yield "How large a folio is, the file system decides: never larger than here."
    elif backing == SHMEM and writable and is_registered(case):
        yield "Before the call exactly the dirty pages are writable."
