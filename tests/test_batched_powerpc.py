"""The batched side on powerpc: words, batches, flushes, and what coprocessors are told.

Words are in CPU order. With pages of 64 KiB unless a case says otherwise.
"""

import numpy as np
import pytest

from batched import powerpc
from batched.powerpc import change_pte_range
from harness.arrays import state_of
from harness.case import Call, Case, Folio, Mm, Vma, layout_of
from mm import flags as f
from mm import powerpc as p
from mm import table
from mm.state import FLUSH, LOADS, NMMU, NR_FLUSHES, NR_STAMPS, STORES, TAKES

NONE = int(p.PAGE_NONE)
RO = 0x8000_0000_0000_0104
RW = 0x8000_0000_0000_0106
EXEC_ONLY = 0x8000_0000_0000_0101
PFN = 0x12340
TRY = int(f.MM_CP_TRY_CHANGE_WRITABLE)
NUMA = int(f.MM_CP_PROT_NUMA)
PRIVATE = int(f.VM_READ | f.VM_WRITE | f.VM_MAYREAD | f.VM_MAYWRITE | f.VM_SOFTDIRTY)
SHARED = PRIVATE | int(f.VM_SHARED)
TRACKED = PRIVATE & ~int(f.VM_SOFTDIRTY)
ANON = int(f.FOLIO_ANON)
KINDS = {int(FLUSH): "flush", int(NMMU): "nmmu"}
LETTERS = {
    "w": int(p.PAGE_WRITE | p.PAGE_READ),
    "r": int(p.PAGE_READ),
    "x": int(p.PAGE_EXEC),
    "a": int(p.PAGE_ACCESSED),
    "d": int(p.PAGE_DIRTY),
    "s": int(p.PAGE_SOFT_DIRTY),
}


def words(drawn: str, shift: int = 16, first: int = PFN) -> tuple[int, ...]:
    """The words of entries that map one page after the other.

    Letters: `r` readable, `w` writable (and readable), `x` executable, `n` none of
    these, `a` accessed, `d` dirty, `s` soft-dirty; `.` is a none entry.
    """
    ptes = []
    for i, entry in enumerate(drawn.split()):
        pte = int(p.PAGE_PRESENT | p.PAGE_PTE) | first + i << shift
        for letter, mask in LETTERS.items():
            pte |= mask * (letter in entry)
        ptes.append(0 if entry == "." else pte)
    return tuple(ptes)


class Outcome:
    """What the batched side made of words; entry i maps page i of one folio of `folio_pages`."""

    def __init__(
        self,
        ptes: tuple[int, ...],
        *,
        cp: int = 0,
        newprot: int = RO,
        vma_flags: int = PRIVATE,
        exclusive: int = 0,
        folio_pages: int = 4,
        folio_flags: int = ANON,
        kernel: str = "7.3",
        shift: int = 16,
        **config: object,
    ) -> None:
        case = Case(
            arch="powerpc",
            kernel=kernel,
            config=layout_of("powerpc", shift).config._replace(**config),
            vma=Vma(vma_flags),
            call=Call(cp, newprot, 0, len(ptes)),
            ptes=ptes,
            folios=tuple(
                Folio(PFN + at, folio_pages, folio_flags, 0, exclusive >> at & 2**folio_pages - 1)
                for at in range(0, 8, folio_pages)
            ),
            mm=Mm(users=2),
        )
        assert case.check() is None
        state = state_of(case)
        with np.errstate(over="ignore"):
            self.pages = int(change_pte_range(state))
        self.ptes = tuple(int(pte) for pte in state.ptes)
        self.counts = state.counts
        # In order, by entry: (kind, first, pages).
        self.log = [
            (KINDS[int(kind)], (int(address) - case.table_addr) >> shift, int(pages))
            for kind, address, pages in state.flushes[: state.counts[NR_FLUSHES]]
        ]


# Pages of 64 KiB; a word of 4 KiB pages differs in where the PFN stands, only.
@pytest.mark.parametrize(
    ("old", "newprot", "new", "flush"),
    [
        (0xC000_0001_2345_0386, RO, 0xC000_0001_2345_0384, True),
        (0xC000_0001_2345_0386, NONE, 0xC000_0001_2345_0380, True),
        # More rights need no flush.
        (0xC000_0001_2345_0380, RO, 0xC000_0001_2345_0384, False),
        (0xC000_0001_2345_0384, RW, 0xC000_0001_2345_0386, False),
        # Each protection carries ACCESSED, so each changed entry does.
        (0xC000_0001_2345_0004, RO, 0xC000_0001_2345_0104, False),
        (0xC000_0001_2345_0000, NONE, 0xC000_0001_2345_0100, False),
        # To execute only takes the right to read away.
        (0xC000_0001_2345_0104, EXEC_ONLY, 0xC000_0001_2345_0101, True),
        # The bits of the hash MMU stay, with radix too; the cache mode goes, with a flush.
        (0xC080_0001_2345_1144, RO, 0xC080_0001_2345_1144, False),
        (0xC000_0001_2345_0134, RO, 0xC000_0001_2345_0104, True),
        # Wild: the protection may carry anything.
        (0xC000_0001_2345_0104, RO | 0x10, 0xC000_0001_2345_0114, True),
        # Invalid for the moment of a change, but present.
        (0x6000_0001_2345_0104, RO, 0xC000_0001_2345_0104, True),
    ],
)
@pytest.mark.parametrize("hash_mmu", [False, True])
def test_one_word(old, newprot, new, flush, hash_mmu):
    outcome = Outcome((old,), newprot=newprot, hash_mmu=hash_mmu)
    assert outcome.ptes == (new,)
    assert outcome.pages == 1
    # The hash MMU wants each request, whatever changed.
    assert outcome.log == ([("flush", 0, 1)] if flush or hash_mmu else [])


# What pte_modify() keeps, of a word with all the bits that either size of pages does.
@pytest.mark.parametrize(
    ("shift", "kernel", "new"),
    [
        (16, "7.3", 0xC080_0000_1234_17C4),
        (16, "6.16", 0xC080_0000_1234_1FC4),
        (12, "7.3", 0xD1E0_0000_1234_57C4),
        (12, "6.16", 0xD1E0_0000_1234_5FC4),
    ],
)
def test_what_a_change_keeps(shift, kernel, new):
    assert Outcome((0xD1E0_0000_1234_5FC6,), shift=shift, kernel=kernel).ptes == (new,)


@pytest.mark.parametrize("shift", [16, 12])
@pytest.mark.parametrize(
    ("before", "batches", "after"),
    [
        ("wa wa wa wa", [(0, 4)], "ra ra ra ra"),
        # The folio ends after four pages.
        ("wa wa wa wa wa wa", [(0, 4), (4, 2)], "ra ra ra ra ra ra"),
        ("wa . wa wa", [(0, 1), (2, 2)], "ra . ra ra"),
        # Soft-dirty and writable must be equal, accessed and dirty need not.
        ("wa was wa", [(0, 1), (1, 1), (2, 1)], "ra ras ra"),
        ("ra wa wa", [(1, 2)], "ra ra ra"),
        ("w wa w", [(0, 3)], "ra ra ra"),
        # A dirty entry behind the first makes all of them soft-dirty, too.
        ("w w wd", [(0, 3)], "rads rads rads"),
        ("wd w w", [(0, 3)], "rad rad rad"),
        ("wds ws ws", [(0, 3)], "rads rads rads"),
    ],
)
def test_batches(shift, before, batches, after):
    outcome = Outcome(words(before, shift), shift=shift)
    assert outcome.ptes == words(after, shift)
    assert outcome.log == [("flush", first, pages) for first, pages in batches]
    assert outcome.pages == sum(entry != "." for entry in before.split())


@pytest.mark.parametrize(
    ("flag", "after", "pages", "stamps"),
    [
        (f.FOLIO_ACCESS_TIME, "na na na na", 3, 2),
        (f.FOLIO_PINNED, "wa wa na wa", 0, 0),
    ],
)
def test_a_numa_scan(flag, after, pages, stamps):
    """PROT_NONE is skipped by itself, so it ends a batch; the folio's fate is that of a batch."""
    outcome = Outcome(
        words("wa wa na wa"), cp=NUMA, newprot=NONE, folio_flags=ANON | int(flag), vma_flags=SHARED
    )
    assert outcome.ptes == words(after)
    assert (outcome.pages, outcome.counts[NR_STAMPS]) == (pages, stamps)


# Readable entries that become writable: those of exclusive pages (x), each its own run.
@pytest.mark.parametrize(
    ("exclusive", "after", "told"),
    [
        (0b1111, "wa wa wa wa", [0, 1, 2, 3]),
        (0b0000, "ra ra ra ra", []),
        (0b1011, "wa wa ra wa", [0, 1, 3]),
        (0b0100, "ra ra wa ra", [2]),
    ],
)
def test_coprocessors_are_told_of_each_page_that_becomes_writable(exclusive, after, told):
    keywords = {"cp": TRY, "exclusive": exclusive}
    outcome = Outcome(words("ra ra ra ra"), coprocessors=2, **keywords)
    assert outcome.ptes == words(after)
    assert outcome.log == [("nmmu", page, 1) for page in told]
    # Not without any, not since ISA 3.1, and not with the hash MMU.
    assert Outcome(words("ra ra ra ra"), **keywords).log == []
    assert Outcome(words("ra ra ra ra"), coprocessors=2, isa_31=True, **keywords).log == []
    log = Outcome(words("ra ra ra ra"), coprocessors=2, hash_mmu=True, **keywords).log
    assert {kind for kind, _, _ in log} == {"flush"}


@pytest.mark.parametrize(
    ("before", "newprot", "log"),
    [
        # By the protection, too: a shared mapping.
        ("ra ra", RW, [("nmmu", 0, 1), ("nmmu", 1, 1)]),
        # Not readable before, or writable already, or not writable now.
        ("na na", RW, []),
        ("xa xa", RW, [("flush", 0, 2)]),
        ("wa wa", RW, []),
        ("na na", RO, []),
        # The page is told first, the gather flushes what else was taken away.
        ("rxa rxa", RW, [("nmmu", 0, 1), ("nmmu", 1, 1), ("flush", 0, 2)]),
    ],
)
@pytest.mark.parametrize("shift", [16, 12])
def test_which_upgrades_coprocessors_are_told_of(before, newprot, log, shift):
    ptes = words(before, shift)
    outcome = Outcome(ptes, newprot=newprot, vma_flags=SHARED, coprocessors=1, shift=shift)
    assert outcome.log == log


@pytest.mark.parametrize(
    ("before", "keywords", "after"),
    [
        ("ra ra", {"vma_flags": TRACKED}, "ra ra"),
        ("ras ras", {"vma_flags": TRACKED}, "was was"),
        # The merge makes the batch soft-dirty, and so writable.
        ("ra rad", {"vma_flags": TRACKED}, "wads wads"),
        # Tracking can be compiled out; the bit of an entry cannot.
        ("ra rad", {"vma_flags": TRACKED, "soft_dirty": False}, "wads wads"),
        ("ra ra", {"vma_flags": SHARED}, "ra ra"),
        ("rad ra", {"vma_flags": SHARED}, "wad wad"),
        ("na na", {}, "na na"),
        # Writable is readable.
        ("xa xa", {"newprot": EXEC_ONLY}, "wxa wxa"),
    ],
)
def test_the_upgrade(before, keywords, after):
    keywords = {"newprot": NONE if "n" in before else RO} | keywords
    assert Outcome(words(before), cp=TRY, exclusive=0b1111, **keywords).ptes == words(after)


# Type numbers of 7.3: 27 and 26 migration, 28 and 29 device-private, 31 marker.
@pytest.mark.parametrize(
    ("shift", "before", "after"),
    [
        # Writable migration: readable, here of an anon page, so exclusive; keeps soft-dirty.
        (16, 0x4000_0001_2340_001B, 0x4000_0001_2340_001A),
        (16, 0x4000_0001_2340_021B, 0x4000_0001_2340_021A),
        (12, 0x4000_0000_1234_001B, 0x4000_0000_1234_001A),
        # With accessed and dirty above the PFN.
        (16, 0x4018_0001_2340_001B, 0x4018_0001_2340_001A),
        (12, 0x4018_0000_1234_001B, 0x4018_0000_1234_001A),
        # Of a page that is in no anon folio.
        (16, 0x4000_0005_4321_001B, 0x4000_0005_4321_0019),
        # Device-private: loses soft-dirty, and the exclusive bit.
        (16, 0x4000_0001_2340_023C, 0x4000_0001_2340_001D),
        # Swap and a poison marker stay.
        (16, 0x4000_0000_1000_0221, 0x4000_0000_1000_0221),
        (16, 0x4000_0000_0002_001F, 0x4000_0000_0002_001F),
        # Wild: without the bit that set_pte_at() adds. It is no entry that maps something.
        (16, 0x8000_0001_2340_001B, 0x4000_0001_2340_001A),
    ],
)
def test_entries_that_map_nothing(shift, before, after):
    outcome = Outcome((before,), shift=shift)
    assert outcome.ptes == (after,)
    assert outcome.pages == (before != after)
    assert outcome.log == []


def test_accessed_is_merged():
    """Wild: seen only with a protection that has not the bit itself."""
    assert Outcome(words("w wa w"), newprot=RO & ~0x100).ptes == words("ra ra ra")


def test_a_marker_is_taken():
    """No caller asks for it, userfaultfd being absent; pte_clear() is pte_update() here."""
    resolve = int(f.MM_CP_UFFD_WP_RESOLVE)
    assert Outcome((0x4000_0000_0001_001F,), cp=resolve).ptes == (0,)


@pytest.mark.parametrize(
    ("word", "none", "present"),
    [
        (0, True, False),
        (0x180, True, False),
        (0x200, False, False),
        (1 << 62, False, False),
        (1 << 63, False, False),
        (1 << 62 | 1 << 63, False, True),
        (1 << 62 | 1 << 61, False, True),
    ],
)
def test_what_an_entry_is(word, none, present):
    """A none entry may have accessed and dirty; a present one needs two bits."""
    pte = np.uint64(word)
    assert bool(powerpc.pte_none(pte)) is none
    assert bool(powerpc.pte_present(pte)) is present


def test_what_the_hardware_sets_before_the_take_is_merged():
    case = Case(
        arch="powerpc",
        config=layout_of("powerpc").config,
        vma=Vma(PRIVATE),
        call=Call(0, RO, 0, 2),
        ptes=words("w w"),
        folios=(Folio(PFN, 4, ANON),),
        hardware=((1, int(p.PAGE_DIRTY)),),
    )
    state = state_of(case)
    with np.errstate(over="ignore"):
        change_pte_range(state)
    assert tuple(int(pte) for pte in state.ptes) == words("rads rads")


def test_what_it_costs(monkeypatch):
    """A load, a take and a store for each entry; nothing is looked at ahead of time."""
    monkeypatch.setattr(table, "TRACED", True)
    for folio_pages in (1, 4):
        counts = Outcome(words("wa wa wa"), folio_pages=folio_pages).counts
        assert [int(counts[what]) for what in (LOADS, STORES, TAKES)] == [3, 3, 3]
    # A NUMA scan skips at once what a change must not mix.
    counts = Outcome(words("wa was ra"), cp=NUMA, folio_flags=int(f.FOLIO_KSM)).counts
    assert [int(counts[what]) for what in (LOADS, STORES, TAKES)] == [3, 0, 0]
