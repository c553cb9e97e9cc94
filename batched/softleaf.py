"""Entries that are neither none nor present: swap, migration, device, markers."""

import numpy as np

from mm.flags import MM_CP_UFFD_WP, VM_UFFD_WP
from mm.jit import rule
from mm.layout import PTE_MARKER_GUARD, PTE_MARKER_POISONED, PTE_MARKER_UFFD_WP

from .call import UFFD_CLEAR, UFFD_SET, asks, vma_has
from .folios import folio_test_anon, search

NONE = np.uint64(0)
MARKER_UFFD_WP = np.uint64(PTE_MARKER_UFFD_WP)
MARKER_POISONED = np.uint64(PTE_MARKER_POISONED)
MARKER_GUARD = np.uint64(PTE_MARKER_GUARD)


@rule
def uses_markers(state, call):
    """Whether protection of what is not there is noted: userfaultfd_wp_use_markers()."""
    facts = state.facts[0]
    if not vma_has(call, VM_UFFD_WP):
        return False
    return facts.vma_anon == 0 or facts.uffd_wp_unpopulated != 0


@rule
def change_none_pte(arch, state, call, masks, index):
    """Install a uffd-wp marker in the none entry `index` if the call asks; 1 if it did."""
    if not asks(call, MM_CP_UFFD_WP) or not uses_markers(state, call):
        return 0
    arch.set_pte(state, index, arch.swp_entry(masks, state.facts[0].swp_marker, MARKER_UFFD_WP))
    return 1


@rule
def change_marker_pte(arch, state, call, masks, index, old):
    """Drop the marker `old` of entry `index` if the call resolves; 1 if it did."""
    marker = arch.swp_offset(masks, old)
    if marker & MARKER_POISONED != NONE:
        return 0
    if state.facts[0].guard_marker != 0 and marker & MARKER_GUARD != NONE:
        return 0
    if not asks(call, UFFD_CLEAR):
        return 0
    arch.pte_clear(state, index)
    return 1


@rule
def make_readable(arch, state, masks, old):
    """`old` with the write permission of a migration or device entry taken away.

    Source: change_softleaf_pte(), mm/mprotect.c, 7.3; device-exclusive until 6.14.
    """
    facts = state.facts[0]
    swp_type = arch.swp_type(old)
    offset = arch.swp_offset(masks, old)
    if swp_type == facts.swp_migration_write:
        # The folio of a migration entry is found without a look at the memory map's end.
        anon = folio_test_anon(
            state, search(state, np.uint64(facts.nr_folios), arch.swp_offset_pfn(masks, old))
        )
        read = facts.swp_migration_read_exclusive if anon else facts.swp_migration_read
        new = arch.swp_entry(masks, read, offset)
        if arch.swp_soft_dirty(masks, old):
            new = arch.swp_mksoft_dirty(masks, new)
        return new
    if swp_type == facts.swp_device_write:
        new = arch.swp_entry(masks, facts.swp_device_read, offset)
        # The soft-dirty bit is lost here: the kernel does not copy it either.
        if arch.swp_uffd(masks, old):
            new = arch.swp_mkuffd(masks, new)
        return new
    if swp_type == facts.swp_device_exclusive_write:
        new = arch.swp_entry(masks, facts.swp_device_exclusive, offset)
        if arch.swp_soft_dirty(masks, old):
            new = arch.swp_mksoft_dirty(masks, new)
        if arch.swp_uffd(masks, old):
            new = arch.swp_mkuffd(masks, new)
        return new
    return old


@rule
def change_softleaf_pte(arch, state, call, masks, index, old):
    """Change the swap-like entry `index`, whose word is `old`; 1 if it counts as changed."""
    if arch.swp_type(old) == state.facts[0].swp_marker:
        return change_marker_pte(arch, state, call, masks, index, old)
    new = make_readable(arch, state, masks, old)
    if asks(call, UFFD_SET):
        new = arch.swp_mkuffd(masks, new)
    elif asks(call, UFFD_CLEAR):
        new = arch.swp_clear_uffd(masks, new)
    if new == old:
        return 0
    arch.set_pte(state, index, new)
    return 1
