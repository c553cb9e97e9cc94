"""The batched side's own rules: what ends a batch, merges, sub-batches, flushes.

Layouts are drawn. `A2w` is the PTE of page 2 of folio A; `[` and `]` enclose the
range; `.` is a none entry. Letters behind the page: w writable, a accessed,
d dirty, s soft-dirty, u uffd-wp, p pkey 1, n PROT_NONE, h made accessed and dirty
by the hardware just before it is taken. Folio A has four pages, B four that
follow A's in memory, O, P and Q one each that follow B's; no folio lists U.

A batch of writable PTEs that become read-only is flushed in one call, so the
list of flush calls is the list of batches, in any build.
"""

import re

import numpy as np
import pytest

from batched.x86_64 import change_pte_range
from harness.arrays import state_of
from harness.case import Call, Case, Folio, Mm, Vma
from mm import flags as f
from mm import x86_64 as x
from mm.state import BAD_MAP, NO_VM_WRITE, NR_FLUSHES, NR_STAMPS

RO = 0x8000_0000_0000_0025
FIRST_PFN = {"A": 0x12340, "B": 0x12344, "O": 0x12348, "P": 0x12349, "Q": 0x1234A, "U": 0x50000}
NR_PAGES = {"A": 4, "B": 4, "O": 1, "P": 1, "Q": 1}
ANON = int(f.FOLIO_ANON)
TRY = int(f.MM_CP_TRY_CHANGE_WRITABLE)
NUMA = int(f.MM_CP_PROT_NUMA)
PRIVATE = int(f.VM_READ | f.VM_WRITE | f.VM_MAYREAD | f.VM_MAYWRITE | f.VM_SOFTDIRTY)
SHARED = PRIVATE | int(f.VM_SHARED)
TRACKED = PRIVATE & ~int(f.VM_SOFTDIRTY)
MARKER = 0xFFFF_FFFF_FFFF_FC00
POISON = 0xFFFF_FFFF_FFFF_FA00
GUARD = 0xFFFF_FFFF_FFFF_F600
HARDWARE = int(x.PAGE_ACCESSED | x.PAGE_DIRTY)


def word(entry: str) -> int:
    """The word of one drawn entry."""
    if entry == ".":
        return 0
    pfn = FIRST_PFN[entry[0]] + int(entry[1])
    marks = entry[2:]
    pte = (pfn << 12) | (RO & ~int(x.PAGE_ACCESSED))
    if "n" in marks:
        inverted = ~(pfn << 12) & int(x.PTE_PFN_MASK)
        pte = inverted | int(x.PAGE_GLOBAL)
    pte |= int(x.PAGE_RW) * ("w" in marks) | int(x.PAGE_ACCESSED) * ("a" in marks)
    pte |= int(x.PAGE_DIRTY if "w" in marks else x.PAGE_SAVED_DIRTY) * ("d" in marks)
    pte |= int(x.PAGE_SOFT_DIRTY) * ("s" in marks) | int(x.PAGE_UFFD) * ("u" in marks)
    return pte | 1 << 59 if "p" in marks else pte


def drawn(pte: int) -> str:
    """The letters of a present word, in the order of `word`."""
    masks = (
        ("w", x.PAGE_RW),
        ("a", x.PAGE_ACCESSED),
        ("d", x.PAGE_DIRTY | x.PAGE_SAVED_DIRTY),
        ("s", x.PAGE_SOFT_DIRTY),
        ("u", x.PAGE_UFFD),
    )
    letters = "".join(letter for letter, mask in masks if pte & int(mask))
    return letters + "n" * (pte & 0x101 == 0x100) or "-"


class Outcome:
    """What the batched side made of a drawn window."""

    def __init__(
        self,
        picture: str,
        *,
        cp: int = 0,
        vma: int = PRIVATE,
        newprot: int = RO,
        exclusive: dict[str, int] | None = None,
        folio_flags: int = ANON,
        kernel: str = "7.3",
        nid: int = 0,
    ) -> None:
        entries = re.findall(r"[A-Z]\d[a-z]*|\.", picture)
        before = re.findall(r"[A-Z]\d[a-z]*|\.", picture.split("[")[0])
        inside = re.findall(r"[A-Z]\d[a-z]*|\.", picture.split("[")[-1].split("]")[0])
        start = len(before) if "[" in picture else 0
        case = Case(
            vma=Vma(vma),
            call=Call(cp, newprot, start, start + len(inside)),
            ptes=tuple(word(entry) for entry in entries),
            folios=tuple(
                Folio(FIRST_PFN[name], pages, folio_flags, nid, (exclusive or {}).get(name, 0))
                for name, pages in NR_PAGES.items()
            ),
            hardware=tuple((i, HARDWARE) for i, e in enumerate(entries) if "h" in e),
            mm=Mm(users=2),
            kernel=kernel,
        )
        assert case.check() is None
        state = state_of(case)
        with np.errstate(over="ignore"):
            self.pages = int(change_pte_range(state))
        self.before = case.ptes
        self.ptes = tuple(int(pte) for pte in state.ptes)
        self.counts = state.counts
        self.flushes = [
            ((int(address) - case.table_addr) >> 12, int(pages))
            for _, address, pages in state.flushes[: state.counts[NR_FLUSHES]]
        ]
        self.drawn = " ".join(drawn(pte) for pte in self.ptes if pte)


@pytest.mark.parametrize(
    ("picture", "batches"),
    [
        ("A0w A1w A2w A3w", [(0, 4)]),
        # Mid-folio starts: at page 2, and because the range begins there.
        ("A2w A3w", [(0, 2)]),
        ("A0w [A1w A2w A3w]", [(1, 3)]),
        # The range ends the batch.
        ("[A0w A1w] A2w A3w", [(0, 2)]),
        # The folio ends it: B's pages follow A's in memory.
        ("A2w A3w B0w B1w", [(0, 2), (2, 2)]),
        # So do a hole, a jump, a repeat and a page out of order.
        ("A0w . A1w A2w", [(0, 1), (2, 2)]),
        ("A0w A1w . A2w A3w", [(0, 2), (3, 2)]),
        ("A0w A2w A3w", [(0, 1), (1, 2)]),
        ("A0w A0w A1w", [(0, 1), (1, 2)]),
        ("A1w A0w", [(0, 1), (1, 1)]),
        # Order-0 folios are never batched, though their pages follow each other.
        ("O0w P0w Q0w", [(0, 1), (1, 1), (2, 1)]),
        # Nor are pages that no folio lists: U0 and U1 follow each other, too.
        ("U0w U1w", [(0, 1), (1, 1)]),
        # Bits that a batch must agree in.
        ("A0w A1ws A2w", [(0, 1), (1, 1), (2, 1)]),
        ("A0w A1wu A2wu", [(0, 1), (1, 2)]),
        ("A0w A1wp A2wp", [(0, 1), (1, 2)]),
        # Writable PTEs must not be hidden behind a read-only first one.
        ("A0 A1w A2w", [(1, 2)]),
        # Bits that it need not agree in.
        ("A0w A1wa A2wd A3wad", [(0, 4)]),
    ],
)
def test_a_batch_ends_where_the_kernel_ends_it(picture, batches):
    outcome = Outcome(picture)
    assert outcome.flushes == batches
    assert outcome.pages == len(re.findall(r"[A-Z]\d", picture.split("[")[-1].split("]")[0]))


def test_entries_outside_the_range_stay():
    outcome = Outcome("A0w [A1w A2w] A3w")
    assert [old == new for old, new in zip(outcome.before, outcome.ptes, strict=True)] == [
        True,
        False,
        False,
        True,
    ]


@pytest.mark.parametrize(
    ("picture", "after"),
    [
        ("A0w A1wa A2w", "a a a"),
        ("A0wa A1w A2w", "a a a"),
        # A dirty PTE behind the first makes all soft-dirty too: it goes through mkdirty.
        ("A0w A1w A2wd", "ds ds ds"),
        ("A0wd A1w A2w", "d d d"),
        # Nothing spreads over the end of a batch.
        ("A0wad A1ws A2w", "ad s -"),
        ("A2w A3w B0wad", "- - ad"),
        ("A0w [A1w A2w] A3wad", "w - - wad"),
        # What the hardware sets between load and take is kept, and merged.
        ("A0wh", "ad"),
        ("A0w A1wh", "ads ads"),
        ("O0wh P0w", "ad -"),
    ],
)
def test_accessed_and_dirty_are_merged_over_the_batch(picture, after):
    assert Outcome(picture).drawn == after


def test_each_entry_keeps_its_own_page():
    """PROT_NONE stores the PFN inverted: the next page is a smaller number there."""
    none = Outcome("A1w A2w A3w", newprot=int(x.PAGE_NONE))
    assert [~pte & int(x.PTE_PFN_MASK) for pte in none.ptes] == [
        (0x12341 + i) << 12 for i in range(3)
    ]
    back = Outcome("A1n A2n A3n")
    assert [pte & int(x.PTE_PFN_MASK) for pte in back.ptes] == [
        (0x12341 + i) << 12 for i in range(3)
    ]


# Private read-only PTEs of folio A, mprotect adds PROT_WRITE. `exclusive`: the
# bits of A's pages 0..3; w: the PTE ends up writable. Each run of exclusive
# pages is its own commit and makes its own flush decision.
@pytest.mark.parametrize(
    ("picture", "exclusive", "after", "flushes"),
    [
        ("A0a A1a A2a A3a", "xxxx", "wa wa wa wa", [(0, 4)]),
        ("A0a A1a A2a A3a", "....", "a a a a", []),
        ("A0a A1a A2a A3a", "x..x", "wa a a wa", [(0, 1), (3, 1)]),
        ("A0a A1a A2a A3a", ".xx.", "a wa wa a", [(1, 2)]),
        # The historical bug read the bits of pages 0, 1, 2 here.
        ("[A1a A2a A3a]", "x.xx", "a wa wa", [(1, 2)]),
        ("A0a [A1a A2a] A3a", "xx..", "a wa a a", [(1, 1)]),
        ("A1a", "x...", "a", []),
        ("A1a", ".x..", "wa", [(0, 1)]),
    ],
)
def test_write_bit_follows_anon_exclusive(picture, exclusive, after, flushes):
    bits = sum(1 << i for i, mark in enumerate(exclusive) if mark == "x")
    outcome = Outcome(picture, cp=TRY, exclusive={"A": bits})
    assert outcome.drawn == after
    assert outcome.flushes == flushes


def test_a_sub_batch_gives_the_saved_dirty_bit_back():
    outcome = Outcome("A0ads A1ads", cp=TRY, exclusive={"A": 0b01})
    assert outcome.ptes == (0x8000_0000_1234_0867, 0x8400_0000_1234_1825)


@pytest.mark.parametrize(
    ("picture", "keywords", "after"),
    [
        # Not anon: exclusive is not read.
        ("A0a A1a", {"folio_flags": 0}, "a a"),
        # Tracking is armed: a write must fault, unless it is recorded already.
        ("A0a A1a", {"vma": TRACKED}, "a a"),
        ("A0as A1as", {"vma": TRACKED}, "was was"),
        # Recorded by the merge: a dirty PTE behind the first makes the batch soft-dirty.
        ("A0a A1ad", {"vma": TRACKED}, "wads wads"),
        # Write-protected by userfaultfd.
        ("A0au A1a", {"vma": PRIVATE | int(f.VM_UFFD_WP)}, "au wa"),
        # Shared: dirty decides, for the whole batch.
        ("A0a A1a", {"vma": SHARED}, "a a"),
        ("A0ad A1a", {"vma": SHARED}, "wad wad"),
        ("A0ad B0a", {"vma": SHARED}, "wad a"),
    ],
)
def test_the_upgrade_is_decided_once_per_batch(picture, keywords, after):
    assert Outcome(picture, cp=TRY, exclusive={"A": 0xF, "B": 0xF}, **keywords).drawn == after


def test_no_vm_write_is_reported_once_per_batch():
    outcome = Outcome("A0a A1a B0a", cp=TRY, vma=PRIVATE & ~int(f.VM_WRITE))
    assert outcome.counts[NO_VM_WRITE] == 2
    assert outcome.drawn == "a a a"


@pytest.mark.parametrize(
    ("cp", "picture", "after"),
    [
        # Protected, so read-only, whatever the new protection says; the dirty bit is kept.
        (int(f.MM_CP_UFFD_WP), "A0wa A1wa", "au au"),
        (int(f.MM_CP_UFFD_WP), "O0wad", "adu"),
        (int(f.MM_CP_UFFD_WP_RESOLVE), "A0au A1au", "wa wa"),
    ],
)
def test_the_uffd_bit_changes_over_the_batch(cp, picture, after):
    vma = SHARED | int(f.VM_UFFD_WP)
    outcome = Outcome(picture, cp=cp, vma=vma, newprot=RO | int(x.PAGE_RW))
    assert outcome.drawn == after
    assert all(not (pte & int(x.PAGE_DIRTY)) or pte & int(x.PAGE_RW) for pte in outcome.ptes)


@pytest.mark.parametrize(
    ("kernel", "cp", "before", "after", "pages"),
    [
        ("7.3", f.MM_CP_UFFD_WP_RESOLVE, MARKER, 0, 1),
        ("7.3", f.MM_CP_UFFD_WP_RESOLVE, POISON, POISON, 0),
        ("7.3", f.MM_CP_UFFD_WP_RESOLVE, GUARD, GUARD, 0),
        ("6.12", f.MM_CP_UFFD_WP_RESOLVE, GUARD, 0, 1),
        ("7.3", f.MM_CP_UFFD_WP, 0, MARKER, 1),
        ("7.3", f.MM_CP_UFFD_RWP, 0, 0, 0),
        # A writable migration entry of a file page, with accessed and dirty in its offset.
        ("7.3", 0, 0xDFFFE7FFFDB97402, 0xCFFFE7FFFDB97402, 1),
        # Writable device-private: keeps the uffd bit, loses soft-dirty.
        ("7.3", 0, 0xE7FFFFFFFDB97406, 0xEFFFFFFFFDB97404, 1),
        # Ordinary swap: only the uffd bit.
        ("7.3", f.MM_CP_UFFD_WP, 0x07FFFFFFFFFFFC0A, 0x07FFFFFFFFFFFC0E, 1),
        ("7.3", f.MM_CP_UFFD_WP_RESOLVE, 0x07FFFFFFFFFFFC0E, 0x07FFFFFFFFFFFC0A, 1),
        ("7.3", 0, 0x07FFFFFFFFFFFC0E, 0x07FFFFFFFFFFFC0E, 0),
    ],
)
def test_entries_that_map_nothing(kernel, cp, before, after, pages):
    vma = Vma(SHARED | int(f.VM_UFFD_WP), anon=False)
    call = Call(int(cp), RO, 0, 1)
    state = state_of(Case(vma=vma, call=call, ptes=(before,), kernel=kernel))
    with np.errstate(over="ignore"):
        assert change_pte_range(state) == pages
    assert int(state.ptes[0]) == after
    assert state.counts[NR_FLUSHES] == 0


NUMA_CALL = {"cp": NUMA, "newprot": int(x.PAGE_NONE)}


def test_numa_skips_by_the_batch_and_counts_nothing():
    outcome = Outcome("A0w A1 A2ws . O0w", folio_flags=ANON | int(f.FOLIO_KSM), **NUMA_CALL)
    assert outcome.ptes == outcome.before
    assert (outcome.pages, outcome.flushes) == (0, [])


def test_a_skipped_batch_ends_with_its_folio():
    """A is pinned, B is not: B's PTE is changed though it continues A's."""
    state_flags = {"A": ANON | int(f.FOLIO_PINNED)}
    case = Case(
        vma=Vma(PRIVATE),
        call=Call(NUMA, int(x.PAGE_NONE), 0, 3),
        ptes=tuple(word(entry) for entry in ("A2w", "A3w", "B0w")),
        folios=tuple(Folio(FIRST_PFN[name], 4, state_flags.get(name, ANON)) for name in ("A", "B")),
        mm=Mm(users=2),
    )
    state = state_of(case)
    with np.errstate(over="ignore"):
        assert change_pte_range(state) == 1
    assert [drawn(int(pte)) for pte in state.ptes] == ["w", "w", "n"]


def test_access_time_is_stamped_once_per_batch():
    stamped = ANON | int(f.FOLIO_ACCESS_TIME)
    outcome = Outcome("A0w A1w A2ws", folio_flags=stamped, **NUMA_CALL)
    assert outcome.counts[NR_STAMPS] == 2


# Versions: a bad mapping is reported by the lookup, so it tells whether an
# entry was looked up at all.
@pytest.mark.parametrize(("kernel", "reports"), [("6.17", 1), ("6.18", 1), ("7.3", 0)])
def test_protnone_is_skipped_before_the_lookup_since_7_3(kernel, reports):
    special = word("A0n") | int(x.PAGE_SPECIAL)
    case = Case(
        vma=Vma(PRIVATE),
        call=Call(NUMA, int(x.PAGE_NONE), 0, 2),
        ptes=(special, word("U0n")),
        mm=Mm(users=2),
        kernel=kernel,
    )
    state = state_of(case)
    with np.errstate(over="ignore"):
        assert change_pte_range(state) == 0
    assert state.counts[BAD_MAP] == reports
    assert state.ptes.tolist() == [special, word("U0n")]


@pytest.mark.parametrize(("kernel", "after"), [("6.17", "n n"), ("7.3", "w w")])
def test_pinned_folios_of_shared_vmas_are_skipped_since_7_3(kernel, after):
    pinned = int(f.FOLIO_PINNED)
    outcome = Outcome("A0w A1w", vma=SHARED, folio_flags=pinned, kernel=kernel, **NUMA_CALL)
    assert outcome.drawn == after


# Before 7.3 the call is an mprotect to the given protection: no bit, and PROT_NONE is redone.
@pytest.mark.parametrize(("kernel", "after", "pages"), [("6.17", "an un", 2), ("7.3", "aun un", 1)])
def test_rwp_is_unknown_before_7_3(kernel, after, pages):
    outcome = Outcome(
        "O0a P0un",
        cp=int(f.MM_CP_UFFD_RWP),
        newprot=int(x.PAGE_NONE),
        vma=PRIVATE | int(f.VM_UFFD_RWP),
        kernel=kernel,
    )
    assert outcome.drawn == after
    # The second entry is in the desired state: 7.3 does not touch it.
    assert outcome.pages == pages
