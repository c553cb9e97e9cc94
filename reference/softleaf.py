"""Entries that are neither empty nor present: swap, migration, device, poison, markers.

Sources: mm/mprotect.c (change_pte_range; 7.3: change_softleaf_pte), include/linux/swapops.h.
"""

import numpy as np

from mm import flags
from mm.jit import rule
from mm.layout import PTE_MARKER_GUARD, PTE_MARKER_POISONED, PTE_MARKER_UFFD_WP

from .arch import SwapEntry
from .pages import has_folio_flag, page_at
from .rules import clears_uffd, sets_uffd

NONE = np.uint64(0)
UFFD_WP = np.uint64(PTE_MARKER_UFFD_WP)
POISONED = np.uint64(PTE_MARKER_POISONED)
GUARD = np.uint64(PTE_MARKER_GUARD)


@rule
def uffd_wp_marker(arch, facts):
    """The word of the marker that stands for write protection of an empty entry."""
    return arch.encode_swap(
        facts, SwapEntry(np.int64(facts.swp_marker), UFFD_WP, False, False, False, NONE)
    )


@rule
def is_marker(facts, swap):
    """Whether the entry is a marker, which stands for no page: is_pte_marker_entry()."""
    return swap.type == facts.swp_marker


@rule
def is_marker_for_good(facts, swap):
    """Whether the marker poisons or (since 6.13) guards the address, so that nothing lifts it."""
    if (swap.offset & POISONED) != NONE:
        return True
    return facts.guard_marker != 0 and (swap.offset & GUARD) != NONE


@rule
def _retyped(swap, new_type, soft_dirty, uffd):
    """The entry with another type; the exclusive bit and meaningless bits go."""
    return SwapEntry(np.int64(new_type), swap.offset, soft_dirty, uffd, False, NONE)


@rule
def without_write(arch, state, swap):
    """The entry with write permission, as far as its kind carries one, taken away.

    The offset stays whole: a migration entry keeps its young and dirty bits there.
    """
    facts = state.facts[0]
    soft_dirty = facts.soft_dirty != 0 and swap.soft_dirty
    uffd = facts.uffd_wp != 0 and swap.uffd
    if swap.type == facts.swp_migration_write:
        # The kernel carries soft-dirty over, but not the userfaultfd bit.
        if has_folio_flag(page_at(state, arch.swp_offset_pfn(facts, swap)), flags.FOLIO_ANON):
            return _retyped(swap, facts.swp_migration_read_exclusive, soft_dirty, False)
        return _retyped(swap, facts.swp_migration_read, soft_dirty, False)
    if swap.type == facts.swp_device_write:
        # Here the other way round: userfaultfd yes, soft-dirty no.
        return _retyped(swap, facts.swp_device_read, False, uffd)
    # Until 6.14; no entry has type -1, the number of a kind that does not exist.
    if swap.type == facts.swp_device_exclusive_write:
        return _retyped(swap, facts.swp_device_exclusive, soft_dirty, uffd)
    return swap


@rule
def _with_uffd(swap, uffd):
    return SwapEntry(swap.type, swap.offset, swap.soft_dirty, uffd, swap.exclusive, swap.rest)


@rule
def change_uffd(facts, swap):
    """The entry with the userfaultfd bit as the call wants it."""
    if facts.uffd_wp == 0:
        return swap
    if sets_uffd(facts):
        return _with_uffd(swap, True)
    if clears_uffd(facts):
        return _with_uffd(swap, False)
    return swap
