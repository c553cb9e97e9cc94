"""What a kernel's walk does, told by small fixed operations on memory of this process: one row of the matrix.

Each probe makes one layout, checks by raw entries that it is what it should be, changes
a protection and counts what the entries became. It answers only if all of them, or none
but the one that was touched, did; all else is said by name and never guessed.

property                      how it is told
walk                          one page of a folio is dirty, then mprotect(PROT_READ): a batch spreads it
soft-dirty merged             the same with soft-dirty cleared before: pte_mkdirty() of a merge sets it
shared write by merged dirty  a file, one page written, read-only and back: the others become writable
exclusive by page             private, some pages exclusive, a range that begins inside the folio
refold                        a contiguous block cut and made alike again: its last entry folds it, or not
"""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..case import layout_of
from ..lane import LaneMissing
from .kernel import NotThere
from .layouts import READ_WRITE, Site, fork_and_exit
from .memory import PROT_READ
from .plans import FOLIO, Piece, Plan
from .probes import Live
from .window import pfns_of, present

# Smaller than the contiguous block of arm64, so that nothing is folded.
PAGES = 8
WRITTEN = 5  # not the first of its batch: what merges is what comes behind it
EXCLUSIVE = (3, 4, 6)
FIRST = 2  # where the range of the probe of exclusive pages begins
# A probe must say the same so often; what it finds not as it should be is made anew.
TIMES, ATTEMPTS = 3, 12

PER_PTE, BATCHED, YES, NO = "per PTE", "batched", "yes", "no"
NOT_SHOWN, UNCLEAR = "not shown", "unclear"


class NotShown(Exception):
    """A property that this machine cannot show; says why."""


class Unclear(Exception):
    """The entries say neither yes nor no; says what they say."""


class Answer(NamedTuple):
    """What a probe found."""

    value: str
    detail: str


class Ground:
    """A place for one folio, and what its entries are."""

    def __init__(self, live: Live, directory: Path) -> None:
        """Reserve it. `directory`: where the file is made."""
        self.live, self.directory = live, directory
        self.layout = layout_of(live.machine.arch)
        self.site = Site(None, directory)

    def lay(self, kind: str, pages: int = PAGES, **more: Any) -> None:
        """Make one folio of `pages`; `more` as in a Plan. NotShown if it came as several."""
        plan = Plan(
            **{
                "index": 0,
                "kind": kind,
                "pages": pages,
                "pieces": (Piece(0, pages, FOLIO),),
                "shared_memory": kind == "file",
                "named": False,
                "armed": False,
                "forked": "",
                "clean": False,
                **more,
            }
        )
        self.site.before_fork(plan)
        if plan.forked:
            fork_and_exit()
        self.site.after_fork(plan)
        words = self.words(pages)
        where = "anon memory" if kind == "anon" else f"files below {self.directory}"
        if not np.all(present(self.layout, words)):
            raise NotShown(f"not all pages of a window of {where} came to be mapped")
        folios = self.live.kernel.folios(pfns_of(self.layout, words))
        if len(folios) != 1:
            raise NotShown(f"{where}: no folio of {pages} pages came")

    def words(self, pages: int = PAGES) -> Any:
        """The raw entries."""
        try:
            table = self.live.kernel.table(self.site.address)
        except NotThere:
            raise NotShown("no page table stands behind the window") from None
        return self.live.kernel.reader.words(table, pages).copy()

    def those(self, mask: int, pages: int = PAGES) -> list[int]:
        """The entries that have any bit of `mask`."""
        return [int(i) for i in np.flatnonzero(self.words(pages) & np.uint64(mask))]

    @property
    def dirty(self) -> list[int]:
        """The entries that are dirty, by the software's or the hardware's mark."""
        paging, words = self.live.machine.paging, self.words()
        found = words & np.uint64(paging.dirty) != 0
        if paging.dirty_set:
            marks = np.uint64(paging.dirty_set | paging.dirty_clear)
            found |= words & marks == np.uint64(paging.dirty_set)
        return [int(i) for i in np.flatnonzero(found)]

    @property
    def soft_dirty(self) -> int:
        """The bit, 0 where the kernel has none."""
        masks = [int(f.mask) for f in self.layout.fields if f.name == "soft_dirty"]
        return masks[0] if masks and self.live.config.soft_dirty else 0

    def arm(self) -> None:
        """Clear all soft-dirty bits of this process, if there are any."""
        if self.soft_dirty:
            Path("/proc/self/clear_refs").write_text("4")
            _is(self.those(self.soft_dirty), [], "soft-dirty")


def _is(found: list[int], expected: list[int], what: str) -> None:
    """NotShown if a layout is not what it was made to be: something else touched it."""
    if found != expected:
        raise NotShown(f"a layout did not hold still: {what} are entries {found}, not {expected}")


def all_or_none(marked: list[int], of: int, yes: str, no: str, *few: list[int]) -> Answer:
    """`yes` if all of `of` entries are `marked`, `no` if they are one of `few`: what stays as it was.

    Raises Unclear for anything else.
    """
    detail = f"{len(marked)} of {of} entries"
    if marked == list(range(of)):
        return Answer(yes, detail)
    if marked in few:
        return Answer(no, detail)
    raise Unclear(f"{detail}: {marked}")


def walk(ground: Ground) -> Answer:
    """Whether the dirty bit of one entry spreads over its folio."""
    ground.lay("anon", clean=True, written=(WRITTEN,))
    _is(ground.dirty, [WRITTEN], "dirty")
    ground.site.protect(0, PAGES, PROT_READ)
    return all_or_none(ground.dirty, PAGES, BATCHED, PER_PTE, [WRITTEN])


def soft_dirty_merged(ground: Ground) -> Answer:
    """Whether a merged dirty bit makes a batch soft-dirty that nobody wrote to."""
    if not ground.soft_dirty:
        raise NotShown("soft-dirty is not configured (CONFIG_MEM_SOFT_DIRTY)")
    ground.lay("anon", clean=True, written=(WRITTEN,))
    ground.arm()
    _is(ground.dirty, [WRITTEN], "dirty")
    ground.site.protect(0, PAGES, PROT_READ)
    return all_or_none(ground.those(ground.soft_dirty), PAGES, YES, NO, [])


def shared_write_merged(ground: Ground) -> Answer:
    """Whether pages of a file that nobody wrote to become writable by the dirty bit of another."""
    ground.lay("file", touched=tuple(range(PAGES)))
    writable = ground.live.machine.paging.writable
    if ground.those(writable):
        raise NotShown(f"the file system of {ground.directory} does not ask to be told of writes")
    # Not before: a write to what is not mapped yet may map the whole folio writable.
    ground.site.write((WRITTEN,))
    _is(ground.those(writable), [WRITTEN], "writable")
    # Else a batch ends where soft-dirty changes, which here is where dirty does.
    ground.arm()
    _is(ground.dirty, [WRITTEN], "dirty")
    ground.site.protect(0, PAGES, PROT_READ)
    ground.site.protect(0, PAGES, READ_WRITE)
    # The written page itself is, unless soft-dirty tracking wants to see its next write.
    return all_or_none(ground.those(writable), PAGES, YES, NO, [], [WRITTEN])


def exclusive_by_page(ground: Ground) -> Answer:
    """Whether write permission goes to the exclusive pages, where a range begins inside a folio."""
    ground.lay("anon", forked="keep", exclusive=EXCLUSIVE)
    kernel = ground.live.kernel
    folios = kernel.folios(pfns_of(ground.layout, ground.words()))
    _is([int(i) for i in np.flatnonzero(kernel.exclusive(folios))], list(EXCLUSIVE), "exclusive")
    ground.site.protect(0, PAGES, PROT_READ)
    ground.site.protect(FIRST, PAGES, READ_WRITE)
    found = ground.those(ground.live.machine.paging.writable)
    detail = f"exclusive are entries {list(EXCLUSIVE)}, writable became {found}"
    return Answer(YES if found == list(EXCLUSIVE) else NO, detail)


def refold(ground: Ground) -> Answer:
    """Whether a contiguous block that was cut is folded again once its entries are alike."""
    block, arch = ground.layout.block, ground.live.machine.arch
    if block == 1:
        raise NotShown(f"{arch} has no contiguous entries")
    (cont,) = (int(f.mask) for f in ground.layout.fields if f.name == "cont")
    ground.lay("anon", block)
    _is(ground.those(cont, block), list(range(block)), "folded")
    ground.site.protect(WRITTEN, block, PROT_READ)
    _is(ground.those(cont, block), [], "folded, once cut,")
    ground.site.protect(WRITTEN, block, READ_WRITE)
    return all_or_none(ground.those(cont, block), block, YES, NO, [])


class Property(NamedTuple):
    """One column of the matrix."""

    name: str
    kind: str  # of memory that its probe needs
    probe: Callable[[Ground], Answer]


PROPERTIES = (
    Property("walk", "anon", walk),
    Property("soft-dirty merged", "anon", soft_dirty_merged),
    Property("shared write by merged dirty", "file", shared_write_merged),
    Property("exclusive by page", "anon", exclusive_by_page),
    Property("refold", "anon", refold),
)


def measure(probe: Callable[[Ground], Answer], ground: Ground) -> Answer:
    """What `probe` says TIMES in a row of layouts that held still; UNCLEAR if it contradicts itself."""
    said: list[Answer] = []
    why = ""
    for _ in range(ATTEMPTS):
        try:
            said.append(probe(ground))
        except NotShown as error:
            why = str(error)
        except Unclear as error:
            return Answer(UNCLEAR, str(error))
        if len(said) == TIMES:
            break
    if len(said) < TIMES:
        return Answer(NOT_SHOWN, why)
    values = Counter(answer.value for answer in said)
    if len(values) > 1:
        return Answer(UNCLEAR, ", ".join(f"{value} {n} times" for value, n in values.items()))
    return said[-1]


def row(live: Live, directory: Path, lacks: dict[str, str]) -> dict[str, Any]:
    """The row of the running kernel; `lacks`: why a kind of memory cannot be had here, by kind."""
    ground = Ground(live, directory)
    answers = {}
    for name, kind, probe in PROPERTIES:
        try:
            if kind in lacks:
                raise LaneMissing(lacks[kind])
            answers[name] = measure(probe, ground)
        except (OSError, LaneMissing) as error:
            answers[name] = Answer(NOT_SHOWN, str(error))
    return {
        "kernel": live.release,
        "arch": live.machine.arch,
        "version": live.version,
        "properties": {name: answer._asdict() for name, answer in answers.items()},
    }
