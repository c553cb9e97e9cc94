"""The state that a side works on: flat arrays, the same for compiled and C code.

`State` groups the arrays; nothing here decides anything. A side may write
`ptes` (through `mm.table`), `flushes`, `stamps`, `counts` and `trace` (through
`mm.tlb`, `mm.side_effects`, `mm.trace`); all else is input.
"""

from operator import itemgetter
from typing import Any, NamedTuple

import numpy as np

from .version import Config, Version


def _record(name: str, fields: list[tuple[str, str]]) -> np.dtype[Any]:
    """A struct whose elements have their fields as attributes, too.

    np.recarray would do, but looks each name up anew, in Python: a third of what
    interpreted runs took.
    """

    def attribute(field: str) -> property:
        return property(itemgetter(field), lambda self, value: self.__setitem__(field, value))

    body: dict[str, Any] = {field: attribute(field) for field, _ in fields}
    return np.dtype((type(name, (np.void,), {**body, "__module__": __name__}), fields))


# Scalars of a case. Bools are 0 or 1. One record, so that C sees one struct.
FACTS = _record(
    "Facts",
    [
        ("vma_flags", "u8"),  # VM_*
        ("newprot", "u8"),  # the pgprot handed to change_pte_range
        ("cp_flags", "u8"),  # MM_CP_*
        ("table_addr", "u8"),  # virtual address of entry 0 of the window
        ("start", "i8"),  # the range, half open, in entries of the window
        ("end", "i8"),
        ("nr_ptes", "i8"),  # entries in the window
        ("nr_folios", "i8"),
        ("vma_anon", "i8"),  # vma_is_anonymous()
        ("uffd_wp_unpopulated", "i8"),  # userfaultfd_wp_unpopulated()
        ("mm_users", "i8"),
        ("numa_node", "i8"),  # numa_node_id()
        ("numa_balancing_mode", "u8"),  # sysctl: NUMA_BALANCING_*
        ("toptier_nodes", "u8"),  # bit n: node_is_toptier(n)
        # Config
        ("soft_dirty", "i8"),
        ("uffd_wp", "i8"),
        ("numa_balancing", "i8"),
        ("zero_pfn", "u8"),
        ("highest_memmap_pfn", "u8"),
        ("page_shift", "u8"),
        ("bbml3", "i8"),
        ("coprocessors", "i8"),
        ("isa_31", "i8"),
        ("hash_mmu", "i8"),
        # Version
        ("guard_marker", "i8"),
        ("devmap", "i8"),
        ("lookup_every_page", "i8"),
        ("protnone_before_lookup", "i8"),
        ("pinned_in_any_vma", "i8"),
        ("uffd_rwp", "i8"),
        ("flush_elision", "i8"),
        ("contpte_early_stop", "i8"),
        ("mkcont_sets_type", "i8"),
        ("mkwrite_dirties", "i8"),
        # SwapTypes
        ("swp_hwpoison", "i8"),
        ("swp_migration_read", "i8"),
        ("swp_migration_read_exclusive", "i8"),
        ("swp_migration_write", "i8"),
        ("swp_device_write", "i8"),
        ("swp_device_read", "i8"),
        ("swp_device_exclusive_write", "i8"),
        ("swp_device_exclusive", "i8"),
        ("swp_marker", "i8"),
    ],
)
Facts = FACTS.type  # where pickle looks for it

FACT_NAMES: tuple[str, ...] = tuple(FACTS.names or ())

# Folios in ascending, non-overlapping order of pfn. A PFN in none of them and
# not above highest_memmap_pfn is an order-0 page of node 0 with no flag set.
FOLIO = _record(
    "Folio",
    [
        ("pfn", "u8"),  # of page 0; a multiple of nr_pages
        ("nr_pages", "i8"),  # a power of two
        # Not "flags": that is an attribute of every numpy record.
        ("folio_flags", "u8"),  # FOLIO_*
        ("nid", "i8"),
        ("first_page", "i8"),  # where the bits of page 0 stand in `exclusive`
    ],
)
Folio = FOLIO.type  # where pickle looks for it

MAX_PTES = 512  # entries of one page table, on every architecture modelled

# Columns of `flushes`, and the kinds that its first column names.
FLUSH = np.uint64(0)  # tlb_flush_pte_range(): a request, sent when the gather ends
UNFOLD = np.uint64(1)  # arm64: contpte unfolded a block, TLBI sent at once
FOLD = np.uint64(2)  # arm64: contpte folded a block, TLBI sent at once
NMMU = np.uint64(3)  # powerpc: a page flushed at once for the coprocessors' sake

# Indices of `counts`.
NR_FLUSHES = 0  # rows of `flushes` (a target may ask for more rows than there are)
NR_STAMPS = 1  # entries of `stamps`
BAD_MAP = 2  # print_bad_pte() calls
NO_VM_WRITE = 3  # WARN hits: write upgrade asked in a VMA without VM_WRITE
LOADS = 4  # plain loads of entries; this and the next two count in traced builds only
STORES = 5  # plain stores of entries
TAKES = 6  # atomic get-and-clears of entries
NR_TRACE = 7  # rows of `trace`
LIVE = 8  # entries that were not empty when an invalidation of them was sent at once
NR_COUNTS = 9

# Kinds in the first column of `trace`: (kind, index, length, set_write).
TRACE_BATCH = 0
TRACE_COMMIT = 1

# More rows than any of our own sides can write: per entry one request, and per
# block of 16 a few implicit ones.
MAX_FLUSHES = 2 * MAX_PTES
MAX_TRACE = 4 * MAX_PTES


class State(NamedTuple):
    """One page-table walk to be done: inputs, table and logs.

    `facts`     record[1] of FACTS
    `ptes`      uint64[nr_ptes], the page table; written through `mm.table` only
    `hardware`  uint64[nr_ptes], bits that the hardware flips in an entry between
                the moment a batch is detected and the moment the entry is taken:
                it sets accessed and dirty bits that are clear, and arm64 marks an
                entry dirty by clearing PTE_RDONLY
    `folios`    record[>= nr_folios] of FOLIO
    `exclusive` uint8[pages], 1 = PageAnonExclusive of that page
    `flushes`   uint64[rows, 3], (kind, address, pages) in order
    `stamps`    uint64[rows], folio_xchg_access_time calls: PFN of the folio's page 0
    `counts`    int64[NR_COUNTS]
    `trace`     int64[rows, 4]; traced builds only
    """

    facts: Any
    ptes: Any
    hardware: Any
    folios: Any
    exclusive: Any
    flushes: Any
    stamps: Any
    counts: Any
    trace: Any


def empty_state(nr_ptes: int = MAX_PTES, nr_folios: int = MAX_PTES, nr_pages: int = 1) -> State:
    """A zeroed state with room for `nr_ptes` entries, `nr_folios` folios, `nr_pages` pages."""
    return State(
        facts=np.zeros(1, FACTS),
        ptes=np.zeros(nr_ptes, np.uint64),
        hardware=np.zeros(nr_ptes, np.uint64),
        folios=np.zeros(max(nr_folios, 1), FOLIO),
        # In whole words, so that they can be copied and compared eight at a time; and
        # a wrong side that reads behind a folio reads zeros, the same in each run.
        exclusive=np.zeros((nr_pages + 7 & ~7) + MAX_PTES, np.uint8),
        flushes=np.zeros((MAX_FLUSHES, 3), np.uint64),
        stamps=np.zeros(MAX_PTES, np.uint64),
        counts=np.zeros(NR_COUNTS, np.int64),
        trace=np.zeros((MAX_TRACE, 4), np.int64),
    )


def set_kernel(facts: Any, version: Version, config: Config) -> None:
    """Write the switches of `version` and `config` into a FACTS record."""
    for name, value in config._asdict().items():
        facts[name] = value
    for name, value in version._asdict().items():
        if name in FACT_NAMES:
            facts[name] = value
    for name, value in version.swap_types._asdict().items():
        facts[f"swp_{name}"] = value


def numba_state() -> Any:
    """The numba type of `State`, for eager signatures."""
    from numba import typeof

    return typeof(empty_state(1, 1, 1))


def numba_target() -> Any:
    """The numba signature of a target: `int64 change_pte_range(State)`."""
    from numba import int64

    return int64(numba_state())
