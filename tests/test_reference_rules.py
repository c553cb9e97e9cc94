"""The reference rules on single entries, with words computed by hand from the kernel's headers.

Pages are those of one folio at PFN 0x12340 unless a test says otherwise; the
words of PFN 0x12345 are worked examples, each bit set by hand.
"""

import random
from collections import Counter
from typing import Any, NamedTuple

import numpy as np
import pytest

from harness.arrays import state_of
from harness.case import Call, Case, Folio, Mm, Vma
from mm import flags as f
from mm import table
from mm.state import BAD_MAP, NO_VM_WRITE, NR_FLUSHES, NR_STAMPS, empty_state
from mm.version import Config
from reference import x86_64

RO = 0x8000000000000025  # PAGE_READONLY
RW = 0x8000000000000027  # PAGE_SHARED
NONE_PROT = 0x120  # PAGE_NONE
PFN = 0x12345
ADDR = 0x7F00_0000_0000

READ_WRITE = f.VM_READ | f.VM_WRITE | f.VM_MAYREAD | f.VM_MAYWRITE
UNTRACKED = READ_WRITE | f.VM_SOFTDIRTY  # set: soft-dirty tracking is off
TRY = f.MM_CP_TRY_CHANGE_WRITABLE
NUMA = f.MM_CP_PROT_NUMA
WP = f.MM_CP_UFFD_WP
RESOLVE = f.MM_CP_UFFD_WP_RESOLVE
RWP = f.MM_CP_UFFD_RWP
RWP_RESOLVE = f.MM_CP_UFFD_RWP_RESOLVE
ANON = f.FOLIO_ANON


class Outcome(NamedTuple):
    """What a call left behind."""

    words: tuple[int, ...]
    flushed: tuple[int, ...]  # entries of the window
    pages: int
    warns: int
    bad_maps: int
    stamps: tuple[int, ...]


def run(case: Case) -> Outcome:
    """The outcome of the reference on `case`; each flush request must be of one page."""
    assert case.check() is None
    state = state_of(case)
    pages = int(x86_64.change_pte_range(state))
    rows = state.flushes[: state.counts[NR_FLUSHES]]
    assert all(int(kind) == 0 and int(length) == 1 for kind, _, length in rows)
    return Outcome(
        words=tuple(int(word) for word in state.ptes),
        flushed=tuple((int(address) - case.table_addr) >> 12 for _, address, _ in rows),
        pages=pages,
        warns=int(state.counts[NO_VM_WRITE]),
        bad_maps=int(state.counts[BAD_MAP]),
        stamps=tuple(int(pfn) for pfn in state.stamps[: state.counts[NR_STAMPS]]),
    )


def change(
    *words: int,
    newprot: int = RO,
    cp: Any = 0,
    vm: Any = UNTRACKED,
    folio: Any = ANON,
    exclusive: int = 0xFF,
    kernel: str = "7.3",
    nid: int = 0,
    **changes: Any,
) -> Outcome:
    """The outcome of one call on all of `words`, over one folio of eight pages."""
    case = Case(
        vma=Vma(int(vm)),
        call=Call(int(cp), newprot, 0, len(words)),
        ptes=words,
        folios=(Folio(0x12340, 8, int(folio), nid, exclusive),),
        kernel=kernel,
    )
    return run(case.replace(**changes))


def word_of(word: int, **arguments: Any) -> tuple[int, bool]:
    """The word that becomes of `word`, and whether it is flushed; it must be counted."""
    outcome = change(word, **arguments)
    assert outcome.pages == 1
    return outcome.words[0], outcome.flushed == (0,)


def test_decoding_loses_no_bit() -> None:
    random_words = random.Random(1)
    words = [1 << i for i in range(64)] + [(1 << 64) - 1 - (1 << i) for i in range(64)] + [0]
    words += [random_words.getrandbits(64) for _ in range(2000)]
    facts = empty_state(1).facts[0]
    for word in np.array(words, np.uint64):
        assert x86_64.encode(facts, x86_64.decode(facts, word)) == word
        assert x86_64.encode_swap(facts, x86_64.decode_swap(facts, word)) == word


@pytest.mark.parametrize(
    ("old", "newprot", "cp", "new", "flush"),
    [
        (0x8000000012345867, RO, 0, 0x8400000012345825, True),  # dirty is saved
        (0x8000000012345027, RO, 0, 0x8000000012345025, True),
        (0x8400000012345825, RO, 0, 0x8400000012345825, False),
        (0x8400000012345825, RO, TRY, 0x8000000012345867, True),  # saved dirty comes back
        (0x8000000012345825, RO, TRY, 0x8000000012345827, True),
        (0x8000000012345867, NONE_PROT, 0, 0x040FFFFFEDCBA920, True),  # the PFN is inverted
        (0x040FFFFFEDCBA920, RO, 0, 0x8400000012345825, False),
        (0x040FFFFFEDCBA920, RO, TRY, 0x8000000012345867, False),
        (0x040FFFFFEDCBA920, NONE_PROT, TRY, 0x040FFFFFEDCBA920, False),
        (0x8000000012345005, 0x25, 0, 0x0000000012345005, True),  # NX goes, accessed is kept
        (0x8400000012345025, RW, 0, 0x8000000012345067, True),
        (0x8400000012345425, RO, 0, 0x8400000012345425, False),
        (0x8000000012345067, 0xA800000000000027, 0, 0xA800000012345067, True),  # a key
        (0x8000000012345867, RO, WP, 0x8400000012345C25, True),
        (0x8000000012345427, RW, WP, 0x8000000012345425, True),  # write-protects by itself
        (0x8000000012345067, RW, WP, 0x8400000012345425, True),
        (0x8000000012345065, RO, WP, 0x8400000012345425, True),  # only the dirty bit goes
        (0x8400000012345C25, RO, RESOLVE, 0x8400000012345825, False),
        # With the present bit, bit 8 is GLOBAL and not PROTNONE.
        (0x8000000012345125, RO | 0x100, TRY, 0x8000000012345127, True),
        (0x8400000012345C25, RO, RESOLVE | TRY, 0x8000000012345867, True),
        # Accessed, dirty and soft-dirty of newprot are ignored, unnamed bits of the old word go.
        (0x81F0000012345005, 0x8000000000000825 | 0x40, 0, 0x8000000012345005, False),
        # Cache bits and special are kept.
        (0x8000000012345099, 0x8000000000000001, 0, 0x8000000012345099, False),
        # All bits clear is not inverted; all but a PFN is.
        (0x0000000000000001, 0, 0, 0x0000000000000000, True),
        (0x0000000000001001, 0, 0, 0x000FFFFFFFFFE000, True),
        # Shadow-stack-like words (read-only and dirty) keep D only if write was off.
        (0x8000000012345065, RO, 0, 0x8000000012345065, False),
    ],
)
def test_worked_examples(old: int, newprot: int, cp: Any, new: int, flush: bool) -> None:
    assert word_of(old, newprot=newprot, cp=cp) == (new, flush)


@pytest.mark.parametrize(
    ("old", "new", "flush"),
    [
        (0x8000000012345025, 0x8000000012345025 | 1 << 1, True),
        (0x8000000012345025, 0x8000000012345025 & ~(1 << 2), True),
        (0x8000000012345025, 0x8000000012345025 | 1 << 8, True),
        (0x8000000012345025, 0x0000000012345025, True),
        (0x8000000012345025, 0x8800000012345025, True),
        (0x8000000012345025, 0x8010000012345025, False),  # a bit without a name
    ],
)
def test_a_flush_follows_from_each_right_that_changes(old: int, new: int, flush: bool) -> None:
    newprot = new & ~0x000FFFFFFFFFF000
    assert word_of(old, newprot=newprot) == (new, flush)


@pytest.mark.parametrize(
    ("exclusive", "writable"),
    [
        ("[xx.x]", "[ww.w]"),
        ("[....]", "[....]"),
        # The range starts inside the folio, so its first page is not page 0.
        ("x[.xx]", ".[.ww]"),
        (".[x.]x", ".[w.]."),
    ],
)
def test_write_follows_the_exclusive_bit_of_the_very_page(exclusive: str, writable: str) -> None:
    # One anon folio of four pages, read-only; mprotect adds PROT_WRITE to [...].
    # x: the page is exclusive to us; w: the entry ends up writable.
    pages = exclusive.replace("[", "").replace("]", "")
    start, end = exclusive.index("["), exclusive.index("]") - 1
    outcome = run(
        Case(
            vma=Vma(int(UNTRACKED)),
            call=Call(int(TRY), RO, start, end),
            ptes=tuple(RO | 0x12340 + i << 12 for i in range(4)),
            folios=(
                Folio(0x12340, 4, int(ANON), 0, int(pages[::-1].translate({46: "0", 120: "1"}), 2)),
            ),
        )
    )
    drawn = "".join("w" if word & 2 else "." for word in outcome.words)
    assert f"{drawn[:start]}[{drawn[start:end]}]{drawn[end:]}" == writable
    assert outcome.flushed == tuple(i for i in range(4) if drawn[i] == "w")
    assert outcome.pages == end - start


SHARED = UNTRACKED | f.VM_SHARED


@pytest.mark.parametrize(
    ("old", "arguments", "writable"),
    [
        (0x8000000012345825, {}, True),
        (0x8000000012345825, {"cp": 0}, False),  # nobody asked
        (0x8000000012345825, {"newprot": NONE_PROT}, False),  # not even readable
        # Tracking is armed: only what is soft-dirty already needs no fault.
        (0x8000000012345025, {"vm": READ_WRITE}, False),
        (0x8000000012345825, {"vm": READ_WRITE}, True),
        (0x8000000012345025, {}, True),
        # The userfaultfd bit counts in a VMA with VM_UFFD_WP only.
        (0x8000000012345425, {"vm": UNTRACKED | f.VM_UFFD_WP}, False),
        (0x8000000012345425, {}, True),
        (0x8000000012345825, {"folio": 0}, False),  # exclusive means nothing on file pages
        (0x8000000012345825, {"exclusive": 0xDF}, False),
        (0x8000000012345A25, {"vm": UNTRACKED | f.VM_PFNMAP}, False),
        # Shared: dirtiness decides, wherever the bit is, and no page is asked.
        (0x8000000012345825, {"vm": SHARED}, False),
        (0x8400000012345825, {"vm": SHARED, "folio": 0}, True),
        (0x8000000012345865, {"vm": SHARED, "folio": 0}, True),
        (0x8400000012345025, {"vm": SHARED & ~f.VM_SOFTDIRTY}, False),
    ],
)
@pytest.mark.parametrize("kernel", ["6.12", "7.3"])
def test_may_become_writable(
    old: int, arguments: dict[str, Any], writable: bool, kernel: str
) -> None:
    word, _ = word_of(old, **{"cp": TRY, "kernel": kernel, **arguments})
    assert bool(word & 2) == writable


def test_asking_for_write_without_vm_write_warns_each_time() -> None:
    outcome = change(RO | PFN << 12, RO | PFN << 12, RW | PFN << 12, cp=TRY, vm=f.VM_READ)
    assert (outcome.warns, [word & 2 for word in outcome.words]) == (3, [0, 0, 0])
    assert change(RO | PFN << 12, newprot=RW, cp=TRY, vm=f.VM_READ).warns == 0  # writable anyway


LONE = f.VM_READ | f.VM_WRITE | f.VM_MAYWRITE | f.VM_SOFTDIRTY
THREADS = Mm(users=2)
NO_NUMA = Config(numa_balancing=False)


@pytest.mark.parametrize(
    ("arguments", "changed"),
    [
        ({}, True),
        ({"mm": Mm(users=1)}, False),  # on the only thread's node
        ({"mm": Mm(users=1, numa_node=1)}, True),
        ({"mm": Mm(users=1), "vm": SHARED}, True),
        ({"folio": f.FOLIO_ZONE_DEVICE}, False),
        ({"folio": ANON | f.FOLIO_KSM}, False),
        ({"folio": ANON | f.FOLIO_MAPPED_SHARED}, False),
        ({"folio": f.FOLIO_MAPPED_SHARED, "vm": SHARED}, True),
        ({"folio": f.FOLIO_MAPPED_SHARED, "vm": LONE & ~f.VM_MAYWRITE}, True),  # not CoW either
        ({"folio": ANON | f.FOLIO_PINNED}, False),
        ({"folio": f.FOLIO_PINNED, "vm": SHARED, "kernel": "6.12"}, True),
        ({"folio": f.FOLIO_PINNED, "vm": SHARED, "kernel": "6.18"}, True),
        ({"folio": f.FOLIO_PINNED, "vm": SHARED, "kernel": "7.3"}, False),
        ({"folio": f.FOLIO_FILE_LRU | f.FOLIO_DIRTY}, False),
        ({"folio": f.FOLIO_FILE_LRU}, True),
        ({"folio": ANON | f.FOLIO_DIRTY}, True),
        ({"mm": Mm(users=2, numa_balancing_mode=2)}, False),  # no NORMAL mode, top tier
        ({"mm": Mm(users=2, numa_balancing_mode=2, toptier_nodes=2)}, True),
        ({"mm": Mm(users=2, numa_balancing_mode=3)}, True),
        ({"nid": 1, "mm": Mm(users=2, numa_balancing_mode=2, toptier_nodes=2)}, False),
        # Off, the mode is 0, which spares the top tier; 7.3's folio_can_map_prot_numa() is a stub.
        ({"config": NO_NUMA, "kernel": "6.18"}, False),
        ({"config": NO_NUMA, "kernel": "6.18", "mm": Mm(users=2, toptier_nodes=2)}, True),
        ({"config": NO_NUMA, "mm": Mm(users=2, toptier_nodes=2)}, False),
    ],
)
def test_numa_filter(arguments: dict[str, Any], changed: bool) -> None:
    full = {"newprot": NONE_PROT, "cp": NUMA, "vm": LONE, "mm": THREADS, **arguments}
    outcome = change(0x8000000012345867, **full)
    skipped = Outcome((0x8000000012345867,), (), 0, 0, 0, ())
    assert outcome == (Outcome((0x040FFFFFEDCBA920,), (0,), 1, 0, 0, ()) if changed else skipped)


@pytest.mark.parametrize("kernel", ["6.12", "6.17", "7.3"])
def test_numa_leaves_what_is_inaccessible_already_or_has_no_page(kernel: str) -> None:
    for word in (0x040FFFFFEDCBA920, 0x8000000002F7D225):
        outcome = change(word, newprot=NONE_PROT, cp=NUMA, mm=THREADS, kernel=kernel)
        assert outcome == Outcome((word,), (), 0, 0, 0, ())


def test_the_access_time_is_stamped_for_pages_that_numa_changes() -> None:
    stamped = ANON | f.FOLIO_ACCESS_TIME
    words = (0x8000000012345867, 0x8000000012346867, 0x040FFFFFEDCBA920)
    outcome = change(*words, newprot=NONE_PROT, cp=NUMA, mm=THREADS, folio=stamped)
    assert (outcome.pages, outcome.stamps) == (2, (0x12340, 0x12340))
    assert change(*words, newprot=NONE_PROT, mm=THREADS, folio=stamped).stamps == ()


@pytest.mark.parametrize(
    ("old", "arguments", "reports"),
    [
        # Special in an ordinary VMA; 6.12 looks for NUMA and private write upgrades only.
        (0x8000000012345225, {}, {"6.12": 0, "6.17": 1, "7.3": 1}),
        (0x8000000012345225, {"cp": TRY}, {"6.12": 1, "6.17": 1, "7.3": 1}),
        (0x8000000012345225, {"cp": TRY, "vm": SHARED}, {"6.12": 0, "6.17": 1, "7.3": 1}),
        (0x8000000012345225, {"cp": NUMA}, {"6.12": 1, "6.17": 1, "7.3": 1}),
        # protnone_before_lookup: 6.17 and 6.18 look at the page before they skip the entry.
        (0x800FFFFFEDCBA320, {"cp": NUMA}, {"6.12": 0, "6.17": 1, "6.18": 1, "7.3": 0}),
        (0x8000000012345225, {"cp": TRY, "vm": UNTRACKED | f.VM_MIXEDMAP}, {"6.12": 0, "7.3": 0}),
        (0x8000000012345225, {"cp": TRY, "vm": UNTRACKED | f.VM_PFNMAP}, {"6.12": 0, "7.3": 0}),
        (0x8000000002F7D225, {"cp": TRY}, {"6.12": 0, "7.3": 0}),  # the zero page
        # devmap: until 6.16 bit 57 excuses a special entry.
        (0x8200000012345225, {"cp": TRY}, {"6.12": 0, "6.16": 0, "6.17": 1, "7.3": 1}),
        # Beyond the memory map, without special.
        (0x8000010000000025, {"cp": TRY}, {"6.12": 1, "7.3": 1}),
        (0x800000FFFFFFF025, {"cp": TRY}, {"6.12": 0, "7.3": 0}),
    ],
)
def test_impossible_mappings_are_reported(
    old: int, arguments: dict[str, Any], reports: dict[str, int]
) -> None:
    for kernel, expected in reports.items():
        assert change(old, **{"kernel": kernel, **arguments}).bad_maps == expected, kernel


def test_bit_57_is_kept_while_it_has_a_name() -> None:
    for kernel in ("6.12", "6.16"):
        assert word_of(0x8200000012345025, kernel=kernel)[0] == 0x8200000012345025
    for kernel in ("6.17", "7.3"):
        assert word_of(0x8200000012345025, kernel=kernel)[0] == 0x8000000012345025


@pytest.mark.parametrize(
    ("old", "arguments", "new", "flush", "pages"),
    [
        (0x8000000012345867, {"cp": RWP, "newprot": NONE_PROT}, 0x040FFFFFEDCBAD20, True, 1),
        # In place already: skipped. Inaccessible for another reason: marked.
        (0x040FFFFFEDCBAD20, {"cp": RWP, "newprot": NONE_PROT}, 0x040FFFFFEDCBAD20, False, 0),
        (0x040FFFFFEDCBA920, {"cp": RWP, "newprot": NONE_PROT}, 0x040FFFFFEDCBAD20, False, 1),
        (0x8000000012345425, {"cp": RWP, "newprot": NONE_PROT}, 0x000FFFFFEDCBA520, True, 1),
        # Marked entries stay inaccessible under mprotect, and come back when resolved.
        (0x040FFFFFEDCBAD20, {"cp": 0}, 0x040FFFFFEDCBAD20, False, 1),
        (0x040FFFFFEDCBAD20, {"cp": TRY}, 0x040FFFFFEDCBAD20, False, 1),
        (0x040FFFFFEDCBAD20, {"cp": RWP_RESOLVE}, 0x8400000012345825, False, 1),
        (0x040FFFFFEDCBAD20, {"cp": RWP_RESOLVE | TRY}, 0x8000000012345867, False, 1),
        # An older kernel knows neither the flags nor the VMA.
        (0x8000000012345867, {"cp": RWP, "kernel": "6.18"}, 0x8400000012345825, True, 1),
        (0x040FFFFFEDCBAD20, {"cp": 0, "kernel": "6.18"}, 0x8400000012345C25, False, 1),
    ],
)
def test_access_protection_of_userfaultfd(
    old: int, arguments: dict[str, Any], new: int, flush: bool, pages: int
) -> None:
    outcome = change(old, vm=UNTRACKED | f.VM_UFFD_RWP, **arguments)
    assert (outcome.words, outcome.flushed == (0,), outcome.pages) == ((new,), flush, pages)


@pytest.mark.parametrize(
    ("config", "old", "arguments", "new"),
    [
        # Off, a bit comes from newprot like any that pte_modify() does not keep.
        (Config(soft_dirty=False), 0x8000000012345825, {}, 0x8000000012345025),
        (Config(soft_dirty=False), 0x8000000012345025, {"cp": TRY, "vm": READ_WRITE}, 0x8000000012345027),
        (Config(uffd_wp=False), 0x8000000012345425, {}, 0x8000000012345025),
        (Config(uffd_wp=False), 0x8000000012345027, {"cp": WP, "newprot": RW}, 0x8000000012345027),
        (Config(uffd_wp=False), 0x8000000012345425, {"cp": TRY, "newprot": RO | 0x400,
            "vm": UNTRACKED | f.VM_UFFD_WP}, 0x8000000012345427),
        # protnone: before RWP nobody but NUMA balancing asks.
        (NO_NUMA, 0x8000000012345825, {"cp": TRY, "newprot": NONE_PROT,
            "kernel": "6.18"}, 0x000FFFFFEDCBA922),
        (NO_NUMA, 0x8000000012345825, {"cp": TRY, "newprot": NONE_PROT}, 0x000FFFFFEDCBA920),
    ],
)  # fmt: skip
def test_a_configuration_that_is_off_takes_the_bit_away(
    config: Config, old: int, arguments: dict[str, Any], new: int
) -> None:
    assert word_of(old, config=config, **arguments)[0] == new


def test_bits_that_the_hardware_sets_before_the_entry_is_taken_are_kept() -> None:
    case = {"hardware": ((0, 0x60),), "cp": TRY, "vm": SHARED}
    # Dirty by the time it is taken, so the shared page stays writable, with nothing to flush.
    assert word_of(0x8000000012345007, newprot=RO, **case) == (0x8000000012345067, False)
    # A skipped entry is not taken: the bits stay with the hardware.
    skipped = change(0x040FFFFFEDCBA920, cp=NUMA, newprot=NONE_PROT, hardware=((0, 0x20),))
    assert skipped.words == (0x040FFFFFEDCBA920,)


def test_only_the_range_changes_and_each_page_is_flushed_at_its_address() -> None:
    words = tuple(RW | 0x12340 + i << 12 for i in range(6))
    case = Case(
        vma=Vma(int(UNTRACKED)), call=Call(0, RO, 2, 5), ptes=words, table_addr=ADDR + 0x3000
    )
    outcome = run(case)
    assert outcome.words == words[:2] + tuple(w & ~2 for w in words[2:5]) + words[5:]
    assert (outcome.flushed, outcome.pages) == ((2, 3, 4), 3)


def test_what_an_entry_costs(monkeypatch: pytest.MonkeyPatch) -> None:
    counted: Counter[str] = Counter()
    for name in ("load", "store", "take"):
        access = getattr(table, name)
        monkeypatch.setattr(
            table, name, lambda *a, name=name, access=access: counted.update([name]) or access(*a)
        )
    # Two are taken and put back, one is rewritten; the empty one and the marker stay.
    change(RO | 0x12340 << 12, RW | 0x12341 << 12, 0, 0xDFFFFFFFFDB97400, 0xFFFFFFFFFFFFFC00)
    assert counted == {"load": 5, "take": 2, "store": 3}
    counted.clear()
    change(0xFFFFFFFFFFFFFC00, cp=RESOLVE)
    assert counted == {"load": 1, "store": 1}
