"""Which calls of change_pte_range() one call of mprotect() or of userfaultfd makes, and with what.

mprotect() changes one VMA after the other, each in one call here, because a window
stays inside one page table. Sources: mprotect_fixup() and change_protection(),
mm/mprotect.c; vma_wants_manual_pte_write_upgrade(), include/linux/mm.h;
vma_wants_writenotify(), vma_set_page_prot(), mm/mmap.c; uffd_wp_range(),
mm/userfaultfd.c; all Linux 6.12 to 7.3.
"""

from typing import NamedTuple

from mm.flags import (
    MM_CP_TRY_CHANGE_WRITABLE,
    MM_CP_UFFD_WP,
    MM_CP_UFFD_WP_RESOLVE,
    VM_MAYEXEC,
    VM_MAYREAD,
    VM_MAYSHARE,
    VM_MAYWRITE,
    VM_SHARED,
    VM_SOFTDIRTY,
    VM_UFFD_WP,
    VM_WRITE,
)
from mm.layout import Layout

from .memory import PROT_EXEC, PROT_READ, PROT_WRITE, Vma

RIGHTS = PROT_READ | PROT_WRITE | PROT_EXEC  # the VM_ bits of the same value
SHARED, WRITE = int(VM_SHARED), int(VM_WRITE)
# Entries beside the range that must stay as they are, and that a case shows.
MARGIN = 2
MAY = int(VM_MAYREAD | VM_MAYWRITE | VM_MAYEXEC)


class Mapping(NamedTuple):
    """What a window is a mapping of."""

    shared: bool
    anon: bool  # vma_is_anonymous(): not shmem
    uffd: bool  # registered for write protection
    armed: bool  # soft-dirty tracking is armed: VM_SOFTDIRTY is clear
    notifies: bool  # the file system wants to know of first writes (page_mkwrite)


class Called(NamedTuple):
    """One call of change_pte_range(): entries [first, last) of the window, and what it is given."""

    first: int
    last: int
    vma_flags: int
    cp_flags: int
    newprot: int
    margin: int  # entries around them that a case may show: of any VMA, or of none


def vma_flags(mapping: Mapping, rights: int) -> int:
    """VM_* of a VMA of `mapping` with `rights`."""
    flags = rights | MAY
    if mapping.shared:
        flags |= SHARED | int(VM_MAYSHARE)
    if mapping.uffd:
        flags |= int(VM_UFFD_WP)
    if not mapping.armed:
        flags |= int(VM_SOFTDIRTY)
    return flags


def _protection(layout: Layout, flags: int) -> int:
    return int(layout.protection_map[flags & (RIGHTS | SHARED)])


def wants_writenotify(layout: Layout, mapping: Mapping, flags: int, page_prot: int) -> bool:
    """vma_wants_writenotify(): whether a first write must fault; `page_prot` as the VMA has it."""
    if not flags & SHARED or not flags & WRITE:
        return False
    if mapping.notifies:
        return True
    # The comparison that keeps what a driver set is with the protection before the call.
    if page_prot != _protection(layout, flags):
        return False
    return mapping.armed or mapping.uffd


def page_protection(layout: Layout, mapping: Mapping, flags: int) -> int:
    """vma_set_page_prot(): the protection that new entries of the VMA have."""
    plain = _protection(layout, flags)
    if wants_writenotify(layout, mapping, flags, plain):
        return _protection(layout, flags & ~SHARED)
    return plain


def _upgrades(layout: Layout, mapping: Mapping, flags: int, page_prot: int) -> bool:
    """vma_wants_manual_pte_write_upgrade()."""
    if flags & SHARED:
        return wants_writenotify(layout, mapping, flags, page_prot)
    return bool(flags & WRITE)


def calls_of_mprotect(
    layout: Layout, mapping: Mapping, vmas: list[Vma], first: int, last: int, prot: int
) -> list[Called]:
    """What mprotect(`prot`) of entries [first, last) calls; `vmas` as they are before it."""
    found = []
    flags = vma_flags(mapping, prot)
    newprot = page_protection(layout, mapping, flags)
    for vma in vmas:
        start, end = max(vma.first, first), min(vma.last, last)
        # Nothing is done where nothing changes.
        if start >= end or vma.rights & RIGHTS == prot:
            continue
        before = page_protection(layout, mapping, vma_flags(mapping, vma.rights & RIGHTS))
        upgrades = _upgrades(layout, mapping, flags, before)
        cp_flags = int(MM_CP_TRY_CHANGE_WRITABLE) if upgrades else 0
        found.append(Called(start, end, flags, cp_flags, newprot, MARGIN))
    return found


def calls_of_uffd(
    layout: Layout, mapping: Mapping, vmas: list[Vma], first: int, last: int, on: bool
) -> list[Called]:
    """What UFFDIO_WRITEPROTECT of entries [first, last) calls."""
    found = []
    for vma in vmas:
        start, end = max(vma.first, first), min(vma.last, last)
        if start >= end:
            continue
        flags = vma_flags(mapping, vma.rights & RIGHTS)
        page_prot = page_protection(layout, mapping, flags)
        cp_flags = int(MM_CP_UFFD_WP if on else MM_CP_UFFD_WP_RESOLVE)
        if not on and _upgrades(layout, mapping, flags, page_prot):
            cp_flags |= int(MM_CP_TRY_CHANGE_WRITABLE)
        # What is next to them may be in a VMA with other rights, which only the rules of
        # mprotect() allow for.
        found.append(Called(start, end, flags, cp_flags, page_prot, 0))
    return found
