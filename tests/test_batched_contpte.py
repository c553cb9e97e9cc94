"""The batched side's contpte: what is unfolded, folded, gathered, and what that costs.

An entry is drawn as a letter: `c` clean and old, `a` accessed, `d` dirty, `b`
both, `n` PROT_NONE (accessed, clean), `.` none. Small letters are read-only,
capitals writable; a writable dirty one is dirty by hardware. `A15a` is 15 and one.
`<...>` is a folded block, `|...|` one that is not. Entry i of a window maps page i
of a folio of 32 pages, unless a case says otherwise.

A batch of writable PTEs that become read-only is flushed in one call, so the
list of flush calls is the list of batches.
"""

import re
from itertools import groupby

import numpy as np
import pytest

from batched import contpte
from batched.arm64 import change_pte_range
from harness.arrays import state_of
from harness.case import Call, Case, Folio, Vma, layout_of
from mm import arm64 as m
from mm import flags as f
from mm import table
from mm.state import FLUSH, FOLD, LOADS, NR_FLUSHES, STORES, TAKES, UNFOLD

RO = 0x0060_0000_0000_0FC3
NONE = int(m.PAGE_NONE)
PFN = 0x12340
TRY = int(f.MM_CP_TRY_CHANGE_WRITABLE)
NUMA = int(f.MM_CP_PROT_NUMA)
PRIVATE = int(f.VM_READ | f.VM_WRITE | f.VM_MAYREAD | f.VM_MAYWRITE)
CONFIG = layout_of("arm64").config
SPECIAL = {"also": int(m.PTE_SPECIAL), "vma_flags": PRIVATE | int(f.VM_PFNMAP)}
KINDS = {int(FLUSH): "flush", int(UNFOLD): "unfold", int(FOLD): "fold"}


def word(one: str, pfn: int, folded: bool) -> int:
    """The word of one drawn entry."""
    if one == ".":
        return 0
    small = one.lower()
    pte = (NONE if one == "n" else RO) & ~int(m.PTE_AF) | pfn << 12
    pte |= int(m.PTE_AF) * (small in "abn") | int(m.PTE_CONT) * folded
    if one.isupper():
        pte |= int(m.PTE_DBM)
        return pte & ~int(m.PTE_RDONLY) if small in "db" else pte
    return pte | int(m.PTE_DIRTY) * (small in "db")


def letter(pte: int) -> str:
    """The letter of a word."""
    if pte == 0:
        return "."
    if not pte & int(m.PTE_VALID):
        return "n"
    write = pte & int(m.PTE_DBM)
    dirty = pte & int(m.PTE_DIRTY) or (write and not pte & int(m.PTE_RDONLY))
    small = "cadb"[bool(pte & int(m.PTE_AF)) + 2 * bool(dirty)]
    return small.upper() if write else small


def letters_of(block: str) -> str:
    """The 16 letters of a drawn block."""
    runs = re.findall(r"([a-zA-Z.])(\d*)", block)
    letters = "".join(one * int(length or 1) for one, length in runs)
    assert len(letters) == 16, block
    return letters


def drawn(ptes: list[int]) -> str:
    """The picture of whole blocks."""
    picture = []
    for at in range(0, len(ptes), 16):
        block = ptes[at : at + 16]
        runs = [(one, len(list(run))) for one, run in groupby(letter(pte) for pte in block)]
        letters = "".join(f"{one}{length}" if length > 1 else one for one, length in runs)
        folded = {bool(pte & int(m.PTE_CONT)) for pte in block}
        assert len(folded) == 1, f"half a fold: {letters}"
        picture.append(f"<{letters}>" if True in folded else f"|{letters}|")
    return " ".join(picture)


class Outcome:
    """What the batched side made of a drawn window."""

    def __init__(
        self,
        picture: str,
        start: int = 0,
        end: int | None = None,
        *,
        cp: int = 0,
        newprot: int = RO,
        vma_flags: int = PRIVATE,
        exclusive: str = "",
        folio_pages: int = 32,
        first_page: int = 0,
        folio_flags: int = int(f.FOLIO_ANON),
        also: int = 0,
        hardware: dict[int, int] | None = None,
        bbml3: bool = False,
        kernel: str = "7.3",
    ) -> None:
        ptes = []
        for block in picture.split():
            for one in letters_of(block):
                ptes.append(word(one, PFN + first_page + len(ptes), block[0] == "<"))
        bits = sum(1 << i for i, mark in enumerate(exclusive) if mark == "x")
        case = Case(
            arch="arm64",
            kernel=kernel,
            config=CONFIG._replace(bbml3=bbml3),
            vma=Vma(vma_flags),
            call=Call(cp, newprot, start, len(ptes) if end is None else end),
            ptes=tuple(pte | also if pte else 0 for pte in ptes),
            folios=tuple(
                Folio(PFN + at, folio_pages, folio_flags, 0, bits)
                for at in range(0, 64, folio_pages)
            ),
            hardware=tuple((hardware or {}).items()),
        )
        assert case.check() is None
        state = state_of(case)
        with np.errstate(over="ignore"):
            self.pages = int(change_pte_range(state))
        self.ptes = [int(pte) for pte in state.ptes]
        self.drawn = drawn(self.ptes)
        self.counts = state.counts
        log = [
            (KINDS[int(kind)], (int(address) - case.table_addr) >> 12, int(pages))
            for kind, address, pages in state.flushes[: state.counts[NR_FLUSHES]]
        ]
        self.flushes = [(at, pages) for kind, at, pages in log if kind == "flush"]
        # Of blocks, always whole ones.
        self.tlbi = [(kind, at >> 4) for kind, at, pages in log if kind != "flush"]
        assert all((at % 16, pages) == (0, 16) for kind, at, pages in log if kind != "flush")


@pytest.fixture
def traced(monkeypatch):
    """Loads, stores and takes of the table are counted."""
    monkeypatch.setattr(table, "TRACED", True)


# Folded blocks, writable to read-only: only those that the range cuts are unfolded.
@pytest.mark.parametrize(
    ("start", "end", "after", "tlbi"),
    [
        (0, 32, "<a16> <a16>", []),
        (8, 32, "|A8a8| <a16>", [("unfold", 0)]),
        (0, 24, "<a16> |a8A8|", [("unfold", 1)]),
        (8, 24, "|A8a8| |a8A8|", [("unfold", 0), ("unfold", 1)]),
        # One batch, one entry of each block.
        (15, 17, "|A15a| |aA15|", [("unfold", 0), ("unfold", 1)]),
        # Both edges in one block: once.
        (4, 12, "|A4a8A4| <A16>", [("unfold", 0)]),
        (0, 15, "|a15A| <A16>", [("unfold", 0)]),
        (1, 16, "|Aa15| <A16>", [("unfold", 0)]),
        (5, 6, "|A5aA10| <A16>", [("unfold", 0)]),
    ],
)
def test_a_block_is_unfolded_where_the_range_cuts_it(start, end, after, tlbi):
    outcome = Outcome("<A16> <A16>", start, end)
    assert outcome.drawn == after
    assert outcome.tlbi == tlbi
    assert outcome.flushes == [(start, end - start)]
    assert outcome.pages == end - start


@pytest.mark.parametrize(
    ("picture", "after"),
    [
        # Marks of a block that is unfolded go to all of it, and from there into the batch.
        ("<ba15> <a16>", "|b16| <b16>"),
        ("<c3a2cdc9> <c16>", "|b16| <b16>"),
        # What is taken is merged as well, folded or not.
        ("|c16| |c4ac11|", "|c8a8| <a16>"),
        # A block that is not folded keeps to itself what is outside the range.
        ("|ba15| <a16>", "|ba15| <a16>"),
    ],
)
def test_marks_spread_over_a_block_that_is_unfolded(picture, after):
    assert Outcome(picture, 8, 32).drawn == after


def test_what_the_hardware_marks_before_the_take_is_gathered():
    """Entry 0 is outside the range: its block is taken all the same, to be unfolded."""
    hardware = {0: int(m.PTE_RDONLY), 9: int(m.PTE_AF)}
    outcome = Outcome("<C16>", 8, 16, hardware=hardware)
    assert outcome.drawn == "|B8b8|"
    # Inside a batch, too; and dirty by hardware is not lost with the write permission.
    outcome = Outcome("|C16|", 8, 12, hardware=hardware | {9: int(m.PTE_RDONLY)})
    assert outcome.drawn == "|C8d4C4|"


# Unfolded blocks of one batch: the whole ones become folded, without an invalidation.
@pytest.mark.parametrize(
    ("start", "end", "keywords", "after"),
    [
        (0, 32, {}, "<a16> <a16>"),
        (4, 32, {}, "|a16| <a16>"),
        (0, 31, {}, "<a16> |a16|"),
        (1, 31, {}, "|a16| |a16|"),
        (4, 12, {}, "|a16| |a16|"),
        # PROT_NONE is never folded.
        (0, 32, {"newprot": NONE}, "|n16| |n16|"),
        # Nor what is not aligned in memory as it is in the table.
        (0, 16, {"first_page": 1}, "|a16| |a16|"),
        # Batches that are shorter than a block.
        (0, 32, {"folio_pages": 8}, "|a16| |a16|"),
    ],
)
def test_whole_blocks_are_written_folded(start, end, keywords, after):
    outcome = Outcome("|a16| |a16|", start, end, **keywords)
    assert outcome.drawn == after
    assert outcome.tlbi == []


def test_each_entry_maps_its_own_page():
    for start, end in ((0, 32), (3, 32), (0, 29), (3, 29)):
        outcome = Outcome("|A16| |A16|", start, end)
        pfns = [(pte & int(m.PTE_ADDR_MASK)) >> 12 for pte in outcome.ptes]
        assert pfns == list(range(PFN, PFN + 32))


def test_a_folded_block_that_becomes_prot_none_is_not_unfolded_first():
    outcome = Outcome("<A16>", newprot=NONE)
    assert (outcome.drawn, outcome.tlbi) == ("|n16|", [])
    assert outcome.flushes == [(0, 16)]


# A folded entry speaks for the rest of its block: a hole in it, which no kernel makes,
# is not seen. Writable to read-only, so that flushes are batches.
@pytest.mark.parametrize(
    ("picture", "start", "end", "batches"),
    [
        ("<A5.A10>", 0, 16, [(0, 16)]),
        ("|A5.A10|", 0, 16, [(0, 5), (6, 10)]),
        # From the entry on, not from the block's first.
        ("<A5.A10> |.16|", 3, 32, [(3, 13)]),
        # A later block, once its first entry matched.
        ("<A16> <A5.A10>", 0, 32, [(0, 32)]),
        # Never beyond the range.
        ("<A5.A10>", 0, 4, [(0, 4)]),
        ("<A16> <A5.A10>", 0, 20, [(0, 20)]),
    ],
)
def test_a_folded_entry_counts_the_rest_of_its_block(picture, start, end, batches):
    outcome = Outcome(picture, start, end)
    assert outcome.flushes == batches
    assert outcome.pages == sum(pages for _, pages in batches)


def test_a_hint_does_not_leave_the_folio():
    """Wild: a folded block over two folios of eight pages."""
    outcome = Outcome("<A16>", folio_pages=8)
    assert outcome.flushes == [(0, 8), (8, 8)]


@pytest.mark.parametrize(
    ("picture", "batches"),
    [
        # Accessed and dirty are ignored, and PTE_RDONLY with them: it is a part of dirty.
        ("|CABDCABDCABDCABD|", [(0, 16)]),
        # A writable entry must not be hidden behind a read-only one.
        ("|a4A12|", [(4, 12)]),
        # Folded and not: their words differ.
        ("<A16> |A16|", [(0, 16), (16, 16)]),
        ("|A16| <A16>", [(0, 16), (16, 16)]),
    ],
)
def test_what_a_batch_may_mix(picture, batches):
    assert Outcome(picture).flushes == batches


# How many loads the marks of a folded block cost, besides the one of the entry itself.
@pytest.mark.parametrize(
    ("block", "loads", "marks"),
    [
        ("<b16>", 2, "b"),
        ("<c16>", 16, "c"),
        # Dirty first: for the accessed one it looks from the dirty entry on, again.
        ("<c2dc2ac4d6>", 3 + 4, "b"),
        ("<c2bc13>", 3 + 1, "b"),
        ("<c15d>", 16 + 1, "d"),
        # Accessed first: for the dirty one it looks behind.
        ("<c2ac2dc4a6>", 3 + 3, "b"),
        ("<c15b>", 16 + 1, "b"),
        ("<c15a>", 16 + 0, "a"),
        ("<a16>", 1 + 15, "a"),
    ],
)
@pytest.mark.parametrize("kernel", ["6.16", "7.3"])
@pytest.mark.parametrize("index", [0, 7, 15])
def test_the_marks_of_a_block_are_gathered_no_further_than_needed(
    traced, block, loads, marks, kernel, index
):
    ptes = tuple(word(one, PFN + i, True) for i, one in enumerate(letters_of(block)))
    call = Call(0, RO, 0, 16)
    state = state_of(Case(Vma(PRIVATE), call, (0,) * 16 + ptes, arch="arm64", kernel=kernel))
    got = int(contpte.ptep_get(state, np.uint64(16 + index)))
    assert letter(got) == marks
    assert got & int(m.PTE_ADDR_MASK) == PFN + index << 12
    assert state.counts[LOADS] == 1 + (loads if kernel == "7.3" else 16)


# One entry that is written completes its block, if it is the last and all are alike.
@pytest.mark.parametrize(
    ("picture", "start", "keywords", "after", "tlbi"),
    [
        ("|a15A|", 15, {}, "<a16>", [("fold", 0)]),
        # Marks may differ, and are merged.
        ("|cadc12C|", 15, {}, "<b16>", [("fold", 0)]),
        # A block that the range cuts: unfolded first, folded again.
        ("<a16>", 15, {}, "<a16>", [("unfold", 0), ("fold", 0)]),
        # Another bit differs: here the write permission of the others.
        ("<A16>", 15, {}, "|A15a|", [("unfold", 0)]),
        # Made writable, as the others are.
        ("|A15a|", 15, {"cp": TRY, "exclusive": "." * 15 + "x"}, "<A16>", [("fold", 0)]),
        # Not the last entry of the block.
        ("|a14Aa|", 14, {}, "|a16|", []),
        # Not the last page of a block's memory.
        ("|a15A|", 15, {"first_page": 1}, "|a16|", []),
        # The folio is not as large as a block.
        ("|a15A|", 15, {"folio_pages": 8}, "|a16|", []),
        ("|a15A|", 15, {"folio_pages": 16}, "<a16>", [("fold", 0)]),
        # PROT_NONE and special entries.
        ("|n15A|", 15, {"newprot": NONE}, "|n16|", []),
        ("|a15A|", 15, SPECIAL, "|a16|", []),
    ],
)
def test_a_single_entry_completes_its_block(picture, start, keywords, after, tlbi):
    outcome = Outcome(picture, start, start + 1, **keywords)
    assert outcome.drawn == after
    assert outcome.tlbi == tlbi


@pytest.mark.parametrize(
    ("kernel", "bbml3", "tlbi"),
    [
        ("7.3", False, [("unfold", 0), ("fold", 0)]),
        ("7.3", True, []),
        ("6.17", True, []),
        # Knows nothing of BBML3 yet.
        ("6.16", True, [("unfold", 0), ("fold", 0)]),
    ],
)
def test_bbml3_spares_the_invalidation(kernel, bbml3, tlbi):
    outcome = Outcome("<a16>", 15, 16, bbml3=bbml3, kernel=kernel)
    assert (outcome.drawn, outcome.tlbi) == ("<a16>", tlbi)


# Private, mprotect adds PROT_WRITE; x: the page is exclusive. Each run of exclusive
# pages is a commit of its own, and what is no whole block then is not folded.
@pytest.mark.parametrize(
    ("picture", "start", "exclusive", "after", "flushes", "tlbi"),
    [
        ("<a16>", 0, "x" * 8, "|A8a8|", [(0, 8)], []),
        ("<a16> <a16>", 0, "x" * 16, "<A16> <a16>", [(0, 16)], []),
        # The last piece is a single entry, which looks for a block to complete: in vain.
        ("<a16>", 0, "x" * 15, "|A15a|", [(0, 15)], []),
        ("<a16>", 0, "." * 15 + "x", "|a15A|", [(15, 1)], []),
        # The first piece is a single entry, and completes one; the second is a whole block.
        ("|A15a| |a16|", 15, "." * 15 + "x", "<A16> <a16>", [(15, 1)], [("fold", 0)]),
    ],
)
def test_sub_batches_cut_blocks(picture, start, exclusive, after, flushes, tlbi):
    outcome = Outcome(picture, start, cp=TRY, exclusive=exclusive)
    assert outcome.drawn == after
    assert outcome.flushes == flushes
    assert outcome.tlbi == tlbi


@pytest.mark.parametrize(
    ("picture", "start", "end", "keywords", "loads", "stores", "takes"),
    [
        # Its own, and one each before it is taken and written; nothing looks ahead of it.
        ("|A2.14|", 0, 2, {"folio_pages": 1}, 3 + 3, 2, 2),
        # A batch of 16: each once, and nothing more; so a folded block costs its marks.
        ("|A16|", 0, 16, {}, 16, 16, 16),
        ("<B16>", 0, 16, {}, 3, 16, 16),
        ("<C16>", 0, 16, {}, 17, 16, 16),
        # A batch of 8 at the end of a folded block: unfolded, 16 takes and stores more.
        ("<B16>", 8, 16, {}, 3 + 1, 16 + 8, 16 + 8),
        # The last entry looks for a block to complete: all 16, then 16 takes and stores.
        ("|a15A|", 15, 16, {}, 3 + 16, 1 + 16, 1 + 16),
        ("|a.a13A|", 15, 16, {}, 3 + 2, 1, 1),
        # Not if it is not the last, in the table and in memory.
        ("|a14Aa|", 14, 15, {"first_page": 1}, 3, 1, 1),
        ("|a15A|", 15, 16, {"first_page": 1}, 3, 1, 1),
        # A NUMA scan skips at once what a change must not mix.
        ("|aA15|", 0, 16, {"cp": NUMA, "folio_flags": int(f.FOLIO_KSM)}, 16, 0, 0),
    ],
)
def test_what_it_costs(traced, picture, start, end, keywords, loads, stores, takes):
    outcome = Outcome(picture, start, end, **keywords)
    got = tuple(int(outcome.counts[what]) for what in (LOADS, STORES, TAKES))
    assert got == (loads, stores, takes)
