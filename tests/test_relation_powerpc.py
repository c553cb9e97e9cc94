"""The relation on powerpc: newprot taken whole, pte_mkdirty() of a batch, coprocessors, the hash MMU.

Outcomes are drawn (tests.drawing) and judged without any target, but where one is named.
"""

from pathlib import Path

import pytest

from harness import classes
from harness.case import Case, layout_of
from harness.casefile import read_case
from harness.relation import ANY, EXACT, NONE
from harness.run import judge_case
from harness.targets import load
from harness.vectors import read
from mm import powerpc
from mm.jit import ROOT
from mm.state import FOLD, NMMU, NR_FLUSHES, UNFOLD

from . import drawing
from .drawing import NUMA, READ_ONLY, SHARED, TRACKED, TRY, Verdict

K64 = layout_of("powerpc")
K4 = layout_of("powerpc", 12)
PAGE_NONE = int(powerpc.PAGE_NONE)
RW = int(powerpc.PAGE_READ | powerpc.PAGE_WRITE) | PAGE_NONE
TOLD = int(NMMU)
TABLE = 0x7F00_0000_0000
RED = (classes.DIVERGENCE, classes.INVARIANT)
# A machine with coprocessors that need to be told.
NEST = {"coprocessors": 1}


def drawn_case(picture: str, **arguments) -> Case:
    """The case that `picture` draws, with pages of 64 KiB if nothing else is said."""
    case = drawing.drawn_case(picture, **{"layout": K64, **arguments})
    assert case.check() is None
    return case


def judged(
    before: str,
    after: str,
    flush: str = "",
    told: str = "",
    *,
    kinds: tuple[str, ...] = (classes.EXPLAINED, classes.DIVERGENCE),
    batching: int = EXACT,
    touch=None,
    **arguments,
) -> Verdict:
    """The verdict on a drawn outcome; `told` draws what the coprocessors are told, as `flush`."""
    case = drawn_case(before, **arguments)
    return drawing.judged(
        case,
        drawing.words(after, case.layout),
        flush,
        implicit=tuple((TOLD, i) for i, mark in enumerate(told) if mark == "t"),
        kinds=kinds,
        batching=batching,
        touch=touch,
    )


# pte_modify() takes newprot whole, and every protection has ACCESSED.


@pytest.mark.parametrize("layout", [K64, K4])
@pytest.mark.parametrize(
    ("after", "found"),
    [
        ("A0a A1a", [set(), set()]),
        ("A0 A1a", [{"accessed-lost"}, set()]),
        ("A0 A1", [{"accessed-lost"}, {"accessed-lost"}]),
    ],
)
def test_each_entry_comes_out_accessed(after, found, layout):
    assert judged("[A0 A1]", after, vma=READ_ONLY, layout=layout).entries == found


def test_a_hinting_scan_makes_accessed_too():
    scan = {"cp": NUMA, "newprot": PAGE_NONE}
    assert judged("[A0 B0]", "A0na B0na", "ff", **scan).all == set()
    assert judged("[A0 B0]", "A0n B0na", "ff", **scan).entries == [{"accessed-lost"}, set()]
    # What is PROT_NONE already is skipped, and stays as it is.
    assert judged("[A0n]", "A0n", **scan).all == set()
    assert judged("[A0n]", "A0na", **scan).all == {"skipped-changed"}


def test_accessed_is_never_merged():
    """Each has it on its own."""
    assert judged("[A0 A1a]", "A0a A1a", vma=READ_ONLY).all == set()
    assert judged("A0a [A1]", "A0a A1a", vma=READ_ONLY).all == set()


# The merge.


@pytest.mark.parametrize("layout", [K64, K4])
@pytest.mark.parametrize(
    ("before", "after", "found"),
    [
        # Entry 1 is merged into the first by pte_mkdirty(), which all get.
        (
            "[A0 A1d]",
            "A0ads A1ads",
            [{"dirty-merged", "soft-dirty-merged"}, {"soft-dirty-merged"}],
        ),
        ("[A0 A1d]", "A0a A1ad", [set(), set()]),
        ("[A0 A1d]", "A0ad A1ad", [{"soft-dirty-lost"}, set()]),
        ("[A0 A1d]", "A0as A1ad", [{"dirty-lost"}, set()]),
        # The first alone is dirty: nothing is merged into it.
        ("[A0d A1]", "A0ad A1ad", [set(), {"dirty-merged"}]),
        ("[A0d A1]", "A0ads A1ads", [{"soft-dirty-gained"}, {"soft-dirty-gained"}]),
        ("[A0d A1]", "A0ads A1ad", [{"soft-dirty-gained"}, {"dirty-merged"}]),
        # Both.
        ("[A0d A1d]", "A0ads A1ads", [{"soft-dirty-merged"}, {"soft-dirty-merged"}]),
        # Not from elsewhere.
        ("A0d [A1]", "A0d A1ads", [set(), {"dirty-gained", "soft-dirty-gained"}]),
        ("[A3 B0d]", "A3ads B0ad", [{"dirty-gained", "soft-dirty-gained"}, set()]),
        ("[A0 A1ds]", "A0ads A1ads", [{"dirty-gained", "soft-dirty-gained"}, set()]),
        ("[A0 . A2d]", "A0ads . A2ad", [{"dirty-gained", "soft-dirty-gained"}, set(), set()]),
    ],
)
def test_dirty_is_merged_with_soft_dirty(before, after, found, layout):
    verdict = judged(before, after, vma=READ_ONLY, layout=layout)
    assert verdict.entries == found
    assert verdict.case == set()


def test_foreign_targets_may_merge_parts_of_a_batch():
    before, after = "[A0 A1 A2d A3]", "A0a A1ads A2ads A3a"
    plain = "A0ad A1ad A2ad A3ad"
    assert judged(before, after, vma=READ_ONLY, batching=ANY, kinds=RED).all == set()
    assert judged(before, plain, vma=READ_ONLY, batching=ANY, kinds=RED).all == set()
    assert judged(before, plain, vma=READ_ONLY, kinds=RED).all == {"soft-dirty-lost"}
    # The first alone still makes nothing soft-dirty, for any target.
    for batching in (EXACT, ANY):
        found = judged("[A0d A1]", "A0ads A1ad", vma=READ_ONLY, batching=batching, kinds=RED)
        assert found.all == {"soft-dirty-gained"}


@pytest.mark.parametrize("before", ["[A0 A1d]", "[A0as A1ads]", "[A0d A1]"])
def test_without_batches_nothing_is_merged(before):
    arguments = {"cp": TRY, "vma": SHARED}
    case = drawn_case(before, **arguments)
    assert judge_case(case, load("reference", "powerpc"), NONE).union == 0
    assert judge_case(case, load("batched", "powerpc"), NONE).union & int(classes.DIVERGENCE_BITS)


# Requests: a right that is lost, no right that is gained.


@pytest.mark.parametrize("batching", [EXACT, ANY])
@pytest.mark.parametrize(
    ("before", "after", "flush", "arguments", "found"),
    [
        ("[A0aws A1aws]", "A0as A1as", "ff", {"vma": READ_ONLY}, {}),
        ("[A0aws A1aws]", "A0as A1as", "f-", {"vma": READ_ONLY}, {1: "flush-missing"}),
        ("[A0axs]", "A0as", "", {"vma": READ_ONLY}, {0: "flush-missing"}),
        ("[A0as]", "A0nas", "f", {"newprot": PAGE_NONE}, {}),
        ("[A0as]", "A0nas", "", {"newprot": PAGE_NONE}, {0: "flush-missing"}),
        ("[A0as A1as]", "A0aws A1aws", "", {"cp": TRY}, {}),
        ("[A0as A1as]", "A0aws A1aws", "ff", {"cp": TRY}, dict.fromkeys((0, 1), "flush-unneeded")),
        ("[A0nas]", "A0as", "", {}, {}),
        ("[A0nas]", "A0as", "f", {}, {0: "flush-unneeded"}),
        ("[A0s]", "A0as", "f", {}, {0: "flush-unneeded"}),
    ],
)
def test_radix_flushes_what_loses_a_right(before, after, flush, arguments, found, batching):
    verdict = judged(before, after, flush, batching=batching, **arguments)
    assert verdict.entries == [
        {found[i]} if i in found else set() for i in range(len(flush or "-" * len(verdict.entries)))
    ]


HASH = {"hash_mmu": True}


@pytest.mark.parametrize("kernel", ["6.17", "7.3"])
@pytest.mark.parametrize(
    ("before", "after", "arguments"),
    [
        ("[A0as A1as]", "A0as A1as", {}),
        ("[A0as A1as]", "A0aws A1aws", {"cp": TRY}),
        ("[A0nas A1nas]", "A0as A1as", {}),
        ("[A0aws A1aws]", "A0as A1as", {"vma": READ_ONLY}),
        ("[A0s A1s]", "A0nas A1nas", {"cp": NUMA, "newprot": PAGE_NONE}),
    ],
)
def test_the_hash_mmu_flushes_whatever_is_changed(before, after, arguments, kernel):
    arguments = {**arguments, **HASH, "kernel": kernel}
    assert judged(before, after, "ff", **arguments).all == set()
    assert judged(before, after, "f-", **arguments).entries == [set(), {"flush-missing"}]
    assert judged(before, after, "", **arguments).all == {"flush-missing"}


def test_the_hash_mmu_flushes_nothing_else():
    found = judged(
        "[A0nas .]", ". .".replace(".", "A0nas", 1), "ff", cp=NUMA, newprot=PAGE_NONE, **HASH
    )
    assert found.entries == [{"flush-unneeded"}, {"flush-unneeded"}]


# The coprocessors' own MMU: told at once of each page that becomes writable.

UPGRADE = ("[A0as A1as]", "A0aws A1aws")


@pytest.mark.parametrize("layout", [K64, K4])
@pytest.mark.parametrize(
    ("told", "found"),
    [
        ("tt", [set(), set()]),
        ("t-", [set(), {"nmmu-missing"}]),
        ("-t", [{"nmmu-missing"}, set()]),
        ("", [{"nmmu-missing"}, {"nmmu-missing"}]),
    ],
)
def test_coprocessors_are_told_of_an_upgrade(told, found, layout):
    assert judged(*UPGRADE, "", told, cp=TRY, layout=layout, **NEST).entries == found


@pytest.mark.parametrize(
    ("before", "after", "arguments"),
    [
        # No coprocessor is attached; since ISA 3.1 it follows by itself; hash has no nest MMU.
        (*UPGRADE, {"cp": TRY, "coprocessors": 0}),
        (*UPGRADE, {"cp": TRY, "isa_31": True, **NEST}),
        (*UPGRADE, {"cp": TRY, **HASH, **NEST, "flushed": "ff"}),
        # No upgrade: never read-only before, or not writable then.
        ("[A0nas A1nas]", "A0aws A1aws", {"cp": TRY, **NEST}),
        ("[A0aws A1aws]", "A0aws A1aws", {"newprot": RW, "vma": SHARED, **NEST}),
        ("[A0as A1as]", "A0as A1as", {"vma": READ_ONLY, **NEST}),
        ("[A0aws A1aws]", "A0as A1as", {"vma": READ_ONLY, **NEST, "flushed": "ff"}),
        # Not changed.
        (". [. .]", ". . .", NEST),
        ("[A0nas A1nas]", "A0nas A1nas", {"cp": NUMA, "newprot": PAGE_NONE, **NEST}),
    ],
)
def test_coprocessors_are_told_of_nothing_else(before, after, arguments):
    arguments = dict(arguments)
    flush = arguments.pop("flushed", "")
    skipped = before.split("[")[0].count(".")
    assert judged(before, after, flush, **arguments).all == set()
    found = judged(before, after, flush, "-" * skipped + "t-", **arguments)
    assert found.entries == [*[set()] * skipped, {"nmmu-unneeded"}, set()]


def test_an_upgrade_by_the_merge_alone_is_told_as_well():
    """Merged dirty makes entry 0 writable, which the entry alone would not become."""
    arguments = {"cp": TRY, "vma": SHARED, **NEST}
    case = ("[A0as A1ads]", "A0awds A1awds")
    write = {"dirty-merged", "write-by-merged-dirty"}
    assert judged(*case, "", "tt", **arguments).entries == [write | {"extra-nmmu"}, set()]
    assert judged(*case, "", "-t", **arguments).entries == [write | {"nmmu-missing"}, set()]
    # The entry alone: nothing to tell, and to tell it is a cost of the batch.
    alone = ("[A0as A1ads]", "A0as A1awds")
    assert judged(*alone, "", "-t", **arguments).all == set()
    assert judged(*alone, "", "tt", **arguments).entries == [{"extra-nmmu"}, set()]


def test_an_upgrade_by_merged_soft_dirty_is_told_as_well():
    arguments = {"cp": TRY, "vma": TRACKED, **NEST}
    case = ("[A0a A1ad]", "A0awds A1awds")
    found = judged(*case, "", "tt", **arguments)
    assert "extra-nmmu" in found.entries[0]
    assert not found.all & set(classes.names(int(classes.RED_BITS)))
    assert "nmmu-missing" in judged(*case, "", "", **arguments).entries[0]


def test_parts_of_a_batch_are_told_too():
    """Dirty, but not soft-dirty: neither the entry's own word nor that of the exact merge."""
    arguments = {"cp": TRY, "vma": SHARED, "batching": ANY, "kinds": RED, **NEST}
    case = ("[A0a A1a A2ad]", "A0a A1awd A2awd")
    assert judged(*case, "", "-tt", **arguments).all == set()
    assert judged(*case, "", "--t", **arguments).entries == [set(), {"nmmu-missing"}, set()]


@pytest.mark.parametrize(
    ("address", "pages"),
    [
        (TABLE, 1),
        (TABLE + 0x10000, 0),
        (TABLE + 0x10000, 3),
        (TABLE + 0x30000, 1),
        (TABLE + 0x11000, 1),
        (0, 1),
        (TABLE + 0x10000, (1 << 64) - 1),
    ],
)
def test_coprocessors_are_told_of_pages_of_the_range(address, pages):
    def touch(workspace):
        theirs = workspace.theirs
        theirs.flushes[theirs.counts[NR_FLUSHES]] = (TOLD, address, pages)
        theirs.counts[NR_FLUSHES] += 1

    before, after = "A0as [A1as A2as] A3as", "A0as A1aws A2aws A3as"
    arguments = {"cp": TRY, **NEST}
    assert judged(before, after, "", "-tt", **arguments).all == set()
    found = judged(before, after, "", "-tt", touch=touch, **arguments)
    assert found.case == {"invalidation-wrong"}


def test_powerpc_has_no_blocks():
    for kind in (FOLD, UNFOLD):

        def touch(workspace, kind=int(kind)):
            workspace.theirs.flushes[0] = (kind, TABLE, 16)
            workspace.theirs.counts[NR_FLUSHES] = 1

        assert judged("[A0as]", "A0as", touch=touch).all == {"invalidation-wrong"}


# Wild: a newprot with bits of the PFN, or SPECIAL, which pte_modify() takes too.


REQUESTS = sum(1 << classes.NUMBER[name] for name in ("flush-missing", "flush-unneeded"))


@pytest.mark.parametrize("exclusive", ["xxxx", ".xx.", "x..x"])
@pytest.mark.parametrize("layout", [K64, K4])
@pytest.mark.parametrize("bits", [1, 2, 3, 1 << 4, 1 << 30, "special"], ids=lambda bits: f"{bits}")
def test_newprot_with_more_than_a_protection_is_explained(bits, layout, exclusive):
    more = int(powerpc.PAGE_SPECIAL) if bits == "special" else bits << layout.page_shift
    newprot = drawing.read_only("powerpc") | more
    pages = {"A": exclusive, "B": exclusive}
    case = drawn_case(
        "A0s [A1s A2ds A3as B0s] B1s", newprot=newprot, cp=TRY, layout=layout, exclusive=pages
    )
    for target, batching in (("batched", EXACT), ("batched", ANY), ("reference", NONE)):
        judgement = judge_case(case, load(target, "powerpc"), batching)
        assert not judgement.union & int(classes.RED_BITS) & ~REQUESTS, (target, batching)
    # Not anything is: neither the entry alone, nor as one of its batch, maps that page.
    ours, theirs = (
        judge_case(case, load(target, "powerpc")).theirs.ptes for target in ("reference", "batched")
    )
    wrong = list(theirs)
    wrong[3] ^= 1 << 8 + layout.page_shift
    assert wrong[3] not in (ours[3], theirs[3])
    found = drawing.judged(case, tuple(wrong), kinds=(classes.DIVERGENCE,))
    assert "pfn-changed" in found.entries[3]


@pytest.mark.parametrize("picture", ["[A0s A1s]", "[A1s A2s]"])
def test_requests_for_a_batch_of_another_page_are_those_of_its_first_entry(picture):
    case = drawn_case(picture, newprot=drawing.read_only("powerpc") | 1 << 16, vma=READ_ONLY)
    assert not judge_case(case, load("batched", "powerpc")).union & int(classes.RED_BITS)


def test_a_batch_of_another_page_is_that_of_its_first_entry():
    """Page 0x12340 | 1, and the one behind; alone entry 1 would stay where it is."""
    newprot = drawing.read_only("powerpc") | 1 << 16
    arguments = {"newprot": newprot, "vma": READ_ONLY, "kinds": (classes.DIVERGENCE,)}
    pages = [
        ("A1as A2as", set()),
        ("A1as A1as", set()),
        ("A0as A1as", {"pfn-changed"}),
        ("A1as A3as", {"pfn-changed"}),
    ]
    for after, found in pages:
        verdict = judged("[A0as A1as]", after, "ff", **arguments)
        assert verdict.all - {"flush-unneeded", "flush-missing"} == found, after


# Outside the range, and what is not present.


@pytest.mark.parametrize(
    ("before", "after", "found"),
    [
        ("A0s [A1as]", "A0as A1as", "outside-changed"),
        ("[A0as] A1s", "A0as A1ds", "outside-changed"),
        ("[A0as] .", "A0as A1as", "outside-changed"),
        ("[.]", "0x80", "none-changed"),
        ("[0x80]", ".", "none-changed"),
        ("[0x4000000000010001]", "0x4000000000010000", "swap-changed"),
        ("[0x4000000000010001]", ".", "swap-changed"),
    ],
)
def test_what_the_call_has_no_business_with_stays(before, after, found):
    kept = before.replace("[", "").replace("]", "")
    assert judged(before, kept, vma=READ_ONLY).all == set()
    assert judged(before, after, vma=READ_ONLY).all == {found}


# The golden cases, by the classes that their names tell.

MINIMAL = {v.id: v for v in read(Path(ROOT / "corpus/vectors/powerpc/minimal.jsonl.xz"))}
BY_NAME = {
    0: [{"dirty-merged", "soft-dirty-merged"}, {"soft-dirty-merged"}],
    1: [
        {"dirty-merged", "soft-dirty-merged", "write-by-merged-soft-dirty"},
        {"soft-dirty-merged"},
    ],
    2: [{"dirty-merged", "write-by-merged-dirty"}, set()],
    9: [{"dirty-merged", "write-by-merged-dirty", "extra-nmmu"}, set()],
}


@pytest.mark.parametrize("number", MINIMAL)
def test_what_a_real_kernel_does_is_explained(number):
    vector = MINIMAL[number]
    expect = vector.expect["expect_7_3"]
    shift, table = vector.case.config.page_shift, vector.case.table_addr
    found = drawing.judged(
        vector.case,
        tuple(int(word, 16) for word in expect.ptes),
        [(int(address, 16), pages) for address, pages in expect.flush],
        implicit=tuple(
            (TOLD, (int(address, 16) - table) >> shift) for address, _, _ in expect.tlbi
        ),
        pages=expect.pages,
    )
    assert found.entries == BY_NAME.get(number, [set()] * len(vector.case.ptes))
    assert found.case == set()


def test_no_soft_dirty_no_class():
    """Without CONFIG_MEM_SOFT_DIRTY pte_mkdirty() sets the bit all the same."""
    found = judged("[A0 A1d]", "A0ads A1ads", vma=READ_ONLY, soft_dirty=False)
    assert found.all & set(classes.names(int(classes.RED_BITS))) == set()


@pytest.mark.parametrize("kernel", ["6.16", "6.17", "6.18", "7.3"])
@pytest.mark.parametrize("batching", [EXACT, ANY, NONE])
def test_a_skip_that_hangs_on_the_write_bit_is_not_judged(kernel: str, batching: int) -> None:
    """Wild: PROT_NONE, then an entry that may only be written, in the range of a NUMA scan."""
    path = ROOT / "corpus" / "findings" / "powerpc" / "wild-not-judged.case"
    case = read_case(path).case.replace(kernel=kernel)
    judged = judge_case(case, load("zoo:batch-of-one", "powerpc"), batching)
    unsure = kernel in ("6.17", "6.18") and batching != NONE
    assert ("not-judged" in classes.names(judged.union)) == unsure
    # One that comes first, or stands behind what may be read, is judged by every kernel.
    before, after = case.ptes
    for words in ((after, before), (before | int(powerpc.PAGE_READ), after)):
        judged = judge_case(case.replace(ptes=words), load("batched", "powerpc"), batching)
        assert "not-judged" not in classes.names(judged.union)
