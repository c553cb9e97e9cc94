"""Windows drawn in one line, for tests of the judges, on any architecture.

`A0 [A1w A2ad .] A3`: an entry maps a page of a folio, `.` is a none entry, `0x...`
any word, `K0-15f` sixteen entries; `[` and `]` enclose the range. Folio A has four
pages, B four that follow A's in memory, O and P one each that follow B's; Q has four
far behind, and before it no folio lists U. K has sixteen pages and L thirty-two, but
only where a picture has them. All are anon and exclusive, if nothing else is said.
Letters behind the page: w writable, a accessed, d dirty, D the hardware's dirty mark
whatever else the entry is, s soft-dirty, u uffd, p pkey 1, x executable, c uncached,
z special, f folded, n PROT_NONE. A letter that an architecture has no bit for is a
KeyError. On arm64 none entries fill the last block of the window.

Flushes are drawn one character for each entry: `-ff-`, `|` between two requests.
"""

import re
from dataclasses import dataclass, field

import numpy as np

from harness import classes
from harness.case import Call, Case, Folio, Mm, Vma, layout_of
from harness.relation import EXACT
from harness.run import judge_outcome, prepare
from harness.workspace import Workspace
from mm import arm64, powerpc
from mm import flags as f
from mm import x86_64 as x
from mm.layout import Layout
from mm.state import BAD_MAP, FLUSH, NMMU, NO_VM_WRITE, NR_FLUSHES, NR_STAMPS

RO = 0x8000_0000_0000_0025
PAGE_NONE = 0x120
FIRST_PFN = {"A": 0x12340, "B": 0x12344, "O": 0x12348, "P": 0x12349, "K": 0x12360, "L": 0x12380}
FIRST_PFN |= {"U": 0x50000, "Q": 0x60000}
NR_PAGES = {"A": 4, "B": 4, "O": 1, "P": 1, "K": 16, "L": 32, "Q": 4}
IF_DRAWN = {"K", "L"}
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

# By architecture: the bits of a letter. What is no plain bit is in the functions below.
_MARKS = {
    "x86_64": {
        "w": int(x.PAGE_RW),
        "a": int(x.PAGE_ACCESSED),
        "D": int(x.PAGE_DIRTY),
        "s": int(x.PAGE_SOFT_DIRTY),
        "u": int(x.PAGE_UFFD),
        "p": 1 << int(x.PKEY_SHIFT),
        "c": int(x.PAGE_PCD),
        "z": int(x.PAGE_SPECIAL),
    },
    "arm64": {
        "w": int(arm64.PTE_WRITE),
        "a": int(arm64.PTE_AF),
        "u": int(arm64.PTE_UFFD),
        "p": 1 << int(arm64.PO_IDX_SHIFT),
        "c": int(arm64.MT_NORMAL_NC << arm64.ATTRINDX_SHIFT),
        "z": int(arm64.PTE_SPECIAL),
        "f": int(arm64.PTE_CONT),
    },
    "powerpc": {
        "w": int(powerpc.PAGE_WRITE),
        "a": int(powerpc.PAGE_ACCESSED),
        "d": int(powerpc.PAGE_DIRTY),
        "D": int(powerpc.PAGE_DIRTY),
        "s": int(powerpc.PAGE_SOFT_DIRTY),
        "x": int(powerpc.PAGE_EXEC),
        "c": int(powerpc.PAGE_NON_IDEMPOTENT),
        "z": int(powerpc.PAGE_SPECIAL),
    },
}


def read_only(arch: str) -> int:
    """The protection of a VMA that may only be read, or written by pages of its own."""
    return int(layout_of(arch).protection_map[1])


def _marked(arch: str, pte: int, marks: str, plain: str) -> int:
    """`pte` with the bits of `marks`, but for those in `plain`."""
    for mark in marks:
        if mark not in plain:
            pte |= _MARKS[arch][mark]
    return pte


def _x86_64_word(marks: str) -> int:
    pte = PAGE_NONE if "n" in marks else RO
    pte = _marked("x86_64", pte & ~int(x.PAGE_ACCESSED), marks, "ndx")
    if "d" in marks:
        pte |= int(x.PAGE_DIRTY if "w" in marks else x.PAGE_SAVED_DIRTY)
    return pte & ~int(x.PAGE_NX) if "x" in marks else pte


def _arm64_word(marks: str) -> int:
    pte = int(arm64.PAGE_NONE) if "n" in marks else read_only("arm64")
    pte = _marked("arm64", pte & ~int(arm64.PTE_AF), marks, "ndDx")
    if "D" in marks or ("d" in marks and "w" in marks):
        pte &= ~int(arm64.PTE_RDONLY)
    elif "d" in marks:
        pte |= int(arm64.PTE_DIRTY)
    return pte & ~int(arm64.PTE_UXN) if "x" in marks else pte


def _powerpc_word(marks: str) -> int:
    pte = int(powerpc.PAGE_NONE) if "n" in marks else read_only("powerpc")
    pte = pte & ~int(powerpc.PAGE_ACCESSED) | int(powerpc.PAGE_PTE)
    return _marked("powerpc", pte, marks, "n")


_WORDS = {"x86_64": _x86_64_word, "arm64": _arm64_word, "powerpc": _powerpc_word}
X86_64 = layout_of("x86_64")
_ENTRY = re.compile(r"([A-Z])([0-9]+)(?:-([0-9]+))?([a-zD]*)")


def _entries(drawn: str, layout: Layout) -> list[int]:
    if drawn == ".":
        return [0]
    if drawn.startswith("0x"):
        return [int(drawn, 16)]
    match = _ENTRY.fullmatch(drawn)
    assert match, drawn
    first, marks = int(match[2]), match[4]
    pte = _WORDS[layout.arch](marks)
    # L1TF: an entry that is not present holds its PFN inverted.
    inverted = int(layout.pfn_mask) if layout.pfn_inverted and "n" in marks else 0
    pages = range(FIRST_PFN[match[1]] + first, FIRST_PFN[match[1]] + int(match[3] or first) + 1)
    return [pte | (pfn << layout.page_shift ^ inverted) & int(layout.pfn_mask) for pfn in pages]


def word(drawn: str, layout: Layout = X86_64) -> int:
    """The word of one drawn entry."""
    (only,) = _entries(drawn, layout)
    return only


def words(picture: str, layout: Layout = X86_64) -> tuple[int, ...]:
    """The words of a drawn window."""
    drawn = picture.replace("[", " ").replace("]", " ").split()
    ptes = [pte for entry in drawn for pte in _entries(entry, layout)]
    return (*ptes, *[0] * (-len(ptes) % layout.block))


def drawn_case(
    picture: str,
    *,
    cp: int = 0,
    vma: int = PRIVATE,
    newprot: int | None = None,
    exclusive: dict[str, str] | None = None,
    folio_flags: int = ANON,
    anon: bool = True,
    unpopulated: bool = False,
    users: int = 2,
    hardware: tuple[tuple[int, int], ...] = (),
    kernel: str = "7.3",
    layout: Layout = X86_64,
    **config: object,
) -> Case:
    """The case that `picture` draws; `exclusive` draws the exclusive pages of some folios.

    `newprot` is that of a VMA that may be read, if nothing else is said; `config`
    changes some of the layout's configuration.
    """
    bits = {name: "x" * pages for name, pages in NR_PAGES.items()} | (exclusive or {})
    before, inside = (
        [pte for entry in part.split() for pte in _entries(entry, layout)]
        for part in picture.split("]")[0].split("[")
    )
    prot = read_only(layout.arch) if newprot is None else newprot
    tracked = vma if layout.config.soft_dirty else vma & ~int(f.VM_SOFTDIRTY)
    return Case(
        arch=layout.arch,
        config=layout.config._replace(**config),
        vma=Vma(tracked, anon, unpopulated),
        call=Call(cp, prot, len(before), len(before) + len(inside)),
        ptes=words(picture, layout),
        folios=tuple(
            Folio(
                FIRST_PFN[name],
                pages,
                folio_flags,
                0,
                sum(1 << i for i, mark in enumerate(bits[name]) if mark == "x"),
            )
            for name, pages in NR_PAGES.items()
            if name in picture or name not in IF_DRAWN
        ),
        mm=Mm(users=users),
        hardware=hardware,
        kernel=kernel,
    )


def drawn_flushes(picture: str, table_addr: int, page: int = PAGE) -> list[tuple[int, int]]:
    """The requests that `-ff|f-` draws: (address, pages)."""
    requests, index, length = [], 0, 0
    for mark in (*picture, "-"):
        if mark == "f":
            length += 1
        elif length:
            requests.append((table_addr + (index - length) * page, length))
            length = 0
        index += mark != "|"
    return requests


@dataclass
class Spoiled:
    """What a hand-made outcome has besides its words; None: as the reference left it."""

    flush: str | list[tuple[int, int]] = ""
    # (kind, first entry) of what was invalidated at once, in order, before all requests.
    implicit: tuple[tuple[int, int], ...] = ()
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
    theirs.ptes[: len(ptes)] = np.array(ptes, np.uint64)
    facts = workspace.case.facts[0]
    page, table_addr = 1 << int(facts.page_shift), int(facts.table_addr)
    requests = outcome.flush
    if isinstance(requests, str):
        requests = drawn_flushes(requests, table_addr, page)
    rows = [
        (kind, table_addr + entry * page, 1 if kind == int(NMMU) else arm64.CONT_PTES)
        for kind, entry in outcome.implicit
    ]
    rows += [(int(FLUSH), address, pages) for address, pages in requests]
    for at, row in enumerate(rows):
        theirs.flushes[at] = row
    theirs.counts[NR_FLUSHES] = len(rows)
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
    fill(workspace, words(after, case.layout) if isinstance(after, str) else after, outcome)
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
