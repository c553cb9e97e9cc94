"""The reference rules of powerpc on single entries, with words of compiled kernel code."""

import random
from collections import Counter
from typing import Any, NamedTuple

import numpy as np
import pytest

from harness.arrays import state_of
from harness.case import Call, Case, Folio, Mm, Vma, layout_of
from mm import flags as f
from mm import table
from mm.state import NMMU, NR_FLUSHES
from mm.version import Config
from reference import powerpc

NONE_PROT = 0x8000_0000_0000_0100  # PAGE_NONE
RO = 0x8000_0000_0000_0104  # PAGE_READONLY
EXEC_ONLY = 0x8000_0000_0000_0101  # PAGE_EXECONLY
RW = 0x8000_0000_0000_0106  # PAGE_SHARED
PFN = 0x12345
K64 = layout_of("powerpc", 16).config
K4 = layout_of("powerpc", 12).config

READ_WRITE = f.VM_READ | f.VM_WRITE | f.VM_MAYREAD | f.VM_MAYWRITE
UNTRACKED = READ_WRITE | f.VM_SOFTDIRTY
TRY = f.MM_CP_TRY_CHANGE_WRITABLE
NUMA = f.MM_CP_PROT_NUMA
ADDR = 0x7F00_0000_0000


class Outcome(NamedTuple):
    """What a call left behind."""

    words: tuple[int, ...]
    flushed: tuple[int, ...]  # entries of the window
    nmmu: tuple[int, ...]  # entries of the window
    pages: int


def change(
    *words: int,
    newprot: int = RO,
    cp: Any = 0,
    vm: Any = UNTRACKED,
    config: Config = K64,
    start: int = 0,
    **changes: Any,
) -> Outcome:
    """The outcome of one call on `words` from `start` on, over one exclusive folio of eight pages."""
    case = Case(
        arch="powerpc",
        config=config,
        vma=Vma(int(vm)),
        call=Call(int(cp), newprot, start, len(words)),
        ptes=words,
        folios=(Folio(0x12340, 8, int(f.FOLIO_ANON), 0, 0xFF),),
        table_addr=ADDR,
    ).replace(**changes)
    assert case.check() is None
    state = state_of(case)
    pages = int(powerpc.change_pte_range(state))
    rows = [[int(x) for x in row] for row in state.flushes[: state.counts[NR_FLUSHES]]]
    assert all(kind in (0, NMMU) and length == 1 for kind, _, length in rows)
    at = [(kind, (address - ADDR) >> config.page_shift) for kind, address, _ in rows]
    return Outcome(
        words=tuple(int(word) for word in state.ptes),
        flushed=tuple(entry for kind, entry in at if kind == 0),
        nmmu=tuple(entry for kind, entry in at if kind == NMMU),
        pages=pages,
    )


def word_of(word: int, **arguments: Any) -> tuple[int, bool]:
    """The word that becomes of `word`, and whether it is flushed; it must be counted."""
    outcome = change(word, **arguments)
    assert outcome.pages == 1
    return outcome.words[0], outcome.flushed == (0,)


def facts_of(config: Config = K64, kernel: str = "7.3") -> Any:
    """The facts of a case of `kernel` and `config`."""
    call = Call(0, RO, 0, 1)
    case = Case(vma=Vma(0), call=call, ptes=(0,), arch="powerpc", kernel=kernel, config=config)
    return state_of(case).facts[0]


@pytest.mark.parametrize("config", [K64, K4])
def test_decoding_loses_no_bit(config: Config) -> None:
    draw = random.Random(1)
    words = [1 << i for i in range(64)] + [(1 << 64) - 1 - (1 << i) for i in range(64)] + [0]
    words += [draw.getrandbits(64) for _ in range(2000)]
    facts = facts_of(config)
    for number in words:
        word = np.uint64(number)
        assert powerpc.encode(facts, powerpc.decode(facts, word)) == word
        assert powerpc.encode_swap(facts, powerpc.decode_swap(facts, word)) == word


@pytest.mark.parametrize("kernel", ["6.12", "7.3"])
@pytest.mark.parametrize(
    ("old", "newprot", "cp", "new", "flush"),
    [
        (0xC000000123450386, RO, 0, 0xC000000123450384, True),
        (0xC000000123450386, NONE_PROT, 0, 0xC000000123450380, True),
        (0xC000000123450380, RO, 0, 0xC000000123450384, False),  # only gains
        (0xC000000123450004, RO, 0, 0xC000000123450104, False),  # comes out accessed
        (0xC000000123450104, EXEC_ONLY, 0, 0xC000000123450101, True),
        (0xC000000123450101, RW, 0, 0xC000000123450106, True),
        (0xC000000123450104, RW, 0, 0xC000000123450106, False),
        (0xC000000123450104, RO, TRY, 0xC000000123450106, False),
        # A write right brings the right to read.
        (0xC000000123450101, EXEC_ONLY, TRY, 0xC000000123450107, False),
        # Nothing of newprot is masked off: PFN, dirty, special.
        (0xC000000123450104, RO | 0x80000, 0, 0xC0000001234D0104, True),
        (0xC000000123450104, RO | 0x80, 0, 0xC000000123450184, False),
        (0xC000000123450104, RO | 0x400, 0, 0xC000000123450504, True),
        # In between two other changes: present still, _PAGE_INVALID goes.
        (0x6000000123450104, RO, 0, 0xC000000123450104, True),
    ],
)
def test_worked_examples(
    kernel: str, old: int, newprot: int, cp: Any, new: int, flush: bool
) -> None:
    assert word_of(old, newprot=newprot, cp=cp, kernel=kernel) == (new, flush)
    # With the hash MMU the flush was made already, and is asked for all the same.
    hashed = K64._replace(hash_mmu=True)
    assert word_of(old, newprot=newprot, cp=cp, kernel=kernel, config=hashed) == (new, True)


@pytest.mark.parametrize(
    ("config", "kernel", "mask"),
    [
        (K64, "7.3", 0x409F_FFFF_FFFF_17C0),
        (K64, "6.12", 0x409F_FFFF_FFFF_1FC0),
        (K4, "7.3", 0x51FF_FFFF_FFFF_F7C0),
        (K4, "6.12", 0x51FF_FFFF_FFFF_FFC0),
    ],
)
def test_pte_modify_keeps_a_mask_and_takes_all(config: Config, kernel: str, mask: int) -> None:
    facts = facts_of(config, kernel)
    none = powerpc.decode(facts, np.uint64(0))
    for i in range(64):
        one = powerpc.decode(facts, np.uint64(1 << i))
        kept = powerpc.encode(facts, powerpc.pte_modify(facts, one, none))
        assert kept == (1 << i if mask >> i & 1 else 0)
        assert powerpc.encode(facts, powerpc.pte_modify(facts, none, one)) == 1 << i


@pytest.mark.parametrize("config", [K64, K4])
def test_a_flush_follows_from_a_right_lost_and_from_any_other_change(config: Config) -> None:
    facts = facts_of(config)
    ignored, lost = 0x100, 0x87  # accessed; dirty, read, write, execute
    for i in range(64):
        clear, full = np.uint64(0xC000_0000_0000_0000 & ~(1 << i)), np.uint64(1 << i)
        without, having = (powerpc.decode(facts, word) for word in (clear, clear | full))
        gain = powerpc.pte_needs_flush(facts, without, having)
        loss = powerpc.pte_needs_flush(facts, having, without)
        assert bool(gain) == (not (ignored | lost) >> i & 1), i
        assert bool(loss) == (not ignored >> i & 1), i


@pytest.mark.parametrize(
    ("old", "newprot", "changes", "flushed"),
    [
        # A readable entry becomes writable while a coprocessor may hold it.
        (0xC000000123450104, RO, {}, True),
        (0xC000000123450104, RW, {"cp": 0}, True),
        (0xC000000123450104, RO, {"coprocessors": 0}, False),
        (0xC000000123450104, RO, {"isa_31": True}, False),
        (0xC000000123450104, RO, {"hash_mmu": True}, False),
        (0xC000000123450104, RO, {"cp": 0}, False),
        (0xC000000123450106, RW, {}, False),  # writable before
        (0xC000000123450100, RO, {}, False),  # PROT_NONE: nobody could have found it
        (0xC000000123450101, EXEC_ONLY, {}, False),
    ],
)
@pytest.mark.parametrize("page_size", [K64, K4])
def test_coprocessors_see_no_gain_of_a_right(
    old: int, newprot: int, changes: dict[str, Any], flushed: bool, page_size: Config
) -> None:
    config = page_size._replace(coprocessors=2)
    config = config._replace(**{name: x for name, x in changes.items() if name != "cp"})
    if page_size == K4:
        old = old & ~(PFN << 16) | PFN << 12
    cp = changes.get("cp", TRY)
    outcome = change(0, 0, old, old, newprot=newprot, cp=cp, config=config, start=2)
    assert outcome.nmmu == ((2, 3) if flushed else ())
    assert outcome.flushed == ((2, 3) if config.hash_mmu else ())


@pytest.mark.parametrize(
    ("word", "present", "none", "protnone"),
    [
        (0xC000000123450100, True, False, True),
        (0xC000000123450104, True, False, False),
        (0xC000000123450101, True, False, False),
        (0x6000000123450100, True, False, False),  # invalid, which PROT_NONE is not
        (0x8000000123450100, False, False, False),  # no leaf
        (0x4000000123450000, False, False, False),
        (0, False, True, False),
        (0x180, False, True, False),  # an empty entry to which the hardware wrote
        (0x200, False, False, False),
    ],
)
def test_kinds_of_entries(word: int, present: bool, none: bool, protnone: bool) -> None:
    facts = facts_of()
    pte = powerpc.decode(facts, np.uint64(word))
    assert bool(powerpc.pte_present(pte)) == present
    assert bool(powerpc.pte_none(facts, pte)) == none
    assert bool(powerpc.pte_protnone(facts, pte)) == protnone
    off = facts_of(K64._replace(numa_balancing=False), "6.18")
    assert not powerpc.pte_protnone(off, pte)


def test_numa_hints_make_accessed_and_skip_prot_none() -> None:
    numa: dict[str, Any] = {"cp": NUMA, "newprot": NONE_PROT, "mm": Mm(users=2)}
    assert change(0xC000000123450004, **numa).words == (0xC000000123450100,)
    assert change(0xC000000123450080, **numa) == Outcome((0xC000000123450080,), (), (), 0)


def test_tracking_of_writes_holds_the_right_back() -> None:
    for word, writable in ((0xC000000123450104, 0), (0xC000000123450304, 2)):
        assert change(word, cp=TRY, vm=READ_WRITE).words == (word | writable,)
        off = K64._replace(soft_dirty=False)
        assert change(word, cp=TRY, vm=READ_WRITE, config=off).words == (word | 2,)


def test_special_entries_have_no_page() -> None:
    special = 0xC000000123450504
    assert change(special, cp=TRY).words == (special,)
    assert change(special | 0x800, cp=TRY, kernel="6.12").words == (special | 0x800,)
    facts = facts_of(kernel="6.16"), facts_of()
    devmap = powerpc.decode(facts[0], np.uint64(0xC000000123450C04))
    assert [bool(powerpc.pte_devmap(x, devmap)) for x in facts] == [True, False]


# Swap-like entries: the type in bits 0..4, the offset where a present entry has the PFN.


@pytest.mark.parametrize(
    ("config", "old", "new"),
    [
        (K64, 0x400000012345001B, 0x400000012345001A),  # migration write -> read exclusive
        (K64, 0x400000012345023B, 0x400000012345021A),  # soft-dirty stays, exclusive goes
        (K64, 0x401800012345001B, 0x401800012345001A),  # under young and dirty
        (K64, 0x400000099999001B, 0x4000000999990019),  # a page of no anon folio
        (K64, 0x400000012345023C, 0x400000012345001D),  # device write: soft-dirty goes
        (K4, 0x400000001234501B, 0x400000001234501A),
        (K4, 0x401800001234501B, 0x401800001234501A),
        (K64, 0x4000000000010001, 0x4000000000010001),  # swap
        (K64, 0x400000000001001F, 0x400000000001001F),  # markers: userfaultfd, poison, guard
        (K64, 0x400000000002001F, 0x400000000002001F),
        (K64, 0x400000000004001F, 0x400000000004001F),
        (K64, 0x0000000123450001, 0x0000000123450001),  # none of the kernel's, left alone
        (K64, 0x000000012345001B, 0x400000012345001A),  # rewritten, it becomes one
    ],
)
def test_swap_like_entries(config: Config, old: int, new: int) -> None:
    assert change(old, config=config) == Outcome((new,), (), (), int(new != old))


def test_young_and_dirty_of_a_migration_entry_are_above_the_page_number() -> None:
    # 51 bits of physical address: 35 bits of PFN with 64 KiB pages, 39 with 4 KiB.
    for config, bits in ((K64, 35), (K4, 39)):
        facts, pfn = facts_of(config), 1 << bits - 1 | 0x12345
        word = np.uint64(0x4000_0000_0000_003B | (3 << bits | pfn) << config.page_shift)
        swap = powerpc.decode_swap(facts, word)
        assert powerpc.swp_offset_pfn(facts, swap) == pfn
        assert swap.offset == 3 << bits | pfn
        assert (swap.type, swap.exclusive, swap.rest) == (27, True, 0)


def test_what_an_entry_costs(monkeypatch: pytest.MonkeyPatch) -> None:
    counted: Counter[str] = Counter()
    for name in ("load", "store", "take"):
        access = getattr(table, name)
        monkeypatch.setattr(
            table, name, lambda *a, name=name, access=access: counted.update([name]) or access(*a)
        )
    change(0xC000000123450104, 0xC000000123460386, 0, 0x400000012345001B)
    # Two entries that are taken and put back, an empty one, a swap-like one that is rewritten.
    assert counted == {"load": 4, "take": 2, "store": 3}


def test_what_the_hardware_marks_meanwhile_is_kept() -> None:
    outcome = change(0xC000000123450006, newprot=RW, hardware=((0, 0x180),))
    assert outcome.words == (0xC000000123450186,)


def test_every_store_makes_a_leaf_and_clearing_is_an_exchange() -> None:
    state = state_of(
        Case(vma=Vma(0), call=Call(0, RO, 0, 1), ptes=(7,), arch="powerpc", config=K64)
    )
    powerpc.set_pte(state, 0, np.uint64(0x12345_0001))
    assert state.ptes[0] == 0x4000_0001_2345_0001
    state.hardware[0] = 0x80
    powerpc.pte_clear(state, 0)
    # What the hardware marked before went with the entry.
    assert (state.ptes[0], state.hardware[0]) == (0, 0)
