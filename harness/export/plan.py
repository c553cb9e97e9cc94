"""What of a case user space can build, and what it must see afterwards.

Raises CaseError where the point of a case would be lost. What is only brought about nearly is
listed in `Plan.notes`. Only what a program without privileges can see is expected: which pages
are written without a fault.
"""

from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

from mm import flags
from mm.version import VERSIONS

from ..anatomy import is_none, is_present, is_valid, pfn_of
from ..case import Case, CaseError, Folio, folio_of
from ..run import prepare, run
from ..targets import load

READ, WRITE, EXEC = 1, 2, 4
# From 512 pages on a PMD maps the folio, and there is no table of it.
MAX_PAGES = 256
# No anonymous folio has two pages.
MIN_LARGE = 4
SPAN = 512
TRY = int(flags.MM_CP_TRY_CHANGE_WRITABLE)
UFFD_FLAGS = int(flags.VM_UFFD_WP | flags.VM_UFFD_RWP)

# What a write to a page must meet: no fault, a fault that copies, either of them, a refusal, a hole.
DIRECT, FAULT, EITHER, DENIED, HOLE = "wf?-."


class Large(NamedTuple):
    """A large folio that the program makes: its pages, from place `first` of the program's memory."""

    first: int
    pages: int


class Plan(NamedTuple):
    """All that is to be built and seen; a place is a page of the program's memory."""

    places: int
    larges: tuple[Large, ...]
    smalls: tuple[int, ...]
    zeros: tuple[int, ...]
    holes: tuple[int, ...]
    exclusive: tuple[int, ...]
    clean: tuple[int, ...]
    start: int  # the range of the call
    end: int
    before: int  # PROT_*
    after: int
    expected: str  # a letter for each place
    page_size: int
    notes: tuple[str, ...]


def plan_of(case: Case) -> Plan:
    """The plan of `case`; CaseError if user space cannot build what the case is about."""
    _refuse_call(case)
    at, larges, pages = _place(case)
    nr = len(case.ptes)
    places = max([at + nr, *(large.first + large.pages for large in larges)])
    mapped = {at + i: folio for i, folio in pages.items() if folio}
    zeros = {at + i for i, folio in pages.items() if folio is None}
    inside = {at + i for i in range(nr)}
    in_large = {
        place for large in larges for place in range(large.first, large.first + large.pages)
    }
    smalls = {place for place, folio in mapped.items() if folio.nr_pages == 1}
    holes = set(range(places)) - set(mapped) - zeros - (in_large - inside)
    exclusive = _exclusive(case, at, pages)
    before, after = _rights(case)
    return Plan(
        places=places,
        larges=tuple(larges),
        smalls=tuple(sorted(smalls)),
        zeros=tuple(sorted(zeros)),
        holes=tuple(sorted(holes)),
        exclusive=tuple(sorted(exclusive)),
        clean=tuple(sorted(p for p in mapped if not case.ptes[p - at] & _field(case, "dirty"))),
        start=at + case.call.start,
        end=at + case.call.end,
        before=before,
        after=after,
        expected=_expected(case, at, places, after, exclusive),
        page_size=1 << case.config.page_shift,
        notes=tuple(_notes(case, before)),
    )


def _lost(why: str) -> CaseError:
    return CaseError(f"cannot be exported: {why}")


def _pfn(case: Case, index: int) -> int:
    return pfn_of(case.layout, case.ptes[index])


def _field(case: Case, name: str) -> int:
    """The bits of the entry fields called `name`, whatever stands around the name."""
    return sum(int(f.mask) for f in case.layout.fields if name in f.name and "soft" not in f.name)


def _refuse_call(case: Case) -> None:
    vm = case.vma.flags
    if case.arch != "x86_64":
        raise _lost(f"arch {case.arch}; only x86_64 is")
    if not case.vma.anon or vm & int(flags.VM_SHARED):
        raise _lost("the VMA is not private anonymous memory")
    if vm & UFFD_FLAGS or case.call.cp_flags & ~TRY:
        raise _lost("userfaultfd and NUMA hinting; only calls of mprotect(2) are")
    if vm & int(flags.VM_PFNMAP | flags.VM_MIXEDMAP):
        raise _lost("PFNMAP and MIXEDMAP need a driver")
    if case.config.soft_dirty and not vm & int(flags.VM_SOFTDIRTY):
        raise _lost("soft-dirty tracking is armed, which lasts only until the next mapping")
    if bool(case.call.cp_flags & TRY) != bool(vm & WRITE):
        raise _lost("mprotect(2) passes TRY_CHANGE_WRITABLE exactly where the VMA has WRITE")
    expected = int(case.layout.protection_map[vm & 7]) & ~_field(case, "accessed")
    if case.call.newprot & ~_field(case, "accessed") != expected:
        raise _lost(f"newprot {case.call.newprot:#x} is not that of the VMA's rights")
    if case.hardware:
        raise _lost("what the hardware flips during the call cannot be timed")


def _page_of(case: Case, index: int) -> Folio | None:
    """The folio that entry `index` maps, None for the zero page."""
    word = case.ptes[index]
    if not is_present(case.layout, word):
        raise _lost(f"pte {index} {word:#x} is neither a page nor empty")
    if word & _field(case, "uffd"):
        raise _lost(f"pte {index} has the userfaultfd bit")
    pfn = _pfn(case, index)
    if pfn == case.config.zero_pfn:
        return None
    row = folio_of(case.folios, pfn)
    if row is None:
        raise _lost(f"pte {index} maps pfn {pfn:#x}, which no folio holds")
    folio = case.folios[row]
    if folio.flags & ~int(flags.FOLIO_ANON | flags.FOLIO_DIRTY | flags.FOLIO_MAPPED_SHARED):
        raise _lost(f"folio {folio.pfn:#x} is more than anonymous")
    if not folio.flags & int(flags.FOLIO_ANON) or folio.nr_pages > MAX_PAGES:
        raise _lost(f"folio {folio.pfn:#x} must be anonymous, of {MAX_PAGES} pages at most")
    return folio


def _place(case: Case) -> tuple[int, list[Large], dict[int, Folio | None]]:
    """The place of entry 0, the large folios, and the folio of each entry that maps a page."""
    pages = {
        i: _page_of(case, i) for i, word in enumerate(case.ptes) if not is_none(case.layout, word)
    }
    firsts: dict[Folio, int] = {}
    for i, folio in pages.items():
        if folio is None:
            continue
        first = i - (_pfn(case, i) - folio.pfn)
        if firsts.setdefault(folio, first) != first:
            raise _lost(f"folio {folio.pfn:#x} is mapped at two places, or out of order")
    large = {folio: first for folio, first in firsts.items() if folio.nr_pages > 1}
    for at in range(SPAN):
        if all(
            at + first >= 0 and (at + first) % max(folio.nr_pages, MIN_LARGE) == 0
            for folio, first in large.items()
        ):
            break
    else:
        raise _lost("the folios cannot all lie at multiples of their size")
    made = [Large(at + first, max(f.nr_pages, MIN_LARGE)) for f, first in large.items()]
    made.sort()
    for one, other in pairwise(made):
        if one.first + one.pages > other.first:
            raise _lost("two large folios would have to lie at the same place")
    return at, made, pages


def _exclusive(case: Case, at: int, pages: dict[int, Folio | None]) -> set[int]:
    """The places of exclusive pages, those of a large folio beside the window included."""
    found = set()
    for i, folio in pages.items():
        if folio is None:
            continue
        head = i - (_pfn(case, i) - folio.pfn)
        for page in range(folio.nr_pages):
            # Inside the window only an entry says whose page is there.
            shown = 0 <= head + page < len(case.ptes)
            if folio.exclusive >> page & 1 and not (shown and pages.get(head + page) != folio):
                found.add(at + head + page)
    return found


def _rights(case: Case) -> tuple[int, int]:
    """PROT_* of the VMA before the call and after it, which differ, or mprotect does nothing."""
    after = case.vma.flags & (READ | WRITE | EXEC)
    called = range(case.call.start, case.call.end)
    mapped = [case.ptes[i] for i in called if is_present(case.layout, case.ptes[i])]
    if not mapped:
        raise _lost("no entry of the range maps a page")
    if not all(is_valid(case.layout, word) for word in mapped):
        before = 0
    elif any(word & _field(case, "write") for word in mapped):
        before = READ | WRITE
    else:
        before = READ
    # Executing changes nothing that is looked at.
    return (before ^ EXEC | READ if before == after else before), after


def _expected(case: Case, at: int, places: int, after: int, exclusive: set[int]) -> str:
    """What the reference, and the batched side where it may differ, leave of each place."""
    write = _field(case, "write")
    _, ours = prepare(case)
    outcomes = [ours.ptes]
    if VERSIONS[case.kernel].batched:
        outcomes.append(run(case, load("batched", case.arch).function).ptes)
    letters = [HOLE] * places
    for i in range(case.call.start, case.call.end):
        if not is_present(case.layout, case.ptes[i]):
            continue
        if not after & WRITE:
            letters[at + i] = DENIED
            continue
        direct = {bool(words[i] & write) for words in outcomes}
        letters[at + i] = EITHER if len(direct) > 1 else DIRECT if direct == {True} else FAULT
        if not direct >= {at + i in exclusive}:
            raise _lost(
                f"pte {i} is writable and its page not exclusive: no program brings that about"
            )
    return "".join(letters)


def _notes(case: Case, before: int) -> Iterator[str]:
    """What is not built exactly as the case has it."""
    yield "kernel " + case.kernel + " is the model's; the program runs on any."
    yield "PFNs, nodes and addresses are what the kernel gives. Accessed bits are those of a touch."
    if any(folio.nr_pages == 2 for folio in case.folios):
        yield "A folio of 2 pages is one of 4: anonymous memory has none of 2."
    valid = [word for word in case.ptes if is_valid(case.layout, word)]
    writes = {bool(word & _field(case, "write")) for word in valid}
    if before & WRITE and len(writes) > 1:
        yield "Before the call exactly the exclusive pages are writable."
    if any(not word & _field(case, "dirty") for word in valid):
        yield "Clean pages are made by MADV_FREE: under memory pressure they may lose their content."
