"""Rules of a present entry that hold on every architecture: its VMA, and the page behind it."""

from collections.abc import Iterator

from mm import flags

from ..case import Case, Folio, folio_of

UFFD = int(flags.VM_UFFD_WP | flags.VM_UFFD_RWP)
# VMAs that may map pages which are none of the kernel's: device memory, among others.
HIDDEN = int(flags.VM_PFNMAP | flags.VM_MIXEDMAP)
_MPROTECT = (0, int(flags.MM_CP_TRY_CHANGE_WRITABLE))


def folio_behind(case: Case, pfn: int) -> Folio | None:
    """The folio that holds `pfn`; an order-0 one with no flag for a page that none lists."""
    if pfn > case.config.highest_memmap_pfn:
        return None
    row = folio_of(case.folios, pfn)
    return Folio(pfn) if row is None else case.folios[row]


def vma_rules(case: Case, *, write: bool, uffd: bool, soft_dirty: bool) -> Iterator[str]:
    """What a present entry may not be in its VMA."""
    if uffd and write:
        yield "uffd-means-read-only"
    if uffd and not case.vma.flags & UFFD:
        yield "uffd-means-registered"
    if soft_dirty and not case.config.soft_dirty:
        yield "soft-dirty-is-configured"
    # A call of mprotect() finds the VMA's flags changed already, no other changes them.
    mprotect = case.call.cp_flags in _MPROTECT
    if write and not mprotect and not case.vma.flags & int(flags.VM_WRITE):
        yield "writable-means-vm-write"


def page_rules(case: Case, pfn: int, *, write: bool, special: bool) -> Iterator[str]:
    """What the page behind a present entry must be."""
    folio = folio_behind(case, pfn)
    if pfn >> case.layout.pfn_bits:
        yield "pfn-is-an-address"
    elif special:
        if pfn != case.config.zero_pfn and not case.vma.flags & HIDDEN:
            yield "special-means-zero-page-or-pfnmap"
        folio = None
    elif folio is None:
        yield "pfn-in-memory-map"
    if write and not case.vma.flags & int(flags.VM_SHARED):
        anon = folio is not None and folio.flags & int(flags.FOLIO_ANON)
        if not (folio and anon and folio.exclusive >> (pfn - folio.pfn) & 1):
            yield "private-writable-means-exclusive"
