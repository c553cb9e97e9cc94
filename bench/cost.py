"""The cost model: how often each side touches entries and invalidates, for the series' benchmark.

The batching series was measured with 1 GiB of private anonymous memory that is
made read-only and writable again: T1 in pte-mapped 2 MiB folios, T2 in 64 KiB
folios, T3 in single pages. Here the same tables go through the reference as
Linux 6.12, which changes one entry at a time, and through the batched side as
7.3, in a traced build: each number is counted while all tables are run.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from harness.case import LAYOUTS, layout_of
from harness.relation import reference_side
from harness.targets import load
from mm import arm64, powerpc, x86_64
from mm.flags import (
    FOLIO_ANON,
    MM_CP_TRY_CHANGE_WRITABLE,
    VM_MAYEXEC,
    VM_MAYREAD,
    VM_MAYWRITE,
    VM_READ,
    VM_SOFTDIRTY,
    VM_WRITE,
)
from mm.jit import TRACED
from mm.layout import Layout
from mm.state import (
    FLUSH,
    FOLD,
    LOADS,
    NR_FLUSHES,
    STORES,
    TAKES,
    UNFOLD,
    State,
    empty_state,
    set_kernel,
)
from mm.version import VERSIONS

GIB = 1 << 30
MIB = 1 << 20
UNBATCHED, BATCHED = "6.12", "7.3"
FIRST_PFN = 0x10_0000
TABLE_ADDR = 0x7F00_0000_0000

# A writable, accessed, dirty entry without its page.
READ_WRITE = {
    "x86_64": x86_64.PROTECTION_MAP[11] | x86_64.PAGE_DIRTY,
    "arm64": arm64.PROTECTION_MAP[11] & ~arm64.PTE_RDONLY | arm64.PTE_DIRTY,
    "powerpc": powerpc.PROTECTION_MAP[11]
    | powerpc.PAGE_PTE
    | powerpc.PAGE_DIRTY
    | powerpc.PAGE_SOFT_DIRTY,
}


# Where a count is not the kernel's.
NOTES = {
    "x86_64": "batched reads one entry ahead before it looks a folio up; the kernel looks up first",
}


class Memory(NamedTuple):
    """How the memory is made up: the T of the series, and the size of its folios in bytes."""

    name: str
    folio_bytes: int
    means: str
    # Seconds that the series published, arm64, Apple M3: before and after, its v4 and its v5.
    v4: tuple[float, float]
    v5: tuple[float, float]


MEMORIES = (
    Memory("T1", 2 * MIB, "pte-mapped 2 MiB folios", (7.9, 2.1), (2.1, 0.65)),
    Memory("T2", 64 << 10, "64 KiB folios", (7.9, 2.2), (2.0, 0.7)),
    Memory("T3", 0, "single pages", (4.2, 4.3), (1.0, 1.1)),
)

# What is called in turn, each on what the one before left: name, index into the
# protection map, VM_ flags of access, MM_CP_ flags.
PASSES = (
    ("read-only", 1, VM_READ, np.uint64(0)),
    ("read-write", 3, VM_READ | VM_WRITE, MM_CP_TRY_CHANGE_WRITABLE),
    ("read-only again", 1, VM_READ, np.uint64(0)),
    ("read-write again", 3, VM_READ | VM_WRITE, MM_CP_TRY_CHANGE_WRITABLE),
    ("none", 0, np.uint64(0), np.uint64(0)),
    ("none to read-write", 3, VM_READ | VM_WRITE, MM_CP_TRY_CHANGE_WRITABLE),
)


@dataclass
class Count:
    """What one side did in one pass over all tables."""

    reads: int = 0  # plain loads of entries
    writes: int = 0  # plain stores of entries
    exchanges: int = 0  # atomic get-and-clears of entries
    unfolds: int = 0  # invalidations sent at once, each with its own barrier
    folds: int = 0
    flush_requests: int = 0
    flushed_pages: int = 0

    @property
    def invalidations(self) -> int:
        """Unfolds and folds together."""
        return self.unfolds + self.folds


class Row(NamedTuple):
    """One pass on one make-up of memory: both sides."""

    arch: str
    memory: str
    start: str  # "folded", "unfolded" or "": how arm64's blocks are at first
    call: str
    reference: Count
    batched: Count


def rows(arch: str, page_shift: int | None = None, memory_bytes: int = GIB) -> Iterator[Row]:
    """All rows of `arch`; `memory_bytes` a multiple of what one table maps.

    Raises RuntimeError unless the build is traced (`MIDFOLIO_TRACE=1`).
    """
    if not TRACED:
        raise RuntimeError("counts exist in a traced build only: set MIDFOLIO_TRACE=1")
    layout = layout_of(arch, page_shift)
    for memory in MEMORIES:
        for start in ("folded", "unfolded") if layout.block > 1 and memory.folio_bytes else ("",):
            tables = memory_bytes // (layout.entries_per_table << layout.page_shift)
            sides = [
                _run(layout, memory, start, tables, function, kernel)
                for function, kernel in (
                    (reference_side(arch), UNBATCHED),
                    (load("batched", arch).function, BATCHED),
                )
            ]
            for (call, *_), ours, theirs in zip(PASSES, *sides, strict=True):
                yield Row(arch, memory.name, start, call, ours, theirs)


def _run(
    layout: Layout, memory: Memory, start: str, tables: int, function: Any, kernel: str
) -> list[Count]:
    """The counts of each pass over all tables."""
    counts = [Count() for _ in PASSES]
    entries = layout.entries_per_table
    pages = max(1, min(entries, memory.folio_bytes >> layout.page_shift))
    state = empty_state(entries, entries, entries)
    set_kernel(state.facts[0], VERSIONS[kernel], layout.config)
    for table in range(tables):
        lay_out(state, layout, table, pages, start == "folded")
        for (_, prot, access, cp_flags), count in zip(PASSES, counts, strict=True):
            facts = state.facts[0]
            facts.newprot = layout.protection_map[prot]
            facts.cp_flags = cp_flags
            facts.vma_flags = access | VM_MAYREAD | VM_MAYWRITE | VM_MAYEXEC | VM_SOFTDIRTY
            state.counts[:] = 0
            with np.errstate(over="ignore"):
                function(state)
            _add(count, state)
    return counts


def lay_out(state: State, layout: Layout, table: int, pages: int, folded: bool) -> None:
    """Fill `state` with table number `table`, in folios of `pages` pages, all exclusive."""
    entries, shift = layout.entries_per_table, layout.page_shift
    facts = state.facts[0]
    first_pfn = FIRST_PFN + table * entries
    facts.table_addr = TABLE_ADDR + (table * entries << shift)
    facts.start, facts.end, facts.nr_ptes = 0, entries, entries
    facts.nr_folios = entries // pages
    facts.vma_anon, facts.mm_users = 1, 1
    word = READ_WRITE[layout.arch] | (arm64.PTE_CONT if folded else np.uint64(0))
    pfns = np.arange(first_pfn, first_pfn + entries, dtype=np.uint64)
    state.ptes[:] = word | pfns << np.uint64(shift)
    state.hardware[:] = 0
    state.exclusive[:entries] = 1
    for row in range(entries // pages):
        state.folios[row] = (first_pfn + row * pages, pages, FOLIO_ANON, 0, row * pages)


def _add(count: Count, state: State) -> None:
    log = state.flushes[: state.counts[NR_FLUSHES]]
    requests = log[:, 0] == FLUSH
    count.reads += int(state.counts[LOADS])
    count.writes += int(state.counts[STORES])
    count.exchanges += int(state.counts[TAKES])
    count.unfolds += int((log[:, 0] == UNFOLD).sum())
    count.folds += int((log[:, 0] == FOLD).sum())
    count.flush_requests += int(requests.sum())
    count.flushed_pages += int(log[requests, 2].sum())


def page_shifts(arch: str) -> list[int]:
    """The page sizes of `arch`, as shifts."""
    return [layout.page_shift for layout in LAYOUTS[arch]]
