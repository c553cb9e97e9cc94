"""The relation: each explained class is needed, none is wider than batching is, and the rest is red.

Outcomes are drawn (tests.drawing) and judged without any target.
"""

from pathlib import Path

import pytest

from harness import classes
from harness.relation import ANY, EXACT
from harness.vectors import read
from mm import flags as f
from mm.jit import ROOT

from .drawing import (
    PRIVATE,
    READ_ONLY,
    SHARED,
    TRACKED,
    TRY,
    WP,
    drawn_case,
    judged,
    word,
)

UFFD = PRIVATE | int(f.VM_UFFD_WP)
MINIMAL = {v.name: v for v in read(Path(ROOT / "corpus/vectors/x86_64/minimal.jsonl.xz"))}

# Name in the golden file: the classes of what the batched kernel did.
GOLDEN = {
    "bug: wrongly writable, smallest": [set()],
    "bug: wrongly read-only, smallest": [set()],
    "R/B: extra accessed": [set(), {"accessed-merged"}],
    "R/B: extra dirty (anon, to read-only)": [set(), {"dirty-merged"}],
    "R/B: extra soft-dirty, soft-dirty tracking on": [
        {"dirty-merged", "soft-dirty-merged"},
        {"soft-dirty-merged"},
    ],
    "R/B: writable by merged soft-dirty, private anon, tracking on": [
        {"dirty-merged", "soft-dirty-merged", "write-by-merged-soft-dirty", "extra-flush"},
        {"soft-dirty-merged"},
    ],
    "R/B: writable by merged dirty, shared file": [
        {"dirty-merged", "write-by-merged-dirty", "extra-flush"},
        set(),
    ],
    "R/B: extra flush": [{"dirty-merged", "write-by-merged-dirty", "extra-flush"}, set()],
}


def golden(name: str, expectation: str):
    vector = MINIMAL[name]
    expect = vector.expect[expectation]
    return judged(
        vector.case,
        tuple(int(w, 16) for w in expect.ptes),
        [(int(address, 16), pages) for address, pages in expect.flush],
        pages=expect.pages,
    )


@pytest.mark.parametrize("name", MINIMAL)
def test_what_a_real_kernel_does_is_explained(name: str):
    """By its class alone: the reference itself does not yield the word."""
    verdict = golden(name, "expect_7_3")
    assert verdict.entries == GOLDEN[name]
    assert verdict.case == set()
    for mine, his, found in zip(
        verdict.ours, MINIMAL[name].expect["expect_7_3"].ptes, verdict.entries, strict=True
    ):
        assert (mine == int(his, 16)) == (found == set())


@pytest.mark.parametrize(
    ("name", "shows"),
    [
        ("bug: wrongly writable, smallest", {"cow-write", "flush-unneeded"}),
        ("bug: wrongly read-only, smallest", {"write-lost"}),
    ],
)
def test_the_historical_bug_is_not_explained(name: str, shows: set[str]):
    assert golden(name, "expect_7_3_bug").entries == [shows]


# A spread: from an entry S to an entry T. Letters of S, of T, of T afterwards; then call and VMA.
SPREADS = {
    "accessed": ("as", "s", "as", 0, READ_ONLY),
    "dirty": ("ds", "s", "ds", 0, READ_ONLY),
    "soft-dirty": ("d", "", "ds", 0, READ_ONLY),
    "shared write": ("ds", "s", "wds", TRY, SHARED),
    "private write": ("d", "", "wds", TRY, TRACKED),
}
EXPLAINED_BY = {
    "accessed": {"accessed-merged"},
    "dirty": {"dirty-merged"},
    "soft-dirty": {"dirty-merged", "soft-dirty-merged"},
    "shared write": {"dirty-merged", "write-by-merged-dirty", "extra-flush"},
    "private write": {
        "dirty-merged",
        "soft-dirty-merged",
        "write-by-merged-soft-dirty",
        "extra-flush",
    },
}
UNEXPLAINED = {
    "accessed": {"accessed-gained"},
    "dirty": {"dirty-gained"},
    "soft-dirty": {"dirty-gained", "soft-dirty-gained"},
    "shared write": {"dirty-gained", "write-gained", "flush-unneeded"},
    "private write": {"dirty-gained", "soft-dirty-gained", "write-gained", "flush-unneeded"},
}
LEGAL = ("[A0T A1S]", "[A2T A3S]", "A0S [A1T A2S]", "[A0 A1T A2S]", "[A3S B0T B1S]")
NOT_LEGAL = {
    "folio behind": "[A3T B0S]",
    "folio before": "[A3S B0T]",
    "single pages": "[O0T P0S]",
    "pages of no folio": "[U0T U1S]",
    "another key": "[A0T A1Sp]",
    "other soft-dirty": "[A0T A1!]",
    "behind a hole": "[A0T . A2S]",
    "before a hole": "[A0S . A2T]",
    "behind a swap entry": "[A0T 0x07fffffffffffc00 A2S]",
    "before the range": "A0S [A1T]",
    "behind the range": "[A0T] A1S",
    "pages left out": "[A0T A2S]",
    "page again": "[A1T A1S]",
    "pages backwards": "[A1T A0S]",
    "not valid": "[A0T A1Sn]",
    "special": "[A0Tz A1Sz]",
}


def spread(picture: str, name: str, batching: int = EXACT) -> set[str]:
    """The classes of entry T where what S has reached it, and all others are as they should be."""
    source, target, gets, cp, vma = SPREADS[name]
    flipped = source.replace("s", "") if "s" in source else source + "s"
    before = picture.replace("S", source).replace("!", flipped).replace("T", target)
    case = drawn_case(before, cp=cp, vma=vma)
    entries = picture.replace("[", "").replace("]", "").split()
    at = next(i for i, entry in enumerate(entries) if "T" in entry)
    # As the reference leaves them, so with its flushes.
    untouched = judged(case, case.ptes).ours
    got = word(entries[at].replace("T", gets))
    after = (*untouched[:at], got, *untouched[at + 1 :])
    flush = "".join("f" if i == at and "w" in gets else "-" for i in range(len(after)))
    return judged(case, after, flush, batching=batching).entries[at]


@pytest.mark.parametrize("name", SPREADS)
@pytest.mark.parametrize("picture", LEGAL)
def test_spread_inside_a_batch_is_explained(picture: str, name: str):
    assert spread(picture, name) == EXPLAINED_BY[name]


@pytest.mark.parametrize("batching", [EXACT, ANY])
@pytest.mark.parametrize("name", SPREADS)
@pytest.mark.parametrize("where", NOT_LEGAL)
def test_spread_from_elsewhere_is_a_divergence(where: str, name: str, batching: int):
    found = spread(NOT_LEGAL[where], name, batching)
    if name == "private write" and where in ("pages of no folio", "special"):
        # What is no anon-exclusive page shows as the worse class.
        assert "cow-write" in found
        found = found - {"cow-write"} | {"write-gained"}
    assert found == UNEXPLAINED[name]


def test_only_what_the_merge_did_is_named():
    """Both results are writable, so write is not by the merge."""
    case = drawn_case("[A0as A1s]", cp=TRY)
    assert judged(case, "A0was A1was", "ff").entries == [set(), {"accessed-merged"}]


@pytest.mark.parametrize("batching", [EXACT, ANY])
def test_dirty_first_entry_makes_nothing_soft_dirty(batching: int):
    """modify_prot_start_ptes() merges into the first entry, so pte_mkdirty() never runs for it."""
    case = drawn_case("[A0d A1]", vma=READ_ONLY)
    assert judged(case, "A0d A1d", batching=batching).entries == [set(), {"dirty-merged"}]
    found = judged(case, "A0ds A1ds", batching=batching).entries
    assert found == [{"soft-dirty-gained"}, {"soft-dirty-gained"}]


def test_merge_takes_all_or_nothing():
    """The exact merge is one word: half of it was made by no batch."""
    case = drawn_case("[A0s A1ads]", vma=READ_ONLY)
    assert judged(case, "A0ads A1ads").entries == [{"accessed-merged", "dirty-merged"}, set()]
    assert judged(case, "A0s A1ads").entries == [set(), set()]
    # Named by how it differs from the merge, which is as near as the entry's own word.
    assert judged(case, "A0as A1ads").entries == [{"dirty-lost"}, set()]
    assert judged(case, "A0ds A1ads").entries == [{"accessed-lost"}, set()]
    # And by the entry's own word where that is nearer.
    assert judged(case, "A0su A1ads").entries == [{"uffd-changed"}, set()]


# What a target may leave that cuts the legal batch [A0 A1 A2d A3] where it likes.
@pytest.mark.parametrize(
    ("before", "after", "explained"),
    [
        ("[A0 A1 A2d A3]", "A0ds A1ds A2ds A3ds", True),
        ("[A0 A1 A2d A3]", "A0 A1 A2d A3", True),
        ("[A0 A1 A2d A3]", "A0 A1 A2d A3d", True),  # [A0 A1] [A2d A3]
        ("[A0 A1 A2d A3]", "A0 A1ds A2ds A3", True),  # [A0] [A1 A2d] [A3]
        ("[A0s A1ads A2s]", "A0as A1ads A2ads", True),
        ("[A0a A1 A2d]", "A0a A1ds A2ds", True),  # [A0a] [A1 A2d]
        ("[A0 A1 A2d A3]", "A0a A1 A2d A3", False),
        ("[A0 A1 A2d A3]", "A0s A1 A2d A3", False),
        ("[A0d A1]", "A0d A1ds", False),
        ("[A0 A1]", "A0 A1d", False),
        ("[A0d] A1", "A0d A1d", False),
        ("[A0d A1]", "A0 A1d", False),
        ("[A0d A1]", "A0d A1u", False),
    ],
)
def test_tolerant_form_accepts_sub_batches_only(before: str, after: str, explained: bool):
    red = set(classes.names(int(classes.RED_BITS)))
    found = judged(drawn_case(before, vma=READ_ONLY), after, batching=ANY)
    assert (found.all & red == set()) == explained


def test_tolerant_form_still_wants_the_flush():
    """The sub-batch [A1 A2d] becomes writable, which no page may do unflushed."""
    case = drawn_case("[A0a A1 A2d]", cp=TRY, vma=TRACKED)
    covered = judged(case, "A0a A1wds A2wds", "-ff", batching=ANY)
    assert not covered.all & set(classes.names(int(classes.RED_BITS)))
    assert "extra-flush" in covered.entries[1]
    missing = judged(case, "A0a A1wds A2wds", "--f", batching=ANY)
    assert missing.all & set(classes.names(int(classes.RED_BITS))) == {"flush-missing"}
    assert "flush-missing" in missing.entries[1]


def test_exact_form_refuses_sub_batches():
    case = drawn_case("[A0 A1 A2d A3]", vma=READ_ONLY)
    assert judged(case, "A0 A1 A2d A3d").entries[3] == {"soft-dirty-lost"}
    assert judged(case, "A0 A1ds A2ds A3").all == {"dirty-merged", "soft-dirty-merged"}


def test_dirtiness_that_moved():
    """Wild: RW clear and D set. The merge moves the bit, the entry alone would keep it."""
    case = drawn_case("[A0aD A1ad]", vma=READ_ONLY)
    assert judged(case, "A0ads A1ads").entries[0] == {"soft-dirty-merged"}
    case = drawn_case("[A0asD A1ads]", vma=READ_ONLY)
    assert judged(case, "A0ads A1ads").entries == [{"dirty-moved"}, set()]
    for alone in ("[A0asD] A1ads", "[A0asD . A2ads]"):
        case = drawn_case(alone, vma=READ_ONLY)
        after = alone.replace("[", "").replace("]", "").replace("A0asD", "A0ads")
        assert judged(case, after).entries[0] == {"bits-changed"}


# Before, after and flushes; call and VMA; classes of each entry.
FLUSHES = [
    # Needed: read-only is a right less, and a write upgrade flushes as well.
    ("[A0w A1w]", "A0 A1", "ff", 0, READ_ONLY, [set(), set()]),
    ("[A0w A1w]", "A0 A1", "f|f", 0, READ_ONLY, [set(), set()]),
    ("[A0w A1w]", "A0 A1", "f-", 0, READ_ONLY, [set(), {"flush-missing"}]),
    ("[A0w A1w]", "A0 A1", "--", 0, READ_ONLY, [{"flush-missing"}, {"flush-missing"}]),
    # The hull of two requests covers what neither does.
    ("[A0w A1w A2w]", "A0 A1 A2", "f-f", 0, READ_ONLY, [set(), {"flush-missing"}, set()]),
    ("[A0s A1s]", "A0ws A1ws", "f-", TRY, PRIVATE, [set(), {"flush-missing"}]),
    # Not needed by anything.
    ("[A0 A1w]", "A0 A1", "ff", 0, READ_ONLY, [{"flush-unneeded"}, set()]),
    ("[A0n]", "A0", "f", 0, READ_ONLY, [{"flush-unneeded"}]),
    ("[.]", ".", "f", 0, READ_ONLY, [{"flush-unneeded"}]),
    ("[0x07fffffffffffc00]", "0x07fffffffffffc00", "f", 0, READ_ONLY, [{"flush-unneeded"}]),
    # Needed by the merged entry alone, which is what the target has: a cost, but not optional.
    (
        "[A0s A1ds]",
        "A0wds A1wds",
        "ff",
        TRY,
        SHARED,
        [{"dirty-merged", "write-by-merged-dirty", "extra-flush"}, set()],
    ),
    (
        "[A0s A1ds]",
        "A0wds A1wds",
        "-f",
        TRY,
        SHARED,
        [{"dirty-merged", "write-by-merged-dirty", "flush-missing"}, set()],
    ),
    ("[A0s A1ds]", "A0s A1wds", "ff", TRY, SHARED, [{"extra-flush"}, set()]),
    # Needed by the entry alone, which is not what the target has.
    (
        "[A0ws A1wds]",
        "A0wds A1wds",
        "--",
        TRY,
        SHARED,
        [{"dirty-merged", "write-by-merged-dirty", "flush-elided"}, set()],
    ),
    ("[A0ws A1wds]", "A0s A1wds", "--", TRY, SHARED, [{"flush-missing"}, set()]),
    # Not excused by a merge from elsewhere.
    (
        "[A0ws . A2wds]",
        "A0wds . A2wds",
        "---",
        TRY,
        SHARED,
        [{"dirty-gained", "write-gained"}, set(), set()],
    ),
    # Wild: both ways the same word, and only the entry alone gives up the hardware's bit.
    ("[A0sD A1ds]", "A0dsu A1dsu", "--", WP, UFFD, [{"flush-elided"}, set()]),
    ("[A0sD A1ds]", "A0dsu A1dsu", "f-", WP, UFFD, [set(), set()]),
    ("[A0sD A1s]", "A0dsu A1su", "--", WP, UFFD, [{"flush-missing"}, set()]),
]


@pytest.mark.parametrize("batching", [EXACT, ANY])
@pytest.mark.parametrize(("before", "after", "flush", "cp", "vma", "found"), FLUSHES)
def test_flush_has_a_direction(before, after, flush, cp, vma, found, batching):
    verdict = judged(drawn_case(before, cp=cp, vma=vma), after, flush, batching=batching)
    assert verdict.entries == found
    assert verdict.case == set()
