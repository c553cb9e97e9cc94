"""The relation on arm64: unfold first, then merge, then apply, then fold, and nothing wider.

Windows are drawn as in `tests/blocks.py`, verdicts as in `tests/block_verdicts.py`.
"""

from dataclasses import replace
from typing import Any

import pytest

from harness.case import Folio
from harness.relation import ANY, EXACT, NONE
from harness.run import judge_case
from harness.targets import load
from mm import flags as f

from .block_verdicts import RED, drawn_case, found_by, left_by, places, rows, verdict
from .blocks import (
    CONT,
    FOLIO,
    NONE_PROT,
    NUMA,
    PRIVATE,
    RDONLY,
    RO_EXEC,
    RW,
    SHARED,
    TRY,
    WP,
    words_of,
)
from .drawing import judged

ANON = int(f.FOLIO_ANON)
UFFD_VMA = PRIVATE | int(f.VM_UFFD_WP)
WRITE = {"newprot": RW, "vm": SHARED}
Arguments = dict[str, Any]


def of_pages(pages: int, exclusive: int = 0) -> Arguments:
    """One anon folio of so many pages, with these exclusive."""
    return {"folios": (Folio(0x12340, pages, ANON, 0, exclusive),)}


# Two folded blocks of one folio of 32 pages; only entry 0 is dirty, and outside the range.
UNFOLD_FIRST = "<baaaaaaa[aaaaaaaa><aaaaaaaaaaaaaaaa]>"
MERGED_INTO_WRITE = {f"{name}": "0-4,6-7" for name in ("dirty-merged", "write-by-merged-dirty")}

# What the batched kernel does: before, after, what it invalidates, the classes that explain it.
SHOWN: list[tuple[str, str, str, dict[str, str], Arguments]] = [
    # Unfolding block 0 makes entries 8..15 dirty, so the batch 8..31 is.
    (
        UNFOLD_FIRST,
        "bbbbbbbbbbbbbbbb<bbbbbbbbbbbbbbbb>",
        "-0",
        {"dirty-by-unfold": "1-15", "dirty-merged": "16-31"},
        of_pages(32),
    ),
    # So does an unfolding at the far end of the batch, and one that gives it its first entry.
    (
        "<[aaaaaaaaaaaaaaaa><aaaaaaaa]aaaaaaab>",
        "<bbbbbbbbbbbbbbbb>bbbbbbbbbbbbbbbb",
        "-1",
        {"dirty-merged": "0-15", "dirty-by-unfold": "16-30"},
        {},
    ),
    (
        "<baaaaaaaaaaaaaa[a><aaaaaaaaaaaaaaaa]>",
        "bbbbbbbbbbbbbbbb<bbbbbbbbbbbbbbbb>",
        "-0",
        {"dirty-by-unfold": "1-15", "dirty-merged": "16-31"},
        {},
    ),
    # Blocks that the range cuts in the middle, at the start, at both of its ends.
    (
        "<-----[b--]-------->",
        "bbbbbbbbbbbbbbbb",
        "-0",
        {"accessed-by-unfold": "0-4,6-15", "dirty-by-unfold": "0-4,6-15"},
        {},
    ),
    (
        "<b-------[--------]>",
        "bbbbbbbbbbbbbbbb",
        "-0",
        {"accessed-by-unfold": "1-15", "dirty-by-unfold": "1-15"},
        {},
    ),
    (
        "<--------[-------a><d-------]-------->",
        "aaaaaaaabbbbbbbbbbbbbbbbdddddddd",
        "-0 -1",
        {
            "accessed-by-unfold": "0-14",
            "dirty-by-unfold": "17-31",
            "accessed-merged": "16-23",
            "dirty-merged": "8-15",
        },
        {},
    ),
    # Not cut: one batch covers the block, which stays folded.
    (
        "<[b---------------]>",
        "<bbbbbbbbbbbbbbbb>",
        "",
        {"accessed-by-unfold": "1-15", "dirty-by-unfold": "1-15"},
        {},
    ),
    ("<d---------------><[----------------]>", "<d---------------><---------------->", "", {}, {}),
    # What the hardware sets before the entries are taken counts.
    (
        "<[wwwwwwwwwwwwwwww]>",
        "<xxxxxxxxxxxxxxxx>",
        "",
        {"dirty-by-unfold": "0-2,4-15"},
        {**WRITE, "hardware": ((3, RDONLY),)},
    ),
    (
        "[wwww]------------",
        "xxxx------------",
        "",
        {"dirty-merged": "0,2-3"},
        {**WRITE, "hardware": ((1, RDONLY),)},
    ),
    # Batches without blocks. RDONLY is no reason to end one.
    (
        "[b---]------------",
        "bbbb------------",
        "",
        {"accessed-merged": "1-3", "dirty-merged": "1-3"},
        {},
    ),
    ("[wwWw]------------", "xxxx------------", "", {"dirty-merged": "0-1,3"}, WRITE),
    (
        "[-----d--]--------",
        "xxxxxxxx--------",
        "",
        {**MERGED_INTO_WRITE, "extra-flush": "0-4,6-7"},
        {"cp": TRY, "vm": SHARED},
    ),
    # The last entry is committed alone and completes a block: all get what one has.
    (
        "---b-----------[-]",
        "<bbbbbbbbbbbbbbbb>",
        "+0",
        {"accessed-by-fold": "0-2,4-15", "dirty-by-fold": "0-2,4-15"},
        {},
    ),
    ("[w--------------x]", "<xxxxxxxxxxxxxxxx>", "+0", {"dirty-by-fold": "0-14"}, WRITE),
    # The batch 15..16 is committed in two, as only the page behind is exclusive.
    (
        "---------------[--]---------------",
        "<---------------->w---------------",
        "+0",
        {},
        {"cp": TRY, **of_pages(64, 1 << 16)},
    ),
    # In one, so no fold is tried.
    (
        "---------------[--]---------------",
        "--------------------------------",
        "",
        {},
        {"cp": TRY, **of_pages(64)},
    ),
    # A block that becomes PROT_NONE is folded no more.
    ("<[----------------]>", "nnnnnnnnnnnnnnnn", "", {}, {"newprot": NONE_PROT}),
]


@pytest.mark.parametrize(("before", "after", "tlbi", "classes", "arguments"), SHOWN)
def test_what_the_batched_side_does_is_explained(before, after, tlbi, classes, arguments):
    assert left_by("batched", drawn_case(before, **arguments)) == (after, tlbi, classes)


@pytest.mark.parametrize(("before", "arguments"), [(row[0], row[4]) for row in SHOWN])
def test_what_the_reference_does_is_explained_entry_by_entry(before, arguments):
    """It is a target that changes one entry at a time."""
    case = drawn_case(before, **arguments)
    assert found_by(judge_case(case, load("reference", "arm64"), NONE), RED) == {}


# Folds and unfolds that only a target does that changes one entry at a time.
@pytest.mark.parametrize(
    ("before", "tlbi", "rung"),
    [
        ("<[----------------]>", "-0 +0", {"unfold-unneeded": "0", "fold-unneeded": "0"}),
        ("[----------------]", "+0", {"fold-unneeded": "0"}),
        ("<--------[--------]>", "-0 +0", {"fold-unneeded": "0"}),
        ("<-----[---]-------->", "-0", {}),
    ],
)
def test_exact_batching_rings_for_the_reference(before, tlbi, rung):
    case = drawn_case(before)
    assert left_by("reference", case, NONE)[1:] == (tlbi, {})
    assert left_by("reference", case, EXACT)[1:] == (tlbi, rung)


@pytest.mark.parametrize("before", ["[b---]------------", "[----a--d-]-------"])
def test_without_batches_nothing_is_merged(before):
    """The batched side is no target that changes one entry at a time."""
    judgement = judge_case(drawn_case(before), load("batched", "arm64"), NONE)
    assert set(found_by(judgement, RED)) <= {"accessed-gained", "dirty-gained"}
    assert found_by(judgement, RED)


@pytest.mark.parametrize(
    ("target", "batching"), [("reference", NONE), ("batched", EXACT), ("batched", ANY)]
)
def test_dirty_by_the_call_itself_is_shared_by_nobody(target, batching):
    """Wild: a newprot with DBM and without RDONLY makes each entry dirty, whatever its batch is."""
    case = drawn_case("[-----]-----------", newprot=RW & ~RDONLY, vm=SHARED)
    assert left_by(target, case, batching) == ("WWWWW-----------", "", {})
    # What the merge adds then is PTE_DIRTY alone.
    case = drawn_case("[---d-]-----------", newprot=RW & ~RDONLY, vm=SHARED)
    merged = {"dirty-moved": "0-2,4"} if target == "batched" else {}
    assert left_by(target, case, batching)[2] == merged


def test_an_upgrade_of_6_16_makes_dirty_by_itself():
    """Nobody shares it, and a block whose last entry it completes is dirty throughout."""
    case = drawn_case("-[--]-------------", cp=TRY, kernel="6.16")
    assert left_by("reference", case, NONE)[2] == {}
    case = drawn_case("wwwwwwwwwwwwwww[-]", cp=TRY, kernel="6.16")
    classes = {"dirty-by-fold": "0-14", "dirty-moved": "15"}
    assert left_by("reference", case, NONE) == ("<xxxxxxxxxxxxxxxx>", "+0", classes)


# What no kernel leaves: before, after, what it invalidates, what rings.
NOT_LEGAL: list[tuple[str, str, str, dict[str, str], Arguments]] = [
    # A cut block shares its bits throughout, outside the range too.
    (
        UNFOLD_FIRST,
        "baaaaaaaaaaaaaaa<bbbbbbbbbbbbbbbb>",
        "-0",
        {"outside-changed": "1-7", "dirty-lost": "8-15"},
        of_pages(32),
    ),
    # What is not folded has no bits in common with what is outside the range,
    (
        "baaaaaaa[aaaaaaaa]",
        "baaaaaaabbbbbbbb",
        "",
        {"dirty-gained": "8-15"},
        {},
    ),
    # nor with a folded block beside it,
    (
        "<b---------------><[----------------]>",
        "<b---------------><bbbbbbbbbbbbbbbb>",
        "",
        {"accessed-gained": "16-31", "dirty-gained": "16-31"},
        {},
    ),
    (
        "<[---b------------>----]------------",
        "<bbbbbbbbbbbbbbbb>bbbb------------",
        "",
        {"accessed-gained": "16-19", "dirty-gained": "16-19"},
        {},
    ),
    # nor with what is behind a hole, a swap entry or in another folio.
    (
        "[b-.-]-----------.",
        "bb.b-----------.",
        "",
        {"accessed-gained": "3", "dirty-gained": "3"},
        {},
    ),
    (
        "------[-d--]------",
        "------dddd------",
        "",
        {"dirty-gained": "8-9"},
        {"folios": (Folio(0x12340, 8, ANON, 0, 0), Folio(0x12348, 8, ANON, 0, 0))},
    ),
    # A folded block that no batch touches shares nothing.
    (
        "<--b-------------><[----------------]>",
        "<bbbbbbbbbbbbbbbb><---------------->",
        "",
        {"outside-changed": "0-1,3-15"},
        {},
    ),
    # So does one whose folio a NUMA scan skips.
    (
        "<[--b-------------]>",
        "<bbbbbbbbbbbbbbbb>",
        "",
        {"skipped-changed": "0-1,3-15"},
        {
            "cp": NUMA,
            "newprot": NONE_PROT,
            "folios": (replace(FOLIO[0], flags=ANON | int(f.FOLIO_PINNED)),),
        },
    ),
    # A fold shares only if it is that of the last entry,
    (
        "---b----------[-]-",
        "<bbbbbbbbbbbbbbbb>",
        "+0",
        {
            "outside-changed": "0-2,4-13,15",
            "accessed-gained": "14",
            "dirty-gained": "14",
            "fold-unneeded": "0",
        },
        {},
    ),
    # and only if the block is folded then,
    (
        "---b-----------[-]",
        "bbbbbbbbbbbbbbbb",
        "",
        {"outside-changed": "0-2,4-14", "accessed-gained": "15", "dirty-gained": "15"},
        {},
    ),
    # and only what one entry has.
    (
        "---a-----------[-]",
        "<bbbbbbbbbbbbbbbb>",
        "+0",
        {"outside-changed": "0-14", "dirty-gained": "15", "accessed-gained": "15"},
        {},
    ),
]


@pytest.mark.parametrize("batching", [EXACT, ANY])
@pytest.mark.parametrize(("before", "after", "tlbi", "rung", "arguments"), NOT_LEGAL)
def test_nothing_wider_is_explained(before, after, tlbi, rung, arguments, batching):
    found = verdict(before, after, tlbi, kinds=RED, batching=batching, **arguments)
    assert found.pop("invariant-N", "") in ("", found.get("outside-changed"))
    assert found == rung


# A fold by a commit of the last entry together with others: no kernel tries one.
NOT_ALONE: list[tuple[str, str, str, dict[str, str], Arguments]] = [
    # A commit of two,
    (
        "b-------------[--]",
        "<bbbbbbbbbbbbbbbb>",
        "+0",
        {
            "outside-changed": "1-13",
            "accessed-gained": "14-15",
            "dirty-gained": "14-15",
            "fold-unneeded": "0",
        },
        {},
    ),
    # a batch that goes on behind the block.
    (
        "---b-----------[--]---------------",
        "<bbbbbbbbbbbbbbbb>----------------",
        "+0",
        {
            "outside-changed": "0-2,4-14",
            "accessed-gained": "15",
            "dirty-gained": "15",
            "fold-unneeded": "0",
        },
        {"cp": TRY, **of_pages(64)},
    ),
]


@pytest.mark.parametrize(("before", "after", "tlbi", "rung", "arguments"), NOT_ALONE)
def test_only_a_commit_of_the_last_entry_alone_folds(before, after, tlbi, rung, arguments):
    assert verdict(before, after, tlbi, kinds=RED, **arguments) == rung
    # Which all are of a target that may cut its batches anywhere, or has none.
    for batching in (ANY, NONE):
        assert verdict(before, after, tlbi, kinds=RED, batching=batching, **arguments) == {}


# Entries outside the range.

CUT = "<-----[b--]-------->"


@pytest.mark.parametrize("mark", [*"wWxusn.", "-", "a", "d"])
def test_outside_the_range_only_cont_accessed_and_dirty_change(mark):
    """In a cut block: the bits of all, and nothing else."""
    after = f"{mark}bbbbbbbbbbbbbbb"
    assert verdict(CUT, "b" * 16, "-0", kinds=RED) == {}
    found = verdict(CUT, after, "-0", kinds=RED)
    assert found.pop("outside-changed") == "0"
    # What looks like another repainting is the relation's business alone.
    assert found == ({} if mark in "-ad" else {"invariant-N": "0"})


@pytest.mark.parametrize("mark", ["-", "a", "d"])
def test_outside_the_range_nothing_is_lost(mark):
    """Of which the invariant rings, too: no repainting takes a bit away."""
    before = "<b----[---]-------->"
    assert verdict(before, "b" * 16, "-0", kinds=RED) == {}
    found = verdict(before, f"{mark}bbbbbbbbbbbbbbb", "-0", kinds=RED)
    assert found == {"outside-changed": "0", "invariant-N": "0"}


@pytest.mark.parametrize("mark", [*"abwWxusn."])
@pytest.mark.parametrize("at", [0, 8, 15])
def test_beside_a_range_that_cuts_no_block_nothing_changes(at, mark):
    before = "-----[-..]--------"
    after = "------..--------"
    assert verdict(before, after) == {}
    spoiled = after[:at] + mark + after[at + 1 :]
    assert verdict(before, spoiled)["outside-changed"] == str(at)


def test_other_page_outside_the_range():
    case = drawn_case(CUT)
    after = list(words_of("b" * 16)[0])
    after[0] += 1 << 12
    verdict_of = judged(case, tuple(after), kinds=("divergence",), implicit=((1, 0),))
    assert places(verdict_of.entries, verdict_of.case) == {"outside-changed": "0"}


# Words that are not present.

BIT_52 = CONT
SWAP = 0x100_0040


@pytest.mark.parametrize(
    ("cp", "written", "rung"),
    [
        # set_ptes() clears bit 52 of all that it stores, an offset bit here.
        (WP, SWAP | 1 << 3, {}),
        (WP, SWAP | 1 << 3 | BIT_52, {"swap-changed": "0"}),
        # Not changed, so not stored.
        (0, SWAP | BIT_52, {}),
        (0, SWAP, {"swap-changed": "0"}),
    ],
)
def test_bit_52_of_a_swap_entry_is_an_offset_bit(cp, written, rung):
    rest = words_of("-" * 15)[0]
    case = drawn_case("[.]---------------", cp=cp, vm=UFFD_VMA)
    case = case.replace(ptes=(SWAP | BIT_52, *rest))
    found = judged(case, (written, *rest), kinds=("divergence",))
    assert places(found.entries, found.case) == rung


# Flushes.


@pytest.mark.parametrize(
    ("before", "flush", "found"),
    [
        ("<[----------------]>", "f" * 16, {}),
        ("<[----------------]>", "f" * 8, {"flush-missing": "8-15"}),
        ("[----------------]", "f" * 15, {"flush-missing": "15"}),
        ("[----------------]", "f" * 7 + "-" + "f" * 8, {"flush-missing": "7"}),
    ],
)
def test_execution_allowed_is_flushed_page_by_page(before, flush, found):
    case = drawn_case(before, newprot=RO_EXEC)
    after = tuple(word & ~(1 << 54) for word in case.ptes)
    judgement = judged(case, after, flush, kinds=("divergence",))
    assert places(judgement.entries, judgement.case) == found


@pytest.mark.parametrize(
    ("before", "after", "tlbi"),
    [
        ("<----[----]-------->", "----------------", "-0"),
        ("---------------[-]", "<---------------->", "+0"),
        ("[----------------]", "<---------------->", ""),
    ],
)
def test_cont_is_no_reason_for_a_request(before, after, tlbi):
    _, start, end = words_of(before)
    flush = "-" * start + "f" * (end - start)
    found = verdict(before, after, tlbi, flush, kinds=RED)
    assert found == {"flush-unneeded": f"{start}-{end - 1}" if end - start > 1 else f"{start}"}


# A target that cuts its batches anywhere.

ALIKE = {"all": "targets"}


@pytest.mark.parametrize(
    ("before", "after", "tlbi", "exact", "anywhere"),
    [
        # [a-] and [d-]: neither the entries alone nor all of them together.
        (
            "[a-d-]------------",
            "aadd------------",
            "",
            {"dirty-lost": "1", "accessed-lost": "3"},
            {},
        ),
        ("[a-d-]------------", "aabb------------", "", {"dirty-lost": "1"}, {}),
        ("[a-.d]------------", "aa.b------------", "", {"accessed-gained": "3"}, ALIKE),
        # The entry that is written last, alone: folded.
        ("[-------d--------]", "<dddddddddddddddd>", "+0", {"fold-unneeded": "0"}, {}),
        # In two halves: the block has to be unfolded.
        (
            "<[----------------]>",
            "----------------",
            "-0",
            {"unfold-unneeded": "0"},
            {},
        ),
        # A block that this call does not touch is nothing to unfold for any target.
        (
            "<----------------><[----------------]>",
            "<----------------><---------------->",
            "-0",
            {"unfold-unneeded": "0"},
            ALIKE,
        ),
        ("<----[----]-------->", "----------------", "", {"unfold-missing": "0"}, ALIKE),
    ],
)
def test_batches_anywhere(before, after, tlbi, exact, anywhere):
    assert verdict(before, after, tlbi, kinds=RED) == exact
    found = verdict(before, after, tlbi, kinds=RED, batching=ANY)
    assert found == (exact if anywhere == ALIKE else anywhere)


# pte_mkcont() until 6.12 set the type bits too (wild: every page has both).


def test_fold_sets_the_type_bits_of_older_kernels():
    untyped = tuple(word & ~2 for word in words_of("-" * 16)[0])
    case = drawn_case("---------------[-]").replace(ptes=untyped)
    folded = tuple(word | CONT for word in untyped)
    typed = tuple(word | 2 for word in folded)
    for kernel, right, wrong in (
        ("6.12", typed, folded),
        ("6.16", folded, typed),
        ("7.3", folded, typed),
    ):
        of_kernel = case.replace(kernel=kernel)
        # Before 6.19 what is changed is flushed, whatever that is.
        outcome = {"flush": "-" * 15 + ("-" if kernel == "7.3" else "f"), "implicit": rows("+0")}
        assert judged(of_kernel, right, **outcome, batching=NONE).all == set()
        found = judged(of_kernel, wrong, **outcome, batching=NONE, kinds=("divergence",))
        assert places(found.entries, found.case) == {
            "outside-changed": "0-14",
            "bits-changed": "15",
        }
