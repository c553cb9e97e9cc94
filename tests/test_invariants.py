"""The invariants: silent on what real kernels leave, loud on what none may, and no wider.

Outcomes are drawn (tests.drawing) and judged without any target.
"""

from itertools import islice
from pathlib import Path

import pytest

from harness import classes
from harness.sane import is_sane
from harness.vectors import EXPECTATIONS, read
from mm import flags as f
from mm.jit import ROOT

from .drawing import (
    NUMA,
    PAGE_NONE,
    PRIVATE,
    READ_ONLY,
    RESOLVE,
    SHARED,
    TRACKED,
    TRY,
    WP,
    drawn_case,
    judged,
)

VECTORS = Path(ROOT / "corpus/vectors/x86_64")
UFFD = PRIVATE | int(f.VM_UFFD_WP)
PFNMAP = PRIVATE | int(f.VM_PFNMAP)
RO_EXEC = 0x25
EXECUTABLE = READ_ONLY | int(f.VM_EXEC | f.VM_MAYEXEC)
KEY_1 = 0x8800_0000_0000_0025
WILD = TRY | NUMA  # no caller asks for both

MARKER = "0xfffffffffffffc00"
POISON = "0xfffffffffffffa00"
GUARD = "0xfffffffffffff600"
SWAP = "0x07fffffffffffc00"
SWAP_SOFT_DIRTY = "0x07fffffffffffc02"
SWAP_ELSEWHERE = "0x07fffffffffffa00"
# pfn 0x12345; the types are 25, 26, 27 (migration), 28, 29 (device-private write, read).
MIGRATION_WRITE = "0xdffffffffdb97400"
MIGRATION_READ_EXCLUSIVE = "0xd7fffffffdb97400"
DEVICE_WRITE = "0xe7fffffffdb97402"
DEVICE_READ = "0xeffffffffdb97400"


def rung(before: str, after: str, flush: str = "", *, touch=None, **case) -> tuple[str, bool]:
    """The letters that ring, in order of the alphabet, and whether the case is sane."""
    drawn = drawn_case(before, **case)
    found = judged(drawn, after, flush, kinds=(classes.INVARIANT,), touch=touch).all
    return "".join(sorted(name.removeprefix("invariant-") for name in found)), is_sane(drawn)


FILE = {"anon": False, "folio_flags": 0}
SHARED_VMA = {"vma": SHARED, "anon": False}
NOT_EXCLUSIVE = {"exclusive": {"A": "x.xx"}}
R = {"vma": READ_ONLY}

# What no kernel may leave; the letters that must ring.
LOUD = [
    # N: outside the range.
    ("N", "A0s [A1s]", "A0as A1s", "", R),
    ("N", "[A1s] A2s", "A1s .", "", R),
    ("N", "A0s [A1s]", "A0s A1s", "f-", R),
    ("N", "[A1s] A2s", "A1s A2s", "ff", R),
    # W: a private mapping writable without an exclusive anon page.
    ("W", "[A1s]", "A1ws", "f", {"cp": TRY, **NOT_EXCLUSIVE}),
    ("W", "[A1s]", "A1ws", "f", {"cp": TRY, **FILE}),
    ("W", "[U1s]", "U1ws", "f", {"cp": TRY}),
    ("W", "[A1sz]", "A1wsz", "f", {"cp": TRY, "vma": PFNMAP, "anon": False}),
    # V: writable without VM_WRITE.
    ("V", "[A1s]", "A1ws", "f", R),
    ("V", "[A1ws]", "A1ws", "", R),
    # U: writable with the uffd bit.
    ("U", "[A1su]", "A1wsu", "f", {"vma": UFFD}),
    ("U", "[A1ws]", "A1wsu", "f", {"vma": UFFD, "cp": WP}),
    # D: dirty or accessed lost.
    ("D", "[A1ds]", "A1s", "", R),
    ("D", "[A1wds]", "A1s", "f", R),
    ("D", "[A1as]", "A1s", "", R),
    ("D", "[A1dsn]", "A1s", "", R),
    # S: soft-dirty lost.
    ("S", "[A1s]", "A1", "", R),
    ("S", f"[{SWAP_SOFT_DIRTY}]", SWAP, "", R),
    ("S", "[0xdffffffffdb97402]", MIGRATION_READ_EXCLUSIVE, "", R),
    # F: another page or none.
    ("F", "[A1s]", "A2s", "f", R),
    ("FS", "[A1s]", ".", "f", R),
    ("F", "[A1n]", "A2n", "", R),
    # No longer present, but its PFN field would still read as page 1, and bit 1 as write.
    ("F", "[A1s]", "0x000fffffedcbe802", "f", R),
    ("F", f"[{SWAP}]", "0x07fffffffffffc01", "", R),
    ("F", f"[{SWAP}]", SWAP_ELSEWHERE, "", R),
    ("F", f"[{SWAP}]", ".", "", R),
    ("F", "[.]", "A1s", "", R),
    ("F", "[.]", POISON, "", R),
    ("F", "[.]", SWAP, "", R),
    ("F", f"[{MARKER}]", POISON, "", R),
    # T: not covered, and a TLB entry grants what is no more.
    ("T", "[A1ws]", "A1s", "", R),
    ("T", "[A1ws A2ws]", "A1s A2s", "f-", R),
    ("T", "[A1as]", "A1nas", "", {"cp": NUMA, "newprot": PAGE_NONE}),
    ("T", "[A1sx]", "A1s", "", R),
    ("T", "[A1s]", "A1sp", "", {**R, "newprot": KEY_1}),
    ("T", "[A1sp]", "A1s", "", R),
    ("T", "[A1sc]", "A1s", "", R),
    ("FT", "[A1s]", "A2s", "", R),
    ("DT", "[A1wds]", "A1ws", "", {}),
    # The CPU sets dirty once, so a cached dirty entry loses the next write.
    ("T", "[A1wds]", "A1ds", "", R),
    # X: bits that never come together.
    ("X", "[A1s]", "A1sD", "", R),
    ("X", "[A1ds]", "0x8400000012341827", "", {}),
    ("X", "[A1sn]", "A1wsn", "", {}),
    ("X", f"[{MIGRATION_WRITE}]", MIGRATION_WRITE, "", R),
    ("X", "[0xe7fffffffdb97400]", "0xe7fffffffdb97400", "", R),
]


@pytest.mark.parametrize(("letters", "before", "after", "flush", "case"), LOUD)
def test_what_no_kernel_may_leave_rings(letters, before, after, flush, case):
    assert rung(before, after, flush, **case) == (letters, True)


def test_every_letter_has_a_picture():
    """B is about blocks, which only arm64 has: test_contpte_blocks."""
    letters = {c.name[-1] for c in classes.CLASSES if c.kind == classes.INVARIANT} - {"B"}
    assert {letter for row in LOUD for letter in row[0]} == letters


# What a kernel does, though a careless wording would ring.
SILENT = [
    # Writable is a bit of present entries: there, it is soft-dirty in a swap entry.
    (f"[{SWAP_SOFT_DIRTY}]", SWAP_SOFT_DIRTY, "", R),
    # Entries outside the range still have the old protection.
    ("A0ws [A1ws]", "A0ws A1s", "-f", R),
    # So has the input: the VMA's flags are already the new ones.
    ("[A1ws]", "A1s", "f", R),
    # A shared mapping needs no exclusive page.
    ("[A1ds]", "A1wds", "f", {"cp": TRY, **SHARED_VMA, **NOT_EXCLUSIVE}),
    ("[A1ws]", "A1ws", "", {"vma": SHARED, "anon": False, "newprot": 0x8000000000000027}),
    # Exclusivity is the page's, not the folio's.
    ("[A1s A2s]", "A1ws A2s", "f-", {"cp": TRY, "exclusive": {"A": ".x.."}}),
    # Dirty may move between its two bits, and entries may gain both.
    ("[A1wds]", "A1ds", "f", R),
    ("[A1ds]", "A1wds", "f", {"cp": TRY}),
    ("[A1s A2ads]", "A1ads A2ads", "", R),
    ("[A1 A2d]", "A1wds A2wds", "ff", {"cp": TRY, "vma": TRACKED}),
    # The page is what the PFN field means, not what it holds.
    ("[A1as]", "A1asn", "f", {"cp": NUMA, "newprot": PAGE_NONE}),
    ("[A1asn]", "A1as", "", R),
    # What becomes of swap entries.
    (f"[{MARKER}]", ".", "", {"cp": RESOLVE, "vma": UFFD}),
    ("[.]", MARKER, "", {"cp": WP, "vma": UFFD, "anon": False}),
    (f"[{GUARD}]", GUARD, "", R),
    (f"[{MIGRATION_WRITE}]", MIGRATION_READ_EXCLUSIVE, "", R),
    (f"[{DEVICE_WRITE}]", DEVICE_READ, "", R),
    # A TLB never holds what is not valid.
    ("[A1sn]", "A1s", "", R),
    ("[A1snp]", "A1s", "", R),
    # A right more is no stale right; nor is what only software reads.
    ("[A1s]", "A1ws", "", {"cp": TRY}),
    ("[A1s]", "A1sx", "", {"vma": EXECUTABLE, "newprot": RO_EXEC}),
    ("[A1s]", "A1su", "", {"cp": WP, "vma": UFFD}),
    ("[A1s]", "A1ads", "", R),
    # A TLB holds the entry's own word: dirty of entry 2 is not cached for entry 1.
    ("[A1ws A2wds]", "A1ws A2wds", "", {"newprot": 0x8000000000000027, **SHARED_VMA}),
]


@pytest.mark.parametrize(("before", "after", "flush", "case"), SILENT)
def test_what_a_kernel_leaves_is_silent(before, after, flush, case):
    assert rung(before, after, flush, **case) == ("", True)


# A wild input breaks some invariants before any call; the others hold for it, too.
WILD_CASES = [
    ("", "[A1s]", "A1ws", "f", {"cp": WILD, **NOT_EXCLUSIVE}),
    ("", "[A1ws]", "A1ws", "", {"cp": WILD, "vma": READ_ONLY}),
    ("", "[A1wsu]", "A1wsu", "", {"cp": WILD}),
    ("", "[A1sD]", "A1sD", "", {"cp": WILD}),
    ("", f"[{MIGRATION_WRITE}]", MIGRATION_WRITE, "", {"cp": WILD}),
    ("", "[.]", POISON, "", {"cp": WILD}),
    # Dirty of a read-only entry is no right to a TLB.
    ("", "[A1sD]", "A1ds", "", {"vma": READ_ONLY}),
    ("N", "A0s [A1s]", "A0as A1s", "", {"cp": WILD}),
    ("D", "[A1ds]", "A1s", "", {"cp": WILD}),
    ("S", "[A1s]", "A1", "", {"cp": WILD}),
    ("F", "[A1s]", "A2s", "f", {"cp": WILD}),
    ("F", f"[{SWAP}]", SWAP_ELSEWHERE, "", {"cp": WILD}),
    ("T", "[A1ws]", "A1s", "", {"cp": WILD}),
    # Page frame 0 and those above the memory map may pass through the word 0.
    ("T", "[0x1]", ".", "", {"newprot": 0}),
    ("", "[0x1]", ".", "f", {"newprot": 0}),
    ("", "[0x000ffffffffff001]", ".", "f", {"newprot": 0}),
    ("F", "[0x1001]", ".", "f", {"newprot": 0}),
]


@pytest.mark.parametrize(("letters", "before", "after", "flush", "case"), WILD_CASES)
def test_wild_cases(letters, before, after, flush, case):
    assert rung(before, after, flush, **case) == (letters, False)


def test_hardware_bits_of_a_rewritten_entry_must_not_be_lost():
    case = {"vma": READ_ONLY, "hardware": ((0, 0x60),)}
    assert rung("[A1ws]", "A1ads", "f", **case) == ("", True)
    assert rung("[A1ws]", "A1s", "f", **case) == ("D", True)
    assert rung("[A1ws]", "A1as", "f", **case) == ("D", True)
    # Not rewritten, not taken: the walker's bits come later, on their own.
    assert rung("[A1ws]", "A1ws", "", hardware=((0, 0x60),)) == ("", True)


@pytest.mark.parametrize(
    ("name", "count"), [("small", 250), ("present-only", 40), ("rwp", 60), ("612-native", 60)]
)
def test_golden_outcomes_are_silent(name: str, count: int):
    """Of both kernels; those that need their swap types renumbered are in test_vectors."""
    judged_outcomes = 0
    for vector in islice(read(VECTORS / f"{name}.jsonl.xz"), count):
        expectation = "expect_6_12" if vector.native_6_12 else "expect_7_3"
        if vector.wild:
            continue
        expect = vector.expect[expectation]
        verdict = judged(
            vector.case.replace(kernel=EXPECTATIONS[expectation]),
            tuple(int(word, 16) for word in expect.ptes),
            [(int(address, 16), pages) for address, pages in expect.flush],
            kinds=(classes.INVARIANT,),
        )
        assert verdict.all == set(), (vector.line, verdict)
        judged_outcomes += 1
    assert judged_outcomes >= count * 3 // 4


def test_a_private_write_is_what_the_invariants_see_of_the_historical_bug():
    """Of its outcomes those that are wrongly read-only ring nowhere: the relation must see them."""
    rings, mute = 0, 0
    for vector in islice(read(VECTORS / "bug.jsonl.xz"), 40):
        if vector.wild:
            continue
        expect = vector.expect["expect_7_3_bug"]
        verdict = judged(
            vector.case,
            tuple(int(word, 16) for word in expect.ptes),
            [(int(address, 16), pages) for address, pages in expect.flush],
            kinds=(classes.DIVERGENCE, classes.INVARIANT),
        )
        letters = {name for name in verdict.all if name.startswith("invariant-")}
        assert letters <= {"invariant-W"}
        assert ("cow-write" in verdict.all) == (letters == {"invariant-W"})
        assert verdict.all & {"cow-write", "write-lost"}
        rings, mute = rings + bool(letters), mute + (not letters)
    assert rings
    assert mute
