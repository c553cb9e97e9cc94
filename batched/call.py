"""What one call asks for, read once from the state's records into registers.

`State.facts` may alias the table as far as a compiler can tell, so a fact read
in the loop is loaded again for every entry. What single kinds of entry need is
left in the record: every field here costs time to compile in every function
that it is handed through.
"""

from typing import NamedTuple

import numpy as np

from mm.flags import (
    MM_CP_UFFD_RWP,
    MM_CP_UFFD_RWP_RESOLVE,
    MM_CP_UFFD_WP,
    MM_CP_UFFD_WP_RESOLVE,
    VM_MAYWRITE,
    VM_SHARED,
    VM_SOFTDIRTY,
    VM_UFFD_RWP,
)
from mm.jit import rule

NONE = np.uint64(0)

UFFD_SET = MM_CP_UFFD_WP | MM_CP_UFFD_RWP
UFFD_CLEAR = MM_CP_UFFD_WP_RESOLVE | MM_CP_UFFD_RWP_RESOLVE


class Call(NamedTuple):
    """The call and its VMA."""

    cp_flags: np.uint64  # MM_CP_*, without those that the version does not know
    vma_flags: np.uint64  # VM_*, likewise; VM_SOFTDIRTY set where nothing is tracked
    table_addr: np.uint64
    page_shift: np.uint64
    nr_folios: np.uint64
    zero_pfn: np.uint64
    highest_memmap_pfn: np.uint64


@rule
def call_of(facts):
    """The `Call` that a FACTS record holds."""
    cp_flags = facts.cp_flags
    vma_flags = facts.vma_flags
    if facts.uffd_rwp == 0:
        cp_flags &= ~(MM_CP_UFFD_RWP | MM_CP_UFFD_RWP_RESOLVE)
        vma_flags &= ~VM_UFFD_RWP
    # vma_soft_dirty_enabled(): the flag set means that tracking is NOT armed.
    if facts.soft_dirty == 0:
        vma_flags |= VM_SOFTDIRTY
    return Call(
        cp_flags=cp_flags,
        vma_flags=vma_flags,
        table_addr=facts.table_addr,
        page_shift=facts.page_shift,
        nr_folios=np.uint64(facts.nr_folios),
        zero_pfn=facts.zero_pfn,
        highest_memmap_pfn=facts.highest_memmap_pfn,
    )


@rule
def asks(call, cp_flags):
    """Whether the call has one of the MM_CP_ flags."""
    return call.cp_flags & cp_flags != NONE


@rule
def vma_has(call, vma_flags):
    """Whether the VMA has one of the VM_ flags."""
    return call.vma_flags & vma_flags != NONE


@rule
def is_cow_mapping(call):
    """Whether pages of the VMA are copied on write."""
    return call.vma_flags & (VM_SHARED | VM_MAYWRITE) == VM_MAYWRITE
