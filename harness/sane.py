"""What a real kernel keeps: the rules that make a case *sane*, one name each.

The relation holds for any case; some invariants only for sane ones. A case that
breaks a rule here is *wild*, which is no error: wild cases are where many wrong
readings of the rules show first.
"""

import bisect
from collections.abc import Iterator

from mm import flags
from mm import x86_64 as x86
from mm.layout import PTE_MARKER_GUARD, PTE_MARKER_POISONED, PTE_MARKER_UFFD_WP
from mm.version import VERSIONS, SwapTypes

from .case import LAYOUTS, Case, Folio

_TRY = int(flags.MM_CP_TRY_CHANGE_WRITABLE)
_NUMA = int(flags.MM_CP_PROT_NUMA)
_WP = int(flags.MM_CP_UFFD_WP)
_WP_RESOLVE = int(flags.MM_CP_UFFD_WP_RESOLVE)
_RWP = int(flags.MM_CP_UFFD_RWP)
_RWP_RESOLVE = int(flags.MM_CP_UFFD_RWP_RESOLVE)
_CALLS = {0, _TRY, _NUMA, _WP, _WP_RESOLVE, _WP_RESOLVE | _TRY}
_RWP_CALLS = {_RWP, _RWP_RESOLVE, _RWP_RESOLVE | _TRY}
_UFFD = int(flags.VM_UFFD_WP | flags.VM_UFFD_RWP)
_UFFD_CALLS = _WP | _WP_RESOLVE | _RWP | _RWP_RESOLVE
_HIDDEN = int(flags.VM_PFNMAP | flags.VM_MIXEDMAP)
_MARKERS = {PTE_MARKER_UFFD_WP, PTE_MARKER_POISONED, PTE_MARKER_GUARD}


def broken_rules(case: Case) -> Iterator[str]:
    """The rules that `case` breaks, as `name` or `name, pte N 0x…`; none for a sane case."""
    yield from _call_rules(case)
    types = VERSIONS[case.kernel].swap_types
    hardware = dict(case.hardware)
    entry_rules = _ENTRY_RULES[case.arch]
    for index, word in enumerate(case.ptes):
        for name in entry_rules(case, types, word, hardware.get(index, 0)):
            yield f"{name}, pte {index} {word:#x}"
    for index, _ in case.hardware:
        if not case.call.start <= index < case.call.end:
            yield f"hardware-in-range, pte {index}"


def is_sane(case: Case) -> bool:
    """Whether `case` keeps every rule."""
    return next(broken_rules(case), None) is None


def _call_rules(case: Case) -> Iterator[str]:
    vm, cp = case.vma.flags, case.call.cp_flags
    version = VERSIONS[case.kernel]
    if cp not in _CALLS and not (version.uffd_rwp and cp in _RWP_CALLS):
        yield "cp-flags-of-a-caller"
    if cp & _TRY and not vm & int(flags.VM_WRITE):
        yield "try-needs-vm-write"
    if cp & (_NUMA | _RWP):
        if case.call.newprot != int(LAYOUTS[case.arch].page_none):
            yield "newprot-is-page-none"
    elif case.call.newprot & ~int(x86.PAGE_PKEY_MASK) not in _vma_protections(case):
        yield "newprot-from-protection-map"
    for right, may in (("READ", "MAYREAD"), ("WRITE", "MAYWRITE"), ("EXEC", "MAYEXEC")):
        if vm & int(flags.VM_FLAGS[right]) and not vm & int(flags.VM_FLAGS[may]):
            yield f"{right.lower()}-needs-{may.lower()}"
    if case.vma.anon and vm & int(flags.VM_SHARED):
        yield "anon-vma-is-private"
    if vm & int(flags.VM_UFFD_RWP) and not version.uffd_rwp:
        yield "uffd-rwp-exists"
    if not case.config.uffd_wp and (vm & _UFFD or cp & _UFFD_CALLS):
        yield "uffd-is-configured"


def _vma_protections(case: Case) -> set[int]:
    """What vm_page_prot can be: protection_map[], without SHARED if writes are to be noticed."""
    layout, index = LAYOUTS[case.arch], case.vma.flags & 0xF
    noticed = int(layout.protection_map[index & ~int(flags.VM_SHARED)])
    # vma_wants_writenotify(): these always ask for it, a file system may.
    if case.vma.flags & int(flags.VM_UFFD_WP) or _tracks_soft_dirty(case):
        return {noticed}
    return {noticed, int(layout.protection_map[index])}


def _tracks_soft_dirty(case: Case) -> bool:
    return case.config.soft_dirty and not case.vma.flags & int(flags.VM_SOFTDIRTY)


def _folio_of(case: Case, pfn: int) -> Folio | None:
    """The folio that holds `pfn`; an order-0 one with no flag for a page that none lists."""
    if pfn > case.config.highest_memmap_pfn:
        return None
    at = bisect.bisect_right(case.folios, pfn, key=lambda folio: folio.pfn) - 1
    if at >= 0 and pfn < case.folios[at].pfn + case.folios[at].nr_pages:
        return case.folios[at]
    return Folio(pfn)


def _x86_64_rules(case: Case, types: SwapTypes, word: int, hardware: int) -> Iterator[str]:
    if word & int(x86.PAGE_PRESENT | x86.PAGE_GLOBAL):
        yield from _x86_64_present_rules(case, word, hardware)
    elif word & ~int(x86.PAGE_ACCESSED | x86.PAGE_DIRTY):
        yield from _x86_64_swap_rules(case, types, word)
    elif word:
        yield "none-is-zero"
    if hardware and not word & int(x86.PAGE_PRESENT):
        yield "hardware-sets-in-valid-entries"


def _x86_64_present_rules(case: Case, word: int, hardware: int) -> Iterator[str]:
    valid, write = word & int(x86.PAGE_PRESENT), word & int(x86.PAGE_RW)
    if bool(valid) == bool(word & int(x86.PAGE_GLOBAL)):
        yield "user-entry-is-not-global"
    if bool(valid) != bool(word & int(x86.PAGE_USER)):
        yield "valid-means-user"
    if write and not valid:
        yield "writable-means-valid"
    if word & int(x86.PAGE_DIRTY) and not write:
        yield "hardware-dirty-means-writable"
    if word & int(x86.PAGE_SAVED_DIRTY) and write:
        yield "saved-dirty-means-read-only"
    if word & int(x86.PAGE_UFFD) and write:
        yield "uffd-means-read-only"
    if word & int(x86.PAGE_UNNAMED):
        yield "unnamed-bits-are-zero"
    if word & int(x86.PAGE_DEVMAP):
        yield "devmap-is-not-modelled"
    if hardware & int(x86.PAGE_DIRTY) and not write:
        yield "hardware-dirties-writable-entries"
    yield from _x86_64_vma_rules(case, word)
    yield from _x86_64_page_rules(case, word)


def _x86_64_vma_rules(case: Case, word: int) -> Iterator[str]:
    """What a present entry may not be in its VMA."""
    if word & int(x86.PAGE_UFFD) and not case.vma.flags & _UFFD:
        yield "uffd-means-registered"
    if word & int(x86.PAGE_SOFT_DIRTY) and not case.config.soft_dirty:
        yield "soft-dirty-is-configured"
    # A call of mprotect() finds the VMA's flags changed already, no other changes them.
    mprotect = case.call.cp_flags in (0, _TRY)
    if word & int(x86.PAGE_RW) and not mprotect and not case.vma.flags & int(flags.VM_WRITE):
        yield "writable-means-vm-write"


def _x86_64_page_rules(case: Case, word: int) -> Iterator[str]:
    """What the page behind a present entry must be."""
    valid, write = word & int(x86.PAGE_PRESENT), word & int(x86.PAGE_RW)
    mask = int(x86.PTE_PFN_MASK)
    pfn = ((word if valid else ~word) & mask) >> 12
    folio = _folio_of(case, pfn)
    if word & int(x86.PAGE_SPECIAL):
        if pfn != case.config.zero_pfn and not case.vma.flags & _HIDDEN:
            yield "special-means-zero-page-or-pfnmap"
        folio = None
    elif folio is None:
        yield "pfn-in-memory-map"
    if write and not case.vma.flags & int(flags.VM_SHARED):
        anon = folio is not None and folio.flags & int(flags.FOLIO_ANON)
        if not (folio and anon and folio.exclusive >> (pfn - folio.pfn) & 1):
            yield "private-writable-means-exclusive"


def _x86_64_swap_rules(case: Case, types: SwapTypes, word: int) -> Iterator[str]:
    kind = word >> 59
    offset = (~word >> 9) & ((1 << 50) - 1)
    low = int(x86.SWP_SOFT_DIRTY | x86.SWP_UFFD | x86.SWP_EXCLUSIVE)
    if word & 0x1FF & ~low:
        yield "swap-entry-has-no-other-bit"
    known = set(types) - {-1}
    if word & int(x86.SWP_UFFD) and kind < min(known) and not case.vma.flags & _UFFD:
        yield "uffd-means-registered"
    if word & int(x86.SWP_SOFT_DIRTY) and not case.config.soft_dirty:
        yield "soft-dirty-is-configured"
    # 34 bits of PFN; migration entries keep young and dirty in the two above.
    if types.migration_read <= kind <= types.device_read and offset >> 36:
        yield "swap-pfn-fits"
    if kind == types.marker and offset not in _MARKERS:
        yield "marker-is-known"
    if kind >= min(known) and kind not in known:
        yield "swap-type-is-known"


_ENTRY_RULES = {"x86_64": _x86_64_rules}
