"""The reference rules of arm64's folded blocks, in the pictures of `tests/blocks.py`."""

from collections import Counter
from typing import Any

import numpy as np
import pytest

from harness.arrays import state_of
from harness.case import Folio, Mm
from mm import flags as f
from mm import table
from mm.state import NR_FLUSHES, State
from reference import arm64, contpte, walk

from .blocks import (
    AF,
    CONFIG,
    CONT,
    NONE_PROT,
    NUMA,
    RDONLY,
    RESOLVE,
    RO_EXEC,
    RW,
    SHARED,
    TRY,
    WP,
    case_of,
    drawn,
    run,
    run_drawn,
    words_of,
)

KERNELS = ("6.12", "6.18", "7.3")
ANON = int(f.FOLIO_ANON)


def state_drawn(picture: str, **arguments: Any) -> State:
    """The state that `picture` draws; without a range, that of the first entry."""
    words, start, end = words_of(picture)
    return state_of(case_of(words, start, max(end, 1), **arguments))


@pytest.fixture
def accesses(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Counts loads, stores and takes of entries, as traced builds do."""
    counted: Counter[str] = Counter()

    def counting(name: str) -> Any:
        access = getattr(table, name)

        def wrapped(*arguments: Any) -> Any:
            counted[name] += 1
            return access(*arguments)

        return wrapped

    for name in ("load", "store", "take"):
        monkeypatch.setattr(table, name, counting(name))
    return counted


# mprotect to read-only.
@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize(
    ("before", "after", "tlbi"),
    [
        # The first entry unfolds the block, the last one folds it again.
        ("<[----------------]>", "<---------------->", "-0 +0"),
        # A block that the range cuts stays unfolded, unless its last entry is in the range.
        ("<[--------]-------->", "----------------", "-0"),
        ("<-----[-]---------->", "----------------", "-0"),
        ("<--------[--------]>", "<---------------->", "-0 +0"),
        ("<---------------[-]>", "<---------------->", "-0 +0"),
        # Never folded before; the rest of the block need not be in the range.
        ("[----------------]", "<---------------->", "+0"),
        ("---------------[-]", "<---------------->", "+0"),
        ("[---------------]-", "----------------", ""),
        # Unfolding makes the block equally accessed and dirty, outside the range too.
        ("<[-]-a----------d-->", "bbbbbbbbbbbbbbbb", "-0"),
        ("<-a-----[-]-------->", "aaaaaaaaaaaaaaaa", "-0"),
        # So does folding: accessed, dirty and the hardware's read-only bit need not agree.
        ("--d--a---------[-]", "<bbbbbbbbbbbbbbbb>", "+0"),
        ("[W-a-------------]", "<bbbbbbbbbbbbbbbb>", "+0"),
        ("<[wwwWwwwwwwwwwwww]>", "<dddddddddddddddd>", "-0 +0"),
        # Blocks are folded one by one.
        (
            "<baaaaaaa[aaaaaaaa><aaaaaaaaaaaaaaaa]>",
            "<bbbbbbbbbbbbbbbb><aaaaaaaaaaaaaaaa>",
            "-0 +0 -1 +1",
        ),
        (
            "<--------[--------><a-------]-------->",
            "<---------------->aaaaaaaaaaaaaaaa",
            "-0 +0 -1",
        ),
        # A sibling that is another kind of entry.
        ("w[---------------]", "w---------------", ""),
        ("-u-------------[-]", "-u--------------", ""),
        ("--------------n[-]", "--------------n-", ""),
        (".[---------------]", ".---------------", ""),
        # The last entry is not present.
        ("[---------------.]", "---------------.", ""),
    ],
)
def test_blocks(kernel: str, before: str, after: str, tlbi: str) -> None:
    assert run_drawn(before, kernel=kernel) == (after, tlbi)


def test_prot_none_is_never_folded() -> None:
    none = "n" * 16
    assert run_drawn("<[----------------]>", newprot=NONE_PROT) == (none, "-0")
    assert run_drawn("[----------------]", newprot=NONE_PROT) == (none, "")
    assert run_drawn(f"[{none}]") == ("<---------------->", "+0")


def test_special_entries_are_never_folded() -> None:
    special = {"vm": SHARED | f.VM_PFNMAP}
    assert run_drawn("[ssssssssssssssss]", **special) == ("s" * 16, "")
    # Nor does a special entry at the end fold the others.
    assert run_drawn("---------------[s]", **special) == ("---------------s", "")


@pytest.mark.parametrize(
    "folios",
    [
        (),
        (Folio(0x12340, 8), Folio(0x12348, 8)),
        (Folio(0x12348, 8),),
        (Folio(0x12300, 64),),
    ],
)
def test_one_folio_must_cover_the_block(folios: tuple[Folio, ...]) -> None:
    assert run_drawn("[----------------]", folios=folios) == ("-" * 16, "")
    assert run_drawn("[----------------]", folios=(Folio(0x12340, 16),))[1] == "+0"


def test_page_numbers_must_be_aligned_like_addresses(accesses: Counter[str]) -> None:
    for pfn in (0x12341, 0x12348, 0x1234F):
        accesses.clear()
        assert run_drawn("[----------------]", pfn) == ("-" * 16, "")
        # Seen without a look at the others.
        assert accesses["load"] == 3 * 16
    assert run_drawn("[----------------]", 0x12350) == (f"<{'-' * 16}>", "+0")


def test_each_entry_must_map_its_page() -> None:
    words = list(words_of("----------------")[0])
    words[3] = words[4]
    assert run(case_of(tuple(words), 0, 16)).tlbi == ()


def test_writable_blocks_fold_dirty_or_not() -> None:
    assert run_drawn("W[wwwwwwwwwwwwwww]", newprot=RW) == ("<xxxxxxxxxxxxxxxx>", "+0")
    # With upgrades: every page is exclusive, or the fourth is not.
    assert run_drawn("<[----------------]>", cp=TRY) == (f"<{'w' * 16}>", "-0 +0")
    shared = (Folio(0x12340, 16, ANON, 0, 0xFFF7),)
    assert run_drawn("<[----------------]>", cp=TRY, folios=shared) == ("www-wwwwwwwwwwww", "-0")


def test_a_skipped_block_stays_folded() -> None:
    pinned = (Folio(0x12340, 16, ANON | int(f.FOLIO_PINNED)),)
    numa = {"cp": NUMA, "newprot": NONE_PROT, "mm": Mm(users=2)}
    assert run_drawn("<[-a--------------]>", folios=pinned, **numa) == ("<-a-------------->", "")
    assert run_drawn("<[----------------]>", **numa) == ("n" * 16, "-0")


def test_what_the_hardware_marks_meanwhile_goes_to_the_whole_block() -> None:
    # Outside the range, before the block is unfolded, and before it is folded.
    assert run_drawn("<[-]--------------->", hardware=((9, AF),)) == ("a" * 16, "-0")
    assert run_drawn("---------------[-]", hardware=((9, AF),)) == (f"<{'a' * 16}>", "+0")
    written = run_drawn("<[wwwwwwwwwwwwwwww]>", newprot=RW, hardware=((9, RDONLY),))
    assert written == (f"<{'x' * 16}>", "-0 +0")
    # Of the entry itself, not folded.
    assert run_drawn("[-]---------------", hardware=((0, AF),)) == ("a---------------", "")


@pytest.mark.parametrize(
    ("kernel", "tlbi"), [("6.12", "-0 +0"), ("6.16", "-0 +0"), ("6.17", ""), ("7.3", "")]
)
def test_cpus_that_need_no_invalidation(kernel: str, tlbi: str) -> None:
    able = CONFIG._replace(bbml3=True)
    outcome = run_drawn("<[a---------------]>", kernel=kernel, config=able)
    assert outcome == ("<aaaaaaaaaaaaaaaa>", tlbi)


def test_flush_requests_are_those_of_the_entries() -> None:
    words = words_of("<--[----]---------->")
    assert run(case_of(*words)).flushed == ()
    assert run(case_of(*words, newprot=RO_EXEC)).flushed == (2, 3, 4, 5)
    assert run(case_of(*words, kernel="6.12")).flushed == (2, 3, 4, 5)


def test_folding_sets_the_type_bit_until_6_16() -> None:
    type_bit = 1 << 1
    words = tuple(word & ~type_bit for word in words_of("----------------")[0])
    for kernel, gained in (("6.12", type_bit), ("6.17", 0)):
        outcome = run(case_of(words, 15, 16, kernel=kernel))
        assert outcome.words == tuple(word | CONT | gained for word in words)


# ptep_get() of entry 5: what it finds, and the loads that it takes since 6.17.
@pytest.mark.parametrize(
    ("block", "found", "loads"),
    [
        ("<---------------->", "-", 17),
        # Dirty and young at once: the first entry is loaded again.
        ("<b--------------->", "b", 3),
        ("<-----b---------->", "b", 8),
        # Dirty first: from the same entry on for a young one.
        ("<d--------------->", "d", 18),
        ("<--d---a--------->", "b", 9),
        ("<d--------------a>", "b", 18),
        # Young first: from the next entry on for a dirty one.
        ("<a--------------->", "a", 17),
        ("<a-d------------->", "b", 4),
        ("<a--------------d>", "b", 17),
        ("<--------------ad>", "b", 17),
        ("<--------------da>", "b", 18),
        ("<---------------a>", "a", 17),
        # The hardware's mark counts, and gathers as both.
        ("<wwwwwwwwwwwwwwWw>", "x", 18),
        # Not folded: one load, nobody else is asked.
        ("b---------------", "-", 1),
        ("d----a----------", "a", 1),
    ],
)
def test_an_entry_is_read_as_dirty_and_young_as_its_block(
    block: str, found: str, loads: int, accesses: Counter[str]
) -> None:
    folded = block.startswith("<")
    entry = block.strip("<>")
    for kernel, expected in (("7.3", loads), ("6.12", 17 if folded else 1)):
        accesses.clear()
        word = int(contpte.ptep_get(state_drawn(block, kernel=kernel), 5))
        assert accesses == {"load": expected}
        alone = words_of(entry[:5] + found + entry[6:])[0][5]
        assert word == alone | (CONT if folded else 0)


# (loads, stores, takes) of a whole block in 6.12, and its invalidations.
@pytest.mark.parametrize(
    ("before", "newprot", "cost", "tlbi"),
    [
        ("<[bbbbbbbbbbbbbbbb]>", None, (80, 48, 48), "-0 +0"),
        ("<[bbbbbbbbbbbbbbbb]>", NONE_PROT, (64, 32, 32), "-0"),
        ("[bbbbbbbbbbbbbbbb]", None, (64, 32, 32), "+0"),
        ("[nnnnnnnnnnnnnnnn]", None, (64, 32, 32), "+0"),
        ("[bbbbbbbbbbbbbbbb]", NONE_PROT, (48, 16, 16), ""),
        # An entry that is not folded: one load to read, one before the take, one before the store.
        ("-----[-]----------", None, (3, 1, 1), ""),
        # A try that fails stops at the first entry that differs.
        ("--w------------[-]", None, (6, 1, 1), ""),
        ("[................]", None, (16, 0, 0), ""),
    ],
)
def test_what_a_block_costs(
    before: str,
    newprot: int | None,
    cost: tuple[int, int, int],
    tlbi: str,
    accesses: Counter[str],
) -> None:
    arguments = {} if newprot is None else {"newprot": newprot}
    words = words_of(before)
    outcome = run(case_of(*words, kernel="6.12", **arguments))
    assert (accesses["load"], accesses["store"], accesses["take"]) == cost
    signs = {"unfold": "-0", "fold": "+0"}
    assert " ".join(signs[why] for why, _ in outcome.tlbi) == tlbi


def test_what_a_marker_costs(accesses: Counter[str]) -> None:
    # One load to read it, one to see that it is not folded, one store.
    case = case_of((0x17C0, *(0,) * 15), 0, 1, cp=RESOLVE)
    assert run(case).words == (0,) * 16
    assert accesses == {"load": 2, "store": 1}
    accesses.clear()
    assert run(case_of((0x1000040, *(0,) * 15), 0, 1, cp=WP)).words[0] == 0x1000048
    assert accesses == {"load": 2, "store": 1}


def test_writing_over_a_folded_entry_unfolds_its_block() -> None:
    # The kernel is ready for it; change_pte_range() writes to entries that it took before.
    for write, after in (
        (lambda state: contpte.pte_clear(state, 3), 0),
        (lambda state: contpte.set_ptes(state, 3, np.uint64(0x17C0)), 0x17C0),
    ):
        state = state_drawn("<a--------------->")
        write(state)
        words = [int(word) for word in state.ptes]
        assert words[3] == after
        words[3] = 0
        assert drawn(tuple(words)) == "aaa.aaaaaaaaaaaa"
        assert (state.counts[NR_FLUSHES], state.flushes[0][0]) == (1, 1)


def test_the_question_of_the_walk_keeps_the_folded_bit() -> None:
    # The store takes it off, so that old and new word of a flush decision agree in it.
    state = state_drawn("<aaaaaaaaaaaaaaaa>")
    changed = walk.change_present(arm64.ARCH, state, state.ptes[5])
    assert (changed.word, changed.flush) == (state.ptes[5], False)
    assert drawn(tuple(int(word) for word in state.ptes)) == "<aaaaaaaaaaaaaaaa>"
