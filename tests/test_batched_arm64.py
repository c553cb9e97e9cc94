"""The batched side on arm64: the rules for one word, and entries that map nothing.

Blocks of entries are in test_batched_contpte.py.
"""

import numpy as np
import pytest

from batched import arm64
from batched.arm64 import change_pte_range
from harness.arrays import state_of
from harness.case import Call, Case, Folio, Vma, layout_of
from mm import arm64 as m
from mm import flags as f
from mm import table
from mm.state import BAD_MAP, LOADS, NR_FLUSHES, STORES, TAKES

RO = 0x0060_0000_0000_0FC3
NONE = int(m.PAGE_NONE)
TRY = int(f.MM_CP_TRY_CHANGE_WRITABLE)
WP = int(f.MM_CP_UFFD_WP)
RESOLVE = int(f.MM_CP_UFFD_WP_RESOLVE)
PRIVATE = int(f.VM_READ | f.VM_WRITE | f.VM_MAYREAD | f.VM_MAYWRITE)
CONFIG = layout_of("arm64").config
BIT_52 = 1 << 52


@pytest.fixture
def traced(monkeypatch):
    """Loads, stores and takes of the table are counted."""
    monkeypatch.setattr(table, "TRACED", True)


# The rules of arch/arm64/include/asm/pgtable.h, word by word.
@pytest.mark.parametrize(
    ("old", "cp", "newprot", "new", "flush"),
    [
        # Dirty by hardware to read-only: dirty by software.
        (0x0068_0000_1234_5F43, 0, RO, 0x00E0_0000_1234_5FC3, True),
        (0x0068_0000_1234_5FC3, 0, RO, 0x0060_0000_1234_5FC3, True),
        # Upgraded: a dirty one is writable at once, a clean one when it is written to.
        (0x00E0_0000_1234_5FC3, TRY, RO, 0x00E8_0000_1234_5F43, True),
        (0x0060_0000_1234_5FC3, TRY, RO, 0x0068_0000_1234_5FC3, True),
        (0x0068_0000_1234_5F43, 0, NONE, 0x00E0_0000_1234_5F82, True),
        (0x00E0_0000_1234_5F82, 0, RO, 0x00E0_0000_1234_5FC3, False),
        # Writable, dirty by hardware, and stays so: in both ways dirty.
        (0x0068_0000_1234_5F43, 0, 0x0068_0000_0000_0FC3, 0x00E8_0000_1234_5F43, False),
        (0x0060_0000_1234_5FC3, 0, 0x0020_0000_0000_0FC3, 0x0020_0000_1234_5FC3, True),
        (0x0460_0000_1234_5FC3, 0, RO, 0x0460_0000_1234_5FC3, False),
        # Wild: read-only without the bit, which is no sign of dirt; and global.
        (0x0060_0000_1234_5F43, 0, RO, 0x0060_0000_1234_5FC3, True),
        (0x0060_0000_1234_57C3, 0, RO, 0x0060_0000_1234_5FC3, True),
        # userfaultfd: the write permission goes, dirty is kept; the bit alone needs no flush.
        (0x0068_0000_1234_5F43, WP, RO | 1 << 51, 0x04E0_0000_1234_5FC3, True),
        (0x0060_0000_1234_5FC3, WP, RO, 0x0460_0000_1234_5FC3, False),
        (0x0460_0000_1234_5FC3, RESOLVE, RO, 0x0060_0000_1234_5FC3, False),
    ],
)
@pytest.mark.parametrize("kernel", ["6.17", "7.3"])
def test_one_word(old, cp, newprot, new, flush, kernel):
    case = Case(
        arch="arm64",
        kernel=kernel,
        config=CONFIG,
        vma=Vma(PRIVATE),
        call=Call(cp, newprot, 0, 1),
        ptes=(old,) + (0,) * 15,
        folios=(Folio(0x12345, 1, int(f.FOLIO_ANON), 0, 1),),
    )
    state = state_of(case)
    with np.errstate(over="ignore"):
        assert change_pte_range(state) == 1
    assert int(state.ptes[0]) == new
    # Before 6.19 each change was flushed.
    assert state.counts[NR_FLUSHES] == (flush or kernel == "6.17")


@pytest.mark.parametrize(
    ("word", "none", "present", "protnone"),
    [
        (0, True, False, False),
        (1 << 10, False, False, False),
        (RO, False, True, False),
        (NONE, False, True, True),
        # Invalid for the moment of a change, as a PMD may be: no PROT_NONE.
        (RO & ~1, False, True, False),
        (NONE & ~int(m.PTE_UXN), False, True, False),
        (0x17C0, False, False, False),
    ],
)
def test_what_an_entry_is(word, none, present, protnone):
    pte = np.uint64(word)
    masks = arm64.masks_of(state_of(Case(Vma(PRIVATE), Call(0, RO, 0, 1), (0,))).facts[0])
    assert bool(arm64.pte_none(pte)) is none
    assert bool(arm64.pte_present(pte)) is present
    assert bool(arm64.pte_protnone(masks, pte)) is protnone


# 6.16 alone lacks 143937ca51cc of v6.18, which 6.12 and 6.17 got in stable releases.
@pytest.mark.parametrize("kernel", ["6.12", "6.16", "6.17", "6.18", "7.3"])
@pytest.mark.parametrize("old", [RO | 0x1234_5000, RO | 1 << 55 | 0x1234_5000])
def test_an_upgrade_makes_no_clean_entry_dirty_but_in_6_16(old, kernel):
    case = Case(
        arch="arm64",
        kernel=kernel,
        config=CONFIG,
        vma=Vma(PRIVATE),
        call=Call(TRY, RO, 0, 1),
        ptes=(old,) + (0,) * 15,
        folios=(Folio(0x12345, 1, int(f.FOLIO_ANON), 0, 1),),
    )
    state = state_of(case)
    with np.errstate(over="ignore"):
        change_pte_range(state)
    dirty = kernel == "6.16" or old & 1 << 55
    assert int(state.ptes[0]) == old & (~(1 << 7) if dirty else -1) | 1 << 51


# Wild: entries that a table of a higher level would have. Folding makes them pages until 6.13.
@pytest.mark.parametrize(("kernel", "type_bits"), [("6.12", 0b11), ("6.16", 0b01)])
def test_folding_sets_the_type(kernel, type_bits):
    ptes = tuple(RO & ~0b10 | 0x12340 + i << 12 for i in range(16))
    call, folio = Call(0, RO, 0, 16), Folio(0x12340, 16, int(f.FOLIO_ANON))
    state = state_of(Case(Vma(PRIVATE), call, ptes, (folio,), arch="arm64", kernel=kernel))
    with np.errstate(over="ignore"):
        change_pte_range(state)
    assert [int(pte) & (0b11 | BIT_52) for pte in state.ptes] == [type_bits | BIT_52] * 16


@pytest.mark.parametrize(("kernel", "reports"), [("6.16", 0), ("7.3", 1)])
def test_devmap_is_no_bad_map_until_6_17(kernel, reports):
    ptes = (RO | int(m.PTE_SPECIAL | m.PTE_DEVMAP), *[0] * 15)
    state = state_of(Case(Vma(PRIVATE), Call(0, RO, 0, 1), ptes, arch="arm64", kernel=kernel))
    with np.errstate(over="ignore"):
        change_pte_range(state)
    assert state.counts[BAD_MAP] == reports


@pytest.mark.parametrize(
    ("kernel", "cp", "before", "after", "pages"),
    [
        # Markers: userfaultfd, poison, guard.
        ("7.3", WP, 0, 0x17C0, 1),
        ("7.3", RESOLVE, 0x17C0, 0, 1),
        ("7.3", RESOLVE, 0x27C0, 0x27C0, 0),
        ("7.3", RESOLVE, 0x47C0, 0x47C0, 0),
        # Writable migration of an anon page, accessed (offset bit 36): readable, exclusive.
        ("7.3", 0, 0x1_0000_1234_56C0, 0x1_0000_1234_5680, 1),
        ("6.12", 0, 0x1234_5680, 0x1234_5640, 1),
        # Of a file page: readable.
        ("7.3", 0, 0x5_4321_06C0, 0x5_4321_0640, 1),
        # Writable device-private: keeps the userfaultfd bit, loses the exclusive one.
        ("7.3", 0, 0x1234_570C, 0x1234_5748, 1),
        # Ordinary swap: only the userfaultfd bit.
        ("7.3", WP, 0x0100_0044, 0x0100_004C, 1),
        ("7.3", RESOLVE, 0x0100_004C, 0x0100_0044, 1),
        ("7.3", 0, 0x0100_004C, 0x0100_004C, 0),
        # Bit 52 is one of the offset's; it is lost once the entry is written, PTE_CONT or not.
        ("7.3", 0, 0x0100_0040 | BIT_52, 0x0100_0040 | BIT_52, 0),
        ("7.3", WP, 0x0100_0040 | BIT_52, 0x0100_0048, 1),
        ("7.3", WP, 0x0100_0048 | BIT_52, 0x0100_0048 | BIT_52, 0),
    ],
)
def test_entries_that_map_nothing(traced, kernel, cp, before, after, pages):
    case = Case(
        arch="arm64",
        kernel=kernel,
        config=CONFIG,
        vma=Vma(PRIVATE | int(f.VM_SHARED | f.VM_UFFD_WP), anon=False),
        call=Call(cp, RO, 15, 16),
        ptes=(0,) * 15 + (before,),
        folios=(Folio(0x12345, 1, int(f.FOLIO_ANON)),),
    )
    state = state_of(case)
    with np.errstate(over="ignore"):
        assert change_pte_range(state) == pages
    assert int(state.ptes[15]) == after
    assert state.counts[NR_FLUSHES] == 0
    # One that is written is looked at twice: it might be folded, as far as the kernel knows.
    costs = [int(state.counts[what]) for what in (LOADS, STORES, TAKES)]
    assert costs == [1 + pages, pages, 0]
