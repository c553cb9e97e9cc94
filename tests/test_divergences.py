"""What the relation calls each divergence: words, entries that stay, and the case as a whole.

Outcomes are drawn (tests.drawing) and judged without any target.
"""

import numpy as np
import pytest

from harness import classes
from harness.relation import ANY, EXACT
from mm import flags as f
from mm.state import FOLD, MAX_FLUSHES, NMMU, NR_FLUSHES, NR_STAMPS, UNFOLD

from .drawing import (
    ANON,
    NUMA,
    PAGE,
    PAGE_NONE,
    PRIVATE,
    READ_ONLY,
    RESOLVE,
    SHARED,
    TRY,
    WP,
    drawn_case,
    judged,
)

UFFD = PRIVATE | int(f.VM_UFFD_WP)
MARKER = "0xfffffffffffffc00"
POISON = "0xfffffffffffffa00"
SWAP = "0x07fffffffffffc00"
TABLE = 0x7F00_0000_0000

# Before, after, call, VMA, pages of A that are exclusive; the class of the entry before `|`.
WORDS = [
    ("[A1s] A2s", "A1ws A2s", TRY, PRIVATE, "x.xx", "cow-write"),
    ("[A1s] A2s", "A1ws A2s", 0, PRIVATE, "xxxx", "write-gained"),
    ("[A1s]", "A1ws", TRY, SHARED, "....", "write-gained"),
    ("[A1s]", "A1s", TRY, PRIVATE, ".x..", "write-lost"),
    ("[A1s]", ".", 0, READ_ONLY, "xxxx", "entry-lost"),
    ("[A1s]", MARKER, 0, READ_ONLY, "xxxx", "entry-lost"),
    ("[A1s]", "A2s", 0, READ_ONLY, "xxxx", "pfn-changed"),
    ("[A1ds]", "A1s", 0, READ_ONLY, "xxxx", "dirty-lost"),
    ("[A1s]", "A1ds", 0, READ_ONLY, "xxxx", "dirty-gained"),
    ("[A1as]", "A1s", 0, READ_ONLY, "xxxx", "accessed-lost"),
    ("[A1s]", "A1as", 0, READ_ONLY, "xxxx", "accessed-gained"),
    ("[A1s]", "A1", 0, READ_ONLY, "xxxx", "soft-dirty-lost"),
    ("[A1]", "A1s", 0, READ_ONLY, "xxxx", "soft-dirty-gained"),
    ("[A1s]", "A1su", 0, READ_ONLY, "xxxx", "uffd-changed"),
    ("[A1s]", "A1s", WP, UFFD, "xxxx", "uffd-changed"),
    ("[A1su]", "A1su", RESOLVE, UFFD, "xxxx", "uffd-changed"),
    ("[A1s]", "A1sp", 0, READ_ONLY, "xxxx", "protection-changed"),
    ("[A1s]", "A1sx", 0, READ_ONLY, "xxxx", "protection-changed"),
    ("[A1s]", "A1sc", 0, READ_ONLY, "xxxx", "protection-changed"),
    ("[A1s]", "A1sn", 0, READ_ONLY, "xxxx", "protection-changed"),
    ("[A1s]", "A1sz", 0, READ_ONLY, "xxxx", "bits-changed"),
    ("[A1ds]", "A1sD", 0, READ_ONLY, "xxxx", "bits-changed"),
    (f"[{SWAP}]", "0x07fffffffffffa00", 0, READ_ONLY, "xxxx", "swap-changed"),
    (f"[{SWAP}]", ".", 0, READ_ONLY, "xxxx", "swap-changed"),
    (f"[{SWAP}]", SWAP, WP, UFFD, "xxxx", "swap-changed"),
    (f"[{POISON}]", ".", RESOLVE, UFFD, "xxxx", "swap-changed"),
    (f"[{MARKER}]", MARKER, RESOLVE, UFFD, "xxxx", "swap-changed"),
    ("[.]", MARKER, 0, READ_ONLY, "xxxx", "none-changed"),
    ("[.]", "A1s", 0, READ_ONLY, "xxxx", "none-changed"),
    ("A1s [.]", "A2s .", 0, READ_ONLY, "xxxx", "outside-changed"),
    ("A1s [.]", ". .", 0, READ_ONLY, "xxxx", "outside-changed"),
]


@pytest.mark.parametrize("batching", [EXACT, ANY])
@pytest.mark.parametrize(("before", "after", "cp", "vma", "exclusive", "name"), WORDS)
def test_word_is_called_what_it_is(before, after, cp, vma, exclusive, name, batching):
    case = drawn_case(before, cp=cp, vma=vma, exclusive={"A": exclusive})
    found = judged(case, after, batching=batching)
    assert found.entries[0] == {name}
    assert found.all == {name}


def test_entries_behind_the_range_are_outside():
    case = drawn_case("[A1s] A2s .", vma=READ_ONLY)
    assert judged(case, "A1s A2as 0x20").entries == [set(), *[{"outside-changed"}] * 2]


def test_words_as_the_reference_leaves_them_are_silent():
    for before, _, cp, vma, exclusive, _ in WORDS:
        case = drawn_case(before, cp=cp, vma=vma, exclusive={"A": exclusive})
        ours = judged(case, case.ptes).ours
        grew = [i for i, (a, b) in enumerate(zip(case.ptes, ours, strict=True)) if b & ~a & 2]
        flush = "".join("f" if i in grew else "-" for i in range(len(ours)))
        present = [word & 0x101 for word in case.ptes]
        flush = flush if any(present) else ""
        assert judged(case, ours, flush).all == set(), before


def test_entry_that_must_go_is_not_lost():
    """Wild: page frame 0 and no protection make the word 0. A word with accessed is inverted again."""
    case = drawn_case("[0x1]", newprot=0)
    assert judged(case, ".", "f").all == set()
    assert judged(case, "0x20", "f").all == {"accessed-gained", "pfn-changed"}


def test_what_numa_skips_stays():
    """KSM pages are left alone: the entry may only keep its own word, merged or not."""
    case = drawn_case(
        "[A0s A1as A2ns]",
        cp=NUMA,
        newprot=PAGE_NONE,
        folio_flags=ANON | int(f.FOLIO_KSM),
    )
    assert judged(case, "A0s A1as A2ns").all == set()
    assert judged(case, "A0as A1as A2ns").entries[0] == {"skipped-changed"}
    assert judged(case, "A0sn A1as A2ns").entries[0] == {"skipped-changed"}
    assert judged(case, "A0s A1as A2s").entries[2] == {"skipped-changed"}
    assert judged(case, "A0s A1as A2ns", "f").entries[0] == {"flush-unneeded"}


def test_rwp_in_place_stays():
    case = drawn_case(
        "[A0nus]", cp=int(f.MM_CP_UFFD_RWP), newprot=PAGE_NONE, vma=PRIVATE | int(f.VM_UFFD_RWP)
    )
    assert judged(case, "A0nus").all == set()
    assert judged(case, "A0nuas").entries == [{"skipped-changed"}]


# The case as a whole.


@pytest.mark.parametrize(
    ("pages", "found"), [(1, {"pages-wrong"}), (2, set()), (3, {"pages-wrong"})]
)
def test_pages(pages: int, found: set[str]):
    case = drawn_case("[A0s . A1s]", vma=READ_ONLY)
    assert judged(case, "A0s . A1s", pages=pages).case == found


@pytest.mark.parametrize("reports", [0, 1, 2])
def test_bad_map_reports_are_counted(reports: int):
    """Special entries in a VMA that can have none: the kernel reports each."""
    case = drawn_case("[A0sz A1sz]", vma=READ_ONLY)
    found = judged(case, "A0sz A1sz", bad_map=reports).case
    assert found == (set() if reports == 2 else {"bad-map-wrong"})


@pytest.mark.parametrize(("vma", "hits"), [(READ_ONLY, 2), (PRIVATE, 0)])
@pytest.mark.parametrize("warns", [0, 1, 5])
def test_warns_are_a_set(vma: int, hits: int, warns: int):
    """One WARN for a batch or one for each entry: the same."""
    case = drawn_case("[A0s A1s]", cp=TRY, vma=vma, exclusive={"A": "...."})
    found = judged(case, "A0s A1s", warns=warns).case
    assert found == (set() if bool(warns) == bool(hits) else {"warn-wrong"})


A, B = 0x12340, 0x12344


@pytest.mark.parametrize(
    ("stamps", "found"),
    [
        ((A, B), set()),
        ((A, A, B), set()),  # per entry
        ((B, A), set()),
        ((A,), {"access-time-wrong"}),
        ((), {"access-time-wrong"}),
        ((A, B, B + 1), {"access-time-wrong"}),
        ((A, B + 1), {"access-time-wrong"}),
    ],
)
def test_access_time_stamps_are_a_set(stamps: tuple[int, ...], found: set[str]):
    case = drawn_case(
        "[A0s A1s B0s]",
        cp=NUMA,
        newprot=PAGE_NONE,
        folio_flags=ANON | int(f.FOLIO_ACCESS_TIME),
    )
    after = judged(case, case.ptes).ours
    assert judged(case, after, "fff", stamps=stamps).all == found


@pytest.mark.parametrize(
    ("request_", "found"),
    [
        ((TABLE + PAGE, 2), set()),
        ((TABLE + PAGE, 0), {"flush-outside"}),
        ((TABLE, 1), {"flush-outside"}),
        ((TABLE, 3), {"flush-outside"}),
        ((TABLE + PAGE, 3), {"flush-outside"}),
        ((TABLE + 3 * PAGE, 1), {"flush-outside"}),
        ((TABLE + PAGE + 8, 1), {"flush-outside"}),
        ((0, 1), {"flush-outside"}),
        ((TABLE + PAGE, (1 << 64) - 1), {"flush-outside"}),
        ((TABLE + PAGE, 1 << 52), {"flush-outside"}),
        (((1 << 64) - PAGE, 1), {"flush-outside"}),
    ],
)
def test_requests_stay_inside_the_range(request_: tuple[int, int], found: set[str]):
    case = drawn_case("A0ws [A1ws A2ws] A3ws", vma=READ_ONLY)
    proper = [(TABLE + PAGE, 2)]
    verdict = judged(case, "A0ws A1s A2s A3ws", [*proper, request_])
    assert verdict.case == found
    assert verdict.all == found


@pytest.mark.parametrize(
    ("kind", "found"),
    [
        (FOLD, "invalidation-wrong"),
        (UNFOLD, "invalidation-wrong"),
        (NMMU, "nmmu-unneeded"),
    ],
)
def test_other_kinds_of_rows_are_no_requests(kind: np.uint64, found: str):
    """An implicit invalidation covers nothing that the rule wants to be requested."""

    def touch(workspace):
        workspace.theirs.flushes[0, 0] = kind

    case = drawn_case("[A1ws A2ws]", vma=READ_ONLY)
    assert judged(case, "A1s A2s", "ff").all == set()
    assert judged(case, "A1s A2s", "ff", touch=touch).all == {"flush-missing", found}


@pytest.mark.parametrize("kind", [FOLD, UNFOLD, NMMU])
def test_x86_64_sends_nothing_at_once(kind: np.uint64):
    """There are no blocks and no coprocessors."""
    case = drawn_case("[A1ws A2ws]", vma=READ_ONLY)
    verdict = judged(case, "A1s A2s", "ff", implicit=((int(kind), 0),))
    if kind == NMMU:
        assert verdict.entries == [{"nmmu-unneeded"}, set()]
    else:
        assert verdict.case == {"invalidation-wrong"}


@pytest.mark.parametrize("count", [NR_FLUSHES, NR_STAMPS])
def test_log_that_overflows_is_seen(count: int):
    def touch(workspace):
        workspace.theirs.counts[count] = MAX_FLUSHES + 1

    found = judged(drawn_case("[A1s]", vma=READ_ONLY), "A1s", touch=touch).case
    assert "log-overflow" in found


def _exclusive(workspace):
    workspace.theirs.exclusive[3] ^= 1


def _folio(workspace):
    workspace.theirs.folios[1].folio_flags |= f.FOLIO_KSM


def _folio_pfn(workspace):
    workspace.theirs.folios[0].pfn += np.uint64(4)


def _newprot(workspace):
    workspace.theirs.facts[0].newprot ^= np.uint64(2)


def _last_fact(workspace):
    workspace.theirs.facts[0].swp_marker += 1


def _hardware(workspace):
    workspace.theirs.hardware[1] = np.uint64(0x20)


@pytest.mark.parametrize(
    "touch",
    [_exclusive, _folio, _folio_pfn, _newprot, _last_fact, _hardware],
    ids=lambda t: t.__name__,
)
def test_inputs_are_not_to_be_written(touch):
    case = drawn_case("[A0s A1s]", vma=READ_ONLY)
    assert judged(case, "A0s A1s").all == set()
    assert judged(case, "A0s A1s", touch=touch).case == {"input-changed"}


def _bait(workspace):
    # The word that nobody can tell from one that was never written.
    workspace.theirs.ptes[2] = 0


def _behind_bait(workspace):
    workspace.theirs.ptes[3] = 1


def _hardware_of_bait(workspace):
    workspace.theirs.hardware[2] = np.uint64(0x20)


@pytest.mark.parametrize(
    "touch", [_bait, _behind_bait, _hardware_of_bait], ids=lambda t: t.__name__
)
def test_what_is_behind_the_window_is_not_to_be_written(touch):
    case = drawn_case("[A0s A1s]", vma=READ_ONLY)
    assert judged(case, "A0s A1s", touch=touch).case == {"outside-changed"}


def test_hardware_bits_may_be_consumed():
    """What a take does; and what it took must not be lost."""
    case = drawn_case("[A0ws A1ws]", vma=READ_ONLY, hardware=((1, 0x60),))

    def take(workspace):
        workspace.theirs.hardware[1] = 0

    taken = judged(case, "A0ads A1ads", "ff", touch=take)
    assert taken.entries == [{"accessed-merged", "dirty-merged"}, set()]
    assert taken.case == set()
    loaded = judged(case, "A0s A1s", "ff")
    assert loaded.entries == [set(), {"dirty-lost", "accessed-lost"}]
    assert loaded.case == set()


def test_every_divergence_is_shown_here():
    """Each class of the relation has a picture; the case's own ones have tests by name.

    What only blocks or coprocessors can show has its pictures in test_contpte_log
    and test_relation_powerpc; what only a native target can do is in test_native.
    """
    elsewhere = {
        *("unfold-missing", "unfold-unneeded", "fold-missing", "fold-unneeded"),
        *("nmmu-missing", "nmmu-unneeded", "invalidation-wrong"),
        *(name for name in classes.NUMBER if name.startswith("target-")),
    }
    case_classes = {
        *("flush-missing", "flush-unneeded", "flush-outside", "pages-wrong", "bad-map-wrong"),
        *("warn-wrong", "access-time-wrong", "input-changed", "log-overflow", "skipped-changed"),
    }
    shown = {name for *_, name in WORDS} | case_classes
    assert shown | elsewhere == set(classes.names(int(classes.DIVERGENCE_BITS)))
