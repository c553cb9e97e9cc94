"""Windows drawn in one line, for tests of the judges.

`A0 [A1w A2ad .] A3`: an entry maps a page of a folio, `.` is a none entry, `0x...`
any word; `[` and `]` enclose the range. Folio A has four pages, B four that follow
A's in memory, O and P one each that follow B's; Q has four far behind, and before it
no folio lists U. All are anon and exclusive, if nothing else is said. Letters behind
the page: w writable, a accessed, d dirty, D the hardware's dirty bit wherever it
stands, s soft-dirty, u uffd, p pkey 1, x executable, c uncached, z special, n PROT_NONE.

Flushes are drawn one character for each entry: `-ff-`, `|` between two requests.
"""

from dataclasses import dataclass, field

import numpy as np

from harness import classes
from harness.case import Call, Case, Folio, Mm, Vma
from harness.relation import EXACT
from harness.run import judge_outcome, prepare
from harness.workspace import Workspace
from mm import flags as f
from mm import x86_64 as x
from mm.state import BAD_MAP, FLUSH, NO_VM_WRITE, NR_FLUSHES, NR_STAMPS

RO = 0x8000_0000_0000_0025
PAGE_NONE = 0x120
FIRST_PFN = {"A": 0x12340, "B": 0x12344, "O": 0x12348, "P": 0x12349, "U": 0x50000, "Q": 0x60000}
NR_PAGES = {"A": 4, "B": 4, "O": 1, "P": 1, "Q": 4}
ANON = int(f.FOLIO_ANON)
TRY = int(f.MM_CP_TRY_CHANGE_WRITABLE)
NUMA = int(f.MM_CP_PROT_NUMA)
WP = int(f.MM_CP_UFFD_WP)
RESOLVE = int(f.MM_CP_UFFD_WP_RESOLVE)
PRIVATE = int(f.VM_READ | f.VM_WRITE | f.VM_MAYREAD | f.VM_MAYWRITE | f.VM_SOFTDIRTY)
READ_ONLY = PRIVATE & ~int(f.VM_WRITE)
SHARED = PRIVATE | int(f.VM_SHARED)
TRACKED = PRIVATE & ~int(f.VM_SOFTDIRTY)
PAGE = 0x1000

_MARKS = {
    "w": int(x.PAGE_RW),
    "a": int(x.PAGE_ACCESSED),
    "D": int(x.PAGE_DIRTY),
    "s": int(x.PAGE_SOFT_DIRTY),
    "u": int(x.PAGE_UFFD),
    "p": 1 << 59,
    "c": int(x.PAGE_PCD),
    "z": int(x.PAGE_SPECIAL),
}


def word(entry: str) -> int:
    """The word of one drawn entry."""
    if entry == ".":
        return 0
    if entry.startswith("0x"):
        return int(entry, 16)
    pfn = FIRST_PFN[entry[0]] + int(entry[1])
    marks = entry[2:]
    if "n" in marks:
        pte = (~(pfn << 12) & int(x.PTE_PFN_MASK)) | int(x.PAGE_GLOBAL)
    else:
        pte = (pfn << 12) | (RO & ~int(x.PAGE_ACCESSED))
    for mark in marks:
        pte |= _MARKS.get(mark, 0)
    if "d" in marks:
        pte |= int(x.PAGE_DIRTY if "w" in marks else x.PAGE_SAVED_DIRTY)
    return pte & ~int(x.PAGE_NX) if "x" in marks else pte


def words(picture: str) -> tuple[int, ...]:
    """The words of a drawn window."""
    return tuple(word(entry) for entry in picture.replace("[", " ").replace("]", " ").split())


def drawn_case(
    picture: str,
    *,
    cp: int = 0,
    vma: int = PRIVATE,
    newprot: int = RO,
    exclusive: dict[str, str] | None = None,
    folio_flags: int = ANON,
    anon: bool = True,
    unpopulated: bool = False,
    users: int = 2,
    hardware: tuple[tuple[int, int], ...] = (),
    kernel: str = "7.3",
) -> Case:
    """The case that `picture` draws; `exclusive` draws the exclusive pages of some folios."""
    bits = {name: "x" * pages for name, pages in NR_PAGES.items()} | (exclusive or {})
    before, inside = picture.split("[")
    start = len(before.split())
    return Case(
        vma=Vma(vma, anon, unpopulated),
        call=Call(cp, newprot, start, start + len(inside.split("]")[0].split())),
        ptes=words(picture),
        folios=tuple(
            Folio(
                FIRST_PFN[name],
                pages,
                folio_flags,
                0,
                sum(1 << i for i, mark in enumerate(bits[name]) if mark == "x"),
            )
            for name, pages in NR_PAGES.items()
        ),
        mm=Mm(users=users),
        hardware=hardware,
        kernel=kernel,
    )


def drawn_flushes(picture: str, table_addr: int) -> list[tuple[int, int]]:
    """The requests that `-ff|f-` draws: (address, pages)."""
    requests, index, length = [], 0, 0
    for mark in (*picture, "-"):
        if mark == "f":
            length += 1
        elif length:
            requests.append((table_addr + (index - length) * PAGE, length))
            length = 0
        index += mark != "|"
    return requests


@dataclass
class Spoiled:
    """What a hand-made outcome has besides its words; None: as the reference left it."""

    flush: str | list[tuple[int, int]] = ""
    pages: int | None = None
    bad_map: int | None = None
    warns: int | None = None
    stamps: tuple[int, ...] | None = None


@dataclass
class Verdict:
    """What the judges say: names of classes, of each entry and of the case as a whole."""

    entries: list[set[str]]
    case: set[str]
    ours: tuple[int, ...]
    all: set[str] = field(init=False)

    def __post_init__(self) -> None:
        self.all = self.case.union(*self.entries)


def fill(workspace: Workspace, ptes: tuple[int, ...], outcome: Spoiled) -> None:
    """Write a hand-made outcome to `workspace.theirs`."""
    theirs, ours = workspace.theirs, workspace.ours
    theirs.ptes[:] = np.array(ptes, np.uint64)
    requests = outcome.flush
    if isinstance(requests, str):
        requests = drawn_flushes(requests, int(workspace.case.facts[0].table_addr))
    for row, (address, pages) in enumerate(requests):
        theirs.flushes[row] = (int(FLUSH), address, pages)
    theirs.counts[NR_FLUSHES] = len(requests)
    theirs.counts[BAD_MAP] = ours.counts[BAD_MAP] if outcome.bad_map is None else outcome.bad_map
    theirs.counts[NO_VM_WRITE] = (
        ours.counts[NO_VM_WRITE] if outcome.warns is None else outcome.warns
    )
    stamps = outcome.stamps
    if stamps is None:
        stamps = tuple(int(pfn) for pfn in ours.stamps[: ours.counts[NR_STAMPS]])
    theirs.stamps[: len(stamps)] = np.array(stamps, np.uint64)
    theirs.counts[NR_STAMPS] = len(stamps)


def judged(
    case: Case,
    after: str | tuple[int, ...],
    flush: str | list[tuple[int, int]] = "",
    *,
    kinds: tuple[str, ...] = (classes.EXPLAINED, classes.DIVERGENCE),
    batching: int = EXACT,
    touch=None,
    **rest,
) -> Verdict:
    """The verdict on the outcome that `after` and `flush` draw; `touch` spoils the workspace more."""
    workspace, ours = prepare(case)
    outcome = Spoiled(flush, **rest)
    fill(workspace, words(after) if isinstance(after, str) else after, outcome)
    if touch is not None:
        touch(workspace)
    pages = ours.pages if outcome.pages is None else outcome.pages
    judgement = judge_outcome(case, "drawn", workspace, ours, pages, batching)
    mask = sum(int(classes.bits_of(kind)) for kind in kinds)
    return Verdict(
        [set(classes.names(bits & mask)) for bits in judgement.found],
        set(classes.names(judgement.found_case & mask)),
        ours.ptes,
    )
