"""What an exhaustive run enumerates: states of one entry, calls, and where the folio lies.

An architecture fills an `Alphabet` (a file beside this one). A case is one call and one
state for each entry of the range; everything else is fixed, and listed in the
certificate (`NOT_VARIED`).
"""

import importlib
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from harness.case import layout_of
from mm import flags
from mm.state import State
from mm.version import VERSIONS

MAX_K = 5

# Folios of every case; pages of the first two are consecutive, so that nothing but the
# folios' border ends a batch that runs into it.
FOLIO_PAGES = 16
# How far from the page that is due an entry lies that maps another page of its folio.
ASTRAY = FOLIO_PAGES // 2
INSIDE = 9  # where in a folded block the range begins
FIRST_PFN = 0x1000
SECOND_PFN = FIRST_PFN + FOLIO_PAGES
ORDER_0_PFN = 0x2000
PINNED_PFN = 0x3000
UNLISTED_PFN = 0x4001  # of no folio that is listed: an order-0 page that is not anon
SWAP_OFFSET = 0x123


class Kind(Enum):
    """What an entry is."""

    FOLIO = "folio"  # maps its page of the large folio
    PROTNONE = "prot-none"  # the same, inaccessible
    ASTRAY = "astray"  # maps another page of the folio: one batch with its like alone
    ORDER_0 = "order-0"  # maps a page that is alone in its folio
    PINNED = "pinned"  # maps a page of a large folio that is pinned for DMA
    ZERO_PAGE = "zero-page"
    NONE = "none"
    SWAP = "swap"
    MIGRATION_WRITE = "migration-write"
    MIGRATION_READ = "migration-read"
    MIGRATION_READ_EXCLUSIVE = "migration-read-exclusive"
    DEVICE_WRITE = "device-private-write"
    DEVICE_READ = "device-private-read"
    DEVICE_EXCLUSIVE = "device-exclusive"
    HWPOISON = "hwpoison"
    MARKER_UFFD_WP = "marker-uffd-wp"
    MARKER_POISON = "marker-poison"
    MARKER_GUARD = "marker-guard"


class Right(Enum):
    """The three states of an entry as to writing; one that userfaultfd marks is read-only."""

    READ = "r"
    WRITE = "w"
    UFFD = "u"


@dataclass(frozen=True)
class EntryState:
    """The state of one entry, and of the page of the large folio that is due at its place."""

    kind: Kind
    right: Right = Right.READ
    dirty: bool = False
    accessed: bool = False
    soft_dirty: bool = False
    # Of the page that is due, mapped or not; of a swap entry, and of an order-0 page, its
    # own. The page of an entry that is astray is always exclusive.
    exclusive: bool = False

    def __str__(self) -> str:
        bits = (("d", self.dirty), ("a", self.accessed), ("s", self.soft_dirty))
        letters = "".join(letter if on else "-" for letter, on in (*bits, ("x", self.exclusive)))
        return f"{self.kind.value}:{self.right.value}{letters}"


class Place(Enum):
    """Where the range lies in its folio."""

    # One entry of the folio before the range and one behind it: every batch starts in
    # the middle of the folio, and what is outside must stay.
    MIDDLE = "middle"
    # The folio ends after half of the entries (rounded down), and the next one, which
    # continues it in memory, begins with its page 0.
    BORDER = "border"
    # Inside a folded block: the other entries of it are old and clean, and so readable, ...
    FOLDED_READ = "folded-read"
    FOLDED_WRITE = "folded-write"
    FOLDED_UFFD = "folded-uffd"
    # The same, but none is folded, and the range is the end of the block: where it comes out
    # like the others, the block can be folded.
    LAST_READ = "last-read"
    LAST_WRITE = "last-write"
    LAST_UFFD = "last-uffd"

    @property
    def folded(self) -> bool:
        """Whether the range lies in a folded block."""
        return self.value.startswith("folded")

    @property
    def others(self) -> Right | None:
        """The right of the block's other entries; None where the range is not in a whole block."""
        return {"read": Right.READ, "write": Right.WRITE, "uffd": Right.UFFD}.get(
            self.value.rpartition("-")[2]
        )


def places_of(arch: str) -> list[Place]:
    """Where a range may lie: blocks are of arm64 only."""
    return [place for place in Place if place.others is None or layout_of(arch).block > 1]


@dataclass(frozen=True)
class Call:
    """A call of change_pte_range(): what is asked, and of what VMA."""

    ask: str  # a name of `ASKS`
    shared: bool
    tracked: bool  # VM_SOFTDIRTY is clear: soft-dirty is tracked
    registered: bool  # VM_UFFD_WP, or VM_UFFD_RWP where the ask is about that
    place: Place
    arch: str = "x86_64"

    def __str__(self) -> str:
        words = [self.ask, "shared" if self.shared else "private"]
        words += ["tracked"] * self.tracked + ["registered"] * self.registered
        return " ".join([*words, self.place.value])

    @property
    def cp_flags(self) -> int:
        """MM_CP_*."""
        return ASKS[self.ask].cp_flags

    @property
    def reads_exclusive(self) -> bool:
        """Whether the call may look at anon-exclusive bits: a write upgrade of private pages."""
        return self.tries and not self.shared

    @property
    def tries(self) -> bool:
        """Whether the call asks for write upgrades."""
        return bool(self.cp_flags & int(flags.MM_CP_TRY_CHANGE_WRITABLE))


@dataclass(frozen=True)
class Ask:
    """What a caller asks for: `cp_flags`, and the rights of the VMA, READ 1 | WRITE 2 | EXEC 4."""

    cp_flags: int
    access: int
    rwp: bool = False


_TRY = int(flags.MM_CP_TRY_CHANGE_WRITABLE)
ASKS: dict[str, Ask] = {
    "none": Ask(0, 0),
    "read": Ask(0, 1),
    "write": Ask(0, 3),
    "try": Ask(_TRY, 3),
    "try-exec": Ask(_TRY, 7),
    "numa": Ask(int(flags.MM_CP_PROT_NUMA), 3),
    "wp": Ask(int(flags.MM_CP_UFFD_WP), 3),
    "resolve": Ask(int(flags.MM_CP_UFFD_WP_RESOLVE), 1),
    "resolve-try": Ask(int(flags.MM_CP_UFFD_WP_RESOLVE) | _TRY, 3),
    "rwp": Ask(int(flags.MM_CP_UFFD_RWP), 3, rwp=True),
    "rwp-resolve-try": Ask(int(flags.MM_CP_UFFD_RWP_RESOLVE) | _TRY, 3, rwp=True),
}
PROTNONE_ASKS = ("numa", "rwp")


_OF_UFFD = int(
    flags.MM_CP_UFFD_WP
    | flags.MM_CP_UFFD_WP_RESOLVE
    | flags.MM_CP_UFFD_RWP
    | flags.MM_CP_UFFD_RWP_RESOLVE
)


def asks_of(arch: str, kernel: str | None = None) -> list[str]:
    """The names of `ASKS` that `arch` has, on `kernel` or on any."""
    uffd, rwp = layout_of(arch).config.uffd_wp, kernel is None or VERSIONS[kernel].uffd_rwp
    return [
        name
        for name, ask in ASKS.items()
        if (uffd or not ask.cp_flags & _OF_UFFD) and (rwp or not ask.rwp)
    ]


NOT_VARIED = (
    "one window of K entries of one page table; K is the length of the range",
    "where the range lies: as the calls say (see Place), folios of 16 pages",
    "hardware bits: the MMU changes no entry during the call",
    "memory type, protection keys, execute permission of the entries themselves",
    "bits that no kernel sets; writable entries with the uffd bit",
    "configuration: NUMA balancing, soft-dirty and uffd-wp on where the architecture has them; "
    "VM_PFNMAP, VM_MIXEDMAP off",
    "NUMA facts: two users, node 0, normal balancing; folios are on node 0",
    "folio flags but anon (private) and dirty file (shared), and pinned in one state",
    "what is outside the range: at `middle` a clean read-only entry on each side, page 0 exclusive",
    "offsets of swap-like entries; entries of one kind share one page or offset",
    "where an entry that is astray points to: 8 pages off, to a page that is exclusive",
)


@dataclass(frozen=True)
class Alphabet:
    """What an architecture brings: the words of the states, and the compiled loop."""

    arch: str
    word: Callable[[EntryState, int, int, str], int]  # (state, pfn, index, kernel)
    newprot: Callable[[Call], int]
    loop: Callable[..., int]
    cont: int = 0  # what an entry of a folded block has besides
    not_varied: tuple[str, ...] = ()  # besides NOT_VARIED


@dataclass
class Fixed:
    """What is the same for all cases of one call with K entries."""

    call: Call
    k: int
    start: int = field(init=False)
    nr_ptes: int = field(init=False)
    first_page: int = field(init=False)  # of the range's first entry, in `exclusive`

    def __post_init__(self) -> None:
        """Derive where the entries lie. Behind them, a window of blocks is empty."""
        place, block = self.call.place, layout_of(self.call.arch).block
        if place is Place.BORDER:
            self.start, self.first_page = 0, FOLIO_PAGES - self.k // 2
        elif place is Place.MIDDLE:
            self.start = self.first_page = 1
        else:
            # The folio's pages fill one block.
            self.start = self.first_page = INSIDE if place.folded else FOLIO_PAGES - self.k
        behind = 1 if place is Place.MIDDLE else 0
        self.nr_ptes = -(-(self.start + self.k + behind) // block) * block

    @property
    def outside(self) -> list[int]:
        """The entries outside the range that map their page of the folio, too."""
        if self.call.place is Place.BORDER:
            return []
        if self.call.place is Place.MIDDLE:
            return [0, self.k + 1]
        end = self.start + self.k
        return [*range(self.start), *range(end, FOLIO_PAGES)]

    @property
    def astray(self) -> int:
        """Pages from the one that is due to the one that an entry that is astray maps."""
        return ASTRAY if self.call.place is Place.MIDDLE else -ASTRAY

    def pfn(self, index: int, kind: Kind = Kind.FOLIO) -> int:
        """The page of the large folio that entry `index` of the range maps, if it is of `kind`."""
        off = self.astray if kind is Kind.ASTRAY else 0
        return FIRST_PFN + self.first_page + index + off


def alphabet_of(arch: str) -> Alphabet:
    """The alphabet of `arch`. Importing compiles."""
    alphabet: Alphabet = importlib.import_module(f"fuzz.exhaust.{arch}").ALPHABET
    return alphabet


def write_fixed(alphabet: Alphabet, fixed: Fixed, state: State) -> None:
    """Write into `state` all that is the same for every case of one call; its kernel is set."""
    call, facts = fixed.call, state.facts[0]
    facts.vma_flags = vma_flags(call)
    facts.vma_anon = not call.shared
    facts.uffd_wp_unpopulated = 0
    facts.newprot = alphabet.newprot(call)
    facts.cp_flags = call.cp_flags
    facts.start, facts.end = fixed.start, fixed.start + fixed.k
    facts.table_addr = 0x7F00_0000_0000
    facts.nr_ptes = fixed.nr_ptes
    facts.mm_users, facts.numa_node = 2, 0
    facts.numa_balancing_mode, facts.toptier_nodes = 1, 1
    _write_folios(call, state)
    state.hardware[:] = 0
    state.exclusive[:] = 0
    state.exclusive[2 * FOLIO_PAGES] = 1  # the order-0 page's
    # Page 0 of the folio, before the range: whoever takes it for a page of the range reads a
    # bit that says yes here, and no at the other place.
    state.exclusive[0] = call.place is Place.MIDDLE
    if call.place.others is not None:
        # What is writable is not shared.
        state.exclusive[fixed.outside] = call.place.others is Right.WRITE
    elsewhere = fixed.first_page + fixed.astray
    state.exclusive[elsewhere : elsewhere + fixed.k] = 1


def _write_folios(call: Call, state: State) -> None:
    bits: Any = flags.FOLIO_DIRTY if call.shared else flags.FOLIO_ANON
    pages = 0
    rows = (
        (FIRST_PFN, FOLIO_PAGES, bits),
        (SECOND_PFN, FOLIO_PAGES, bits),
        (ORDER_0_PFN, 1, bits),
        (PINNED_PFN, 2, bits | flags.FOLIO_PINNED),
    )
    for row, (pfn, nr_pages, folio_flags) in enumerate(rows):
        state.folios[row] = (pfn, nr_pages, folio_flags, 0, pages)
        pages += nr_pages
    state.facts[0].nr_folios = len(rows)


NR_FOLIOS = 4
NR_PAGES = 2 * FOLIO_PAGES + 3


def vma_flags(call: Call) -> int:
    """VM_* of the call's VMA."""
    ask = ASKS[call.ask]
    bits = ask.access | int(flags.VM_MAYREAD | flags.VM_MAYWRITE | flags.VM_MAYEXEC)
    if call.shared:
        bits |= int(flags.VM_SHARED | flags.VM_MAYSHARE)
    if layout_of(call.arch).config.soft_dirty and not call.tracked:
        bits |= int(flags.VM_SOFTDIRTY)
    if call.registered:
        bits |= int(flags.VM_UFFD_RWP if ask.rwp else flags.VM_UFFD_WP)
    return bits


def access_index(call: Call) -> int:
    """The place in protection_map[] that the VMA's page protection is taken from."""
    # Where writes must be noticed, VM_SHARED is left out of the lookup; a write upgrade
    # of a shared mapping is asked for only there.
    noticed = call.tracked or call.registered or call.tries
    return ASKS[call.ask].access | (8 if call.shared and not noticed else 0)
