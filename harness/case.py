"""A case: one frozen value with everything that one call of change_pte_range reads.

`Case.check()` lists the rules that every case keeps, so that nothing behind it
has to doubt one. What a real kernel keeps besides (a case that does is *sane*,
any other *wild*) is `harness.sane`. The text form is `harness.casefile`, the
arrays that the sides work on are made by `harness.arrays`.
"""

import dataclasses
from bisect import bisect_right
from dataclasses import dataclass, field

from mm import arm64, flags, powerpc, x86_64
from mm.layout import Layout
from mm.version import DEFAULT_VERSION, VERSIONS, Config

# By architecture, one for each size of pages; the first is the default.
LAYOUTS = {layouts[0].arch: layouts for layouts in (x86_64.LAYOUTS, arm64.LAYOUTS, powerpc.LAYOUTS)}
ARCHES = tuple(LAYOUTS)

MAX_WORD = (1 << 64) - 1
MAX_NODES = 64
MAX_FOLIO_PAGES = 4096
# Far above any count of users or coprocessors, and inside a signed 64-bit field.
MAX_COUNT = 1 << 32


class CaseError(ValueError):
    """A case, or a file with one, that breaks a rule: one line with what would have been right."""


def layout_of(arch: str, page_shift: int | None = None) -> Layout:
    """The layout of `arch` with pages of `page_shift`, by default its first; KeyError for neither."""
    for layout in LAYOUTS[arch]:
        if page_shift in (None, layout.page_shift):
            return layout
    raise KeyError(page_shift)


@dataclass(frozen=True, slots=True)
class Vma:
    """The VMA, as it is during the call."""

    flags: int  # VM_*
    anon: bool = True  # vma_is_anonymous()
    uffd_wp_unpopulated: bool = False


@dataclass(frozen=True, slots=True)
class Call:
    """The call of change_pte_range; the range is half open, in entries of the window."""

    cp_flags: int  # MM_CP_*
    newprot: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Folio:
    """A folio; bit i of `exclusive` is PageAnonExclusive of its page i."""

    pfn: int
    nr_pages: int = 1
    flags: int = 0  # FOLIO_*
    nid: int = 0
    exclusive: int = 0


def folio_of(folios: tuple[Folio, ...], pfn: int) -> int | None:
    """The index of the folio that holds `pfn`."""
    row = bisect_right(folios, pfn, key=lambda folio: folio.pfn) - 1
    return row if row >= 0 and pfn < folios[row].pfn + folios[row].nr_pages else None


@dataclass(frozen=True, slots=True)
class Mm:
    """Facts of the mm and of NUMA balancing."""

    users: int = 1
    numa_node: int = 0
    numa_balancing_mode: int = 1
    toptier_nodes: int = 1  # bit n: node n is top tier


@dataclass(frozen=True, slots=True)
class Case:
    """One call on one window of one page table."""

    vma: Vma
    call: Call
    ptes: tuple[int, ...]
    folios: tuple[Folio, ...] = ()
    mm: Mm = Mm()
    table_addr: int = 0x7F00_0000_0000  # virtual address of entry 0 of the window
    # (entry, bits) that the hardware flips just before the entry is taken, ascending.
    # It never flips one back: a bit that is set, or cleared, already stays.
    hardware: tuple[tuple[int, int], ...] = ()
    arch: str = "x86_64"
    kernel: str = DEFAULT_VERSION
    config: Config = field(default_factory=Config)

    @property
    def layout(self) -> Layout:
        """The layout of the case's entries."""
        return layout_of(self.arch, self.config.page_shift)

    def replace(self, **changes: object) -> "Case":
        """A case like this one with some parts replaced."""
        return dataclasses.replace(self, **changes)  # type: ignore[arg-type]

    def check(self) -> str | None:
        """The first rule that the case breaks, with the value and what would be right, or None."""
        return (
            self._check_kernel() or self._check_window() or self._check_folios() or self._check_mm()
        )

    def _check_kernel(self) -> str | None:
        if self.arch not in ARCHES:
            return f"unknown arch {self.arch!r}; known: {', '.join(ARCHES)}"
        if self.kernel not in VERSIONS:
            return f"unknown kernel {self.kernel!r}; known: {', '.join(VERSIONS)}"
        config = self.config
        shifts = [layout.page_shift for layout in LAYOUTS[self.arch]]
        if config.page_shift not in shifts:
            known = " or ".join(str(shift) for shift in shifts)
            return f"page_shift of {self.arch} must be {known}, got {config.page_shift}"
        layout = self.layout
        for name in ("zero_pfn", "highest_memmap_pfn"):
            pfn = getattr(config, name)
            if not 0 <= pfn < 1 << layout.pfn_bits:
                return f"{name} {pfn:#x} must fit in {layout.pfn_bits} bits"
        if not 0 <= config.coprocessors <= MAX_COUNT:
            return f"coprocessors {config.coprocessors} must be 0..{MAX_COUNT}"
        for name, exists in (
            ("soft_dirty", bool(layout.swap.soft_dirty)),
            ("uffd_wp", bool(layout.swap.uffd)),
            ("bbml3", layout.block > 1),
            ("coprocessors", self.arch == "powerpc"),
            ("isa_31", self.arch == "powerpc"),
            ("hash_mmu", self.arch == "powerpc"),
        ):
            if getattr(config, name) and not exists:
                return f"{self.arch} has no {name}; it must be off"
        return None

    def _check_window(self) -> str | None:
        entries, block = self.layout.entries_per_table, self.layout.block
        nr, shift = len(self.ptes), self.config.page_shift
        if not 1 <= nr <= entries:
            return f"a window has 1..{entries} entries, got {nr}"
        if not 0 <= self.call.start < self.call.end <= nr:
            return (
                f"range [{self.call.start}, {self.call.end}) must be non-empty and "
                f"inside the window [0, {nr})"
            )
        if self.table_addr % (1 << shift) or not 0 <= self.table_addr <= MAX_WORD:
            return f"table address {self.table_addr:#x} must be a multiple of {1 << shift:#x}"
        if (self.table_addr >> shift) % entries + nr > entries:
            return (
                f"{nr} entries from address {self.table_addr:#x} on leave the page table; "
                f"its last entry is at {(self.table_addr >> shift | entries - 1) << shift:#x}"
            )
        if nr % block or (self.table_addr >> shift) % block:
            return (
                f"a window of {self.arch} is made of whole blocks of {block} entries, aligned; got "
                f"{nr} entries from address {self.table_addr:#x} on"
            )
        if not 0 <= self.call.newprot <= MAX_WORD:
            return f"newprot {self.call.newprot:#x} does not fit in 64 bits"
        if min(self.ptes) < 0 or max(self.ptes) > MAX_WORD:
            at = next(i for i, word in enumerate(self.ptes) if not 0 <= word <= MAX_WORD)
            return f"pte {at} {self.ptes[at]:#x} does not fit in 64 bits"
        return self._check_hardware()

    def _check_hardware(self) -> str | None:
        previous = -1
        for index, bits in self.hardware:
            if not 0 <= index < len(self.ptes):
                return f"hardware entry {index} is outside the window [0, {len(self.ptes)})"
            if index <= previous:
                return f"hardware entry {index} must come after entry {previous}"
            allowed = int(self.layout.hardware_bits)
            if bits <= 0 or bits & ~allowed:
                return f"hardware bits of entry {index} must be among {allowed:#x}, got {bits:#x}"
            previous = index
        return None

    def _check_folios(self) -> str | None:
        end = 0
        for folio in self.folios:
            pages = folio.nr_pages
            if pages < 1 or pages & (pages - 1) or pages > MAX_FOLIO_PAGES:
                return (
                    f"folio {folio.pfn:#x} must have a power of two of pages up to "
                    f"{MAX_FOLIO_PAGES}, got {pages}"
                )
            last = folio.pfn + pages - 1
            limit = self.config.highest_memmap_pfn
            if folio.pfn < 0 or last > limit:
                return (
                    f"folio pfn {folio.pfn:#x} is out of range; its last page must be <= {limit:#x}"
                )
            if folio.pfn == 0 and pages > 1:
                return f"folio of {pages} pages at pfn 0x0: page frame 0 is in no large folio"
            if folio.pfn % pages:
                return (
                    f"folio of {pages} pages needs a pfn that is a multiple of {pages:#x}, "
                    f"got {folio.pfn:#x}"
                )
            if folio.pfn < end:
                return f"folio {folio.pfn:#x} overlaps or precedes the folio before it, which ends at {end:#x}"
            if not 0 <= folio.exclusive < 1 << pages:
                return f"exclusive bits of folio {folio.pfn:#x} must fit its {pages} pages"
            if folio.flags & ~sum(int(v) for v in flags.FOLIO_FLAGS.values()):
                return f"folio {folio.pfn:#x} has unknown flags {folio.flags:#x}"
            if not 0 <= folio.nid < MAX_NODES:
                return f"folio {folio.pfn:#x} has node {folio.nid}; nodes are 0..{MAX_NODES - 1}"
            end = last + 1
        return None

    def _check_mm(self) -> str | None:
        known_vm = sum(int(v) for v in flags.VM_FLAGS.values())
        known_cp = sum(int(v) for v in flags.CP_FLAGS.values())
        if self.vma.flags & ~known_vm:
            return f"unknown VM_ flags {self.vma.flags & ~known_vm:#x}"
        if self.call.cp_flags & ~known_cp:
            return f"unknown MM_CP_ flags {self.call.cp_flags & ~known_cp:#x}"
        if not 1 <= self.mm.users <= MAX_COUNT:
            return f"mm users must be 1..{MAX_COUNT}, got {self.mm.users}"
        if not 0 <= self.mm.numa_node < MAX_NODES:
            return f"numa node {self.mm.numa_node} is outside 0..{MAX_NODES - 1}"
        if not 0 <= self.mm.numa_balancing_mode <= 3:
            return f"numa balancing mode must be 0..3, got {self.mm.numa_balancing_mode}"
        if not 0 <= self.mm.toptier_nodes <= MAX_WORD:
            return f"toptier nodes {self.mm.toptier_nodes:#x} must be bits of nodes 0..63"
        return None
