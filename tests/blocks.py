"""Windows of arm64 drawn in blocks of 16 entries, and the reference's outcome on them.

Entry i maps page 0x12340 + i: `-` read-only, neither accessed nor dirty; `a` accessed,
`d` dirty, `b` both; `w` writable and clean, `W` marked dirty by the hardware, `x` by
software too; `u` read-only with the userfaultfd bit; `s` special; `n` PROT_NONE; `.` empty.
`<` and `>` enclose a folded block, `[` and `]` the range.
"""

from typing import Any, NamedTuple

from harness.arrays import state_of
from harness.case import Call, Case, Folio, Vma, layout_of
from mm import flags as f
from mm.state import NR_FLUSHES
from reference import arm64

RO = 0x0060_0000_0000_0FC3  # PAGE_READONLY
RO_EXEC = 0x0020_0000_0000_0FC3  # PAGE_READONLY_EXEC
RW = 0x0068_0000_0000_0FC3  # PAGE_SHARED
NONE_PROT = 0x0060_0000_0000_0F82  # PAGE_NONE
AF, RDONLY, NG, DBM, CONT = 1 << 10, 1 << 7, 1 << 11, 1 << 51, 1 << 52
DIRTY, SPECIAL, DEVMAP, UFFD = 1 << 55, 1 << 56, 1 << 57, 1 << 58
CONFIG = layout_of("arm64").config

PRIVATE = f.VM_READ | f.VM_WRITE | f.VM_MAYREAD | f.VM_MAYWRITE
SHARED = PRIVATE | f.VM_SHARED
TRY = f.MM_CP_TRY_CHANGE_WRITABLE
NUMA = f.MM_CP_PROT_NUMA
WP = f.MM_CP_UFFD_WP
RESOLVE = f.MM_CP_UFFD_WP_RESOLVE

OLD = RO & ~AF
MARKS = {
    "-": OLD,
    "a": OLD | AF,
    "d": OLD | DIRTY,
    "b": OLD | AF | DIRTY,
    "w": OLD | DBM,
    "W": OLD & ~RDONLY | DBM,
    "x": OLD & ~RDONLY | DBM | DIRTY,
    "u": OLD | UFFD,
    "s": OLD | SPECIAL,
    "n": NONE_PROT & ~AF,
}
NAMES = {word: mark for mark, word in MARKS.items()} | {0: "."}
FOLIO = (Folio(0x12340, 64, int(f.FOLIO_ANON), 0, (1 << 64) - 1),)
ADDR = 0x7F00_0000_0000


class Outcome(NamedTuple):
    """What a call left behind."""

    words: tuple[int, ...]
    flushed: tuple[int, ...]  # entries of the window
    tlbi: tuple[tuple[str, int], ...]  # (reason, first entry) of each implicit invalidation
    pages: int


def run(case: Case) -> Outcome:
    """The outcome of the reference on `case`; a flush is of one page, a TLBI of one block."""
    assert case.check() is None
    state = state_of(case)
    pages = int(arm64.change_pte_range(state))
    rows = [[int(x) for x in row] for row in state.flushes[: state.counts[NR_FLUSHES]]]
    assert all(length == (16 if kind else 1) for kind, _, length in rows)
    entries = [(kind, (address - case.table_addr) >> 12) for kind, address, _ in rows]
    return Outcome(
        words=tuple(int(word) for word in state.ptes),
        flushed=tuple(entry for kind, entry in entries if kind == 0),
        tlbi=tuple((("", "unfold", "fold")[kind], entry) for kind, entry in entries if kind),
        pages=pages,
    )


def case_of(
    words: tuple[int, ...],
    start: int,
    end: int,
    *,
    newprot: int = RO,
    cp: Any = 0,
    vm: Any = PRIVATE,
    folios: tuple[Folio, ...] = FOLIO,
    **changes: Any,
) -> Case:
    """The case of a call on [start, end) of `words`, by default in one large exclusive folio."""
    case = Case(
        arch="arm64",
        config=CONFIG,
        vma=Vma(int(vm)),
        call=Call(int(cp), newprot, start, end),
        ptes=words,
        folios=folios,
        table_addr=ADDR,
    )
    return case.replace(**changes)


def words_of(picture: str, pfn: int = 0x12340) -> tuple[tuple[int, ...], int, int]:
    """The words that `picture` draws, and the range."""
    words: list[int] = []
    folded, start, end = False, 0, -1
    for mark in picture:
        if mark in "<>":
            folded = mark == "<"
        elif mark == "[":
            start = len(words)
        elif mark == "]":
            end = len(words)
        elif mark == ".":
            words.append(0)
        else:
            words.append(MARKS[mark] | (CONT if folded else 0) | pfn + len(words) << 12)
    return tuple(words), start, end


def drawn(words: tuple[int, ...], pfn: int = 0x12340) -> str:
    """The picture of `words`, without a range."""
    picture = ""
    for first in range(0, len(words), 16):
        block = [w ^ (pfn + i << 12 if w else 0) for i, w in enumerate(words)][first : first + 16]
        folded = {bool(word & CONT) for word in block}
        assert len(folded) == 1
        marks = "".join(NAMES[word & ~CONT] for word in block)
        picture += f"<{marks}>" if folded == {True} else marks
    return picture


def run_drawn(picture: str, pfn: int = 0x12340, **arguments: Any) -> tuple[str, str]:
    """The picture afterwards, and the implicit invalidations: `-0` block 0 unfolded, `+0` folded."""
    outcome = run(case_of(*words_of(picture, pfn), **arguments))
    signs = {"unfold": "-", "fold": "+"}
    tlbi = " ".join(f"{signs[why]}{entry // 16}" for why, entry in outcome.tlbi)
    return drawn(outcome.words, pfn), tlbi
