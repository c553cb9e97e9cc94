"""x86_64: mask arithmetic on raw words, and the compiled entry.

Source: arch/x86/include/asm/pgtable.h, pgtable_64.h, pgtable-invert.h and
tlbflush.h, Linux 7.3, where no version is given. Shadow stacks off, DEBUG_VM off.
"""

from typing import NamedTuple

import numpy as np

from mm import table
from mm.jit import entry, rule
from mm.state import numba_target
from mm.x86_64 import (
    PAGE_ACCESSED,
    PAGE_DEVMAP,
    PAGE_DIRTY,
    PAGE_GLOBAL,
    PAGE_NONE,
    PAGE_NX,
    PAGE_PAT,
    PAGE_PCD,
    PAGE_PKEY_MASK,
    PAGE_PRESENT,
    PAGE_PWT,
    PAGE_RW,
    PAGE_SAVED_DIRTY,
    PAGE_SOFT_DIRTY,
    PAGE_SPECIAL,
    PAGE_UFFD,
    PAGE_USER,
    PFN_SHIFT,
    PTE_PFN_MASK,
    SWP_OFFSET_BITS,
    SWP_OFFSET_SHIFT,
    SWP_PFN_BITS,
    SWP_SOFT_DIRTY,
    SWP_TYPE_SHIFT,
    SWP_UFFD,
)

from . import masked, walk
from .arch import Arch
from .detect import FPB_RESPECT_SOFT_DIRTY, FPB_RESPECT_WRITE

NONE = np.uint64(0)
ONE = np.uint64(1)
ALL = np.uint64((1 << 64) - 1)
ONE_PAGE = np.uint64(1 << 12)
ONE_PAGE_LESS = ALL - ONE_PAGE + np.uint64(1)

PRESENT_OR_PROTNONE = PAGE_PRESENT | PAGE_GLOBAL
DIRTY_BITS = PAGE_DIRTY | PAGE_SAVED_DIRTY  # _PAGE_DIRTY_BITS
# What a none entry may carry: Xeon Phi erratum, pte_none() of pgtable_64.h.
STRAY = PAGE_ACCESSED | PAGE_DIRTY  # _PAGE_KNL_ERRATUM_MASK
# Accessed and dirty of a whole batch are merged, so batches need not agree in them.
IGNORED = PAGE_ACCESSED | DIRTY_BITS

# _PAGE_CHG_MASK without the bits that configuration and version decide on.
KEPT = (
    PTE_PFN_MASK
    | PAGE_PWT
    | PAGE_PCD
    | PAGE_PAT
    | PAGE_SPECIAL
    | PAGE_ACCESSED
    | PAGE_DIRTY
    | PAGE_SAVED_DIRTY
)

# pte_flags_need_flush(). Bit 12 of the kernel's mask is a PFN bit in this entry.
FLUSH_ON_CLEAR = PAGE_PRESENT | PAGE_DIRTY
FLUSH_ON_CHANGE = (
    PAGE_RW | PAGE_USER | PAGE_PWT | PAGE_PCD | PAGE_PAT | PAGE_GLOBAL | PAGE_PKEY_MASK | PAGE_NX
)

# From the dirty bit of hardware to the saved one.
SAVED_DIRTY_SHIFT = np.uint64(58 - 6)

SWP_OFFSET_MASK = np.uint64((1 << SWP_OFFSET_BITS) - 1)
SWP_PFN_MASK = np.uint64((1 << SWP_PFN_BITS) - 1)


class Masks(NamedTuple):
    """Words that depend on configuration, version and call; zero for a bit that is not there."""

    soft_dirty: np.uint64
    uffd: np.uint64
    devmap: np.uint64
    kept: np.uint64  # _PAGE_CHG_MASK
    newprot: np.uint64  # what pte_modify takes from the new protection
    page_none: np.uint64  # what pte_modify takes from PAGE_NONE
    has_protnone: bool
    swp_soft_dirty: np.uint64
    swp_uffd: np.uint64


@rule
def masks_of(facts):
    """The masks of one call."""
    # _PAGE_SOFT_DIRTY and _PAGE_UFFD are 0 where compiled out, everywhere they
    # are used: pte_modify then takes the bit from the new protection.
    soft_dirty = PAGE_SOFT_DIRTY if facts.soft_dirty != 0 else NONE
    uffd = PAGE_UFFD if facts.uffd_wp != 0 else NONE
    devmap = PAGE_DEVMAP if facts.devmap != 0 else NONE
    kept = KEPT | soft_dirty | uffd | devmap
    return Masks(
        soft_dirty=soft_dirty,
        uffd=uffd,
        devmap=devmap,
        kept=kept,
        newprot=facts.newprot & ~kept,
        page_none=PAGE_NONE & ~kept,
        # pte_protnone() is a part of NUMA balancing until RWP needs it, too
        # (ARCH_HAS_PTE_PROTNONE, 7.3).
        has_protnone=facts.numa_balancing != 0 or facts.uffd_rwp != 0,
        swp_soft_dirty=SWP_SOFT_DIRTY if facts.soft_dirty != 0 else NONE,
        swp_uffd=SWP_UFFD if facts.uffd_wp != 0 else NONE,
    )


@rule
def pte_present(pte):
    """Whether the entry maps something, PROT_NONE included."""
    return pte & PRESENT_OR_PROTNONE != NONE


@rule
def pte_none(pte):
    """Whether the entry is empty."""
    return pte & ~STRAY == NONE


@rule
def pte_protnone(masks, pte):
    """Whether the entry is present but inaccessible."""
    return masks.has_protnone and pte & PRESENT_OR_PROTNONE == PAGE_GLOBAL


@rule
def pte_special(pte):
    """Whether the entry has no page of its own."""
    return pte & PAGE_SPECIAL != NONE


@rule
def pte_write(pte):
    """Whether the entry is writable."""
    return pte & PAGE_RW != NONE


@rule
def pte_dirty(pte):
    """Whether the entry is dirty, by hardware or saved."""
    return pte & DIRTY_BITS != NONE


@rule
def needs_invert(pte):
    """Whether the PFN is stored inverted: __pte_needs_invert(), against L1TF."""
    return pte != NONE and pte & PAGE_PRESENT == NONE


@rule
def pte_pfn(masks, pte):
    """The page frame number."""
    plain = ~pte if needs_invert(pte) else pte
    return (plain & PTE_PFN_MASK) >> PFN_SHIFT


@rule
def pfn_step(masks, pte):
    """What to add to the word for one page more, modulo 2**64: pte_advance_pfn()."""
    return ONE_PAGE_LESS if needs_invert(pte) else ONE_PAGE


@rule
def clear_ignored(masks, pte, fpb_flags):
    """`pte` without what entries of a batch may differ in: __pte_batch_clear_ignored()."""
    pte &= ~IGNORED
    if fpb_flags & FPB_RESPECT_SOFT_DIRTY == NONE:
        pte &= ~masks.soft_dirty
    if fpb_flags & FPB_RESPECT_WRITE == NONE:
        pte &= ~PAGE_RW
    return pte


@rule
def save_dirty(pte):
    """`pte` with a dirty bit that hardware would misread moved away: pte_mksaveddirty()."""
    dirty = pte & PAGE_DIRTY
    saved = pte & ~PAGE_DIRTY | dirty << SAVED_DIRTY_SHIFT
    return pte if pte & PAGE_RW != NONE else saved


@rule
def unsave_dirty(pte):
    """`pte` with a saved dirty bit given back to hardware: pte_clear_saveddirty()."""
    saved = pte & PAGE_SAVED_DIRTY
    restored = pte & ~PAGE_SAVED_DIRTY | saved >> SAVED_DIRTY_SHIFT
    return restored if pte & PAGE_RW != NONE else pte


@rule
def modify(masks, pte, taken):
    """`pte` with the protection bits `taken`, which has none of the kept ones."""
    new = pte & masks.kept | taken
    if needs_invert(pte) != needs_invert(new):
        new ^= PTE_PFN_MASK
    return save_dirty(new) if pte & PAGE_RW != NONE else unsave_dirty(new)


@rule
def pte_modify(masks, pte):
    """`pte` with the new protection of the call."""
    return modify(masks, pte, masks.newprot)


@rule
def pte_modify_none(masks, pte):
    """`pte` with PAGE_NONE."""
    return modify(masks, pte, masks.page_none)


@rule
def pte_mkuffd(masks, pte):
    """`pte` protected by userfaultfd; pte_mkuffd_wp() before 7.3."""
    # Without the bit, include/asm-generic/pgtable_uffd.h changes nothing at all.
    if masks.uffd == NONE:
        return pte
    return save_dirty((pte | masks.uffd) & ~PAGE_RW)


@rule
def pte_mkwrite(masks, pte):
    """`pte` made writable, in a VMA that is no shadow stack."""
    return unsave_dirty(pte | PAGE_RW)


@rule
def pte_mkdirty(masks, pte):
    """`pte` made dirty, and soft-dirty with it."""
    return save_dirty(pte | PAGE_DIRTY | masks.soft_dirty)


@rule
def pte_needs_flush(masks, old, new):
    """Whether a TLB that holds `old` must be told of `new`."""
    if old & PAGE_PRESENT == NONE:
        return False
    changed = old ^ new
    if changed & (old & FLUSH_ON_CLEAR | FLUSH_ON_CHANGE) != NONE:
        return True
    # The kernel asks this first; it is the costlier question of the two.
    return pte_pfn(masks, old) != pte_pfn(masks, new)


@rule
def ptep_get(state, index):
    """The word of entry `index`."""
    return table.load(state, index)


@rule
def batch_hint(index, pte, most):
    """How many entries from `index` on the one word `pte` speaks for: pte_batch_hint()."""
    return ONE


@rule
def modify_prot_start_ptes(state, masks, index, nr):
    """Take `nr` entries; the first one, with accessed and dirty of the others merged in.

    Source: the generic modify_prot_start_ptes(), mm/mprotect.c, v6.17.
    """
    first = table.take(state, index)
    others = NONE
    for at in range(index + ONE, index + nr):
        others |= table.take(state, at)
    if pte_dirty(others):
        first = pte_mkdirty(masks, first)
    first |= others & PAGE_ACCESSED
    return first


@rule
def modify_prot_commit_ptes(state, call, masks, index, nr, old, pte):
    """Write `nr` entries from `index` on: `pte`, one page further each."""
    step = pfn_step(masks, pte)
    for at in range(index, index + nr):
        table.store(state, at, pte)
        pte += step


@rule
def set_pte(state, index, pte):
    """Write the swap-like entry `pte` to entry `index`."""
    table.store(state, index, pte)


@rule
def pte_clear(state, index):
    """Make the swap-like entry `index` none."""
    table.store(state, index, NONE)


@rule
def swp_type(pte):
    """The type of a swap-like entry."""
    return np.int64(pte >> SWP_TYPE_SHIFT)


@rule
def swp_offset(masks, pte):
    """The offset of a swap-like entry, which is stored inverted."""
    return ~pte >> SWP_OFFSET_SHIFT & SWP_OFFSET_MASK


@rule
def swp_offset_pfn(masks, pte):
    """The PFN in the offset of a migration or device entry."""
    return swp_offset(masks, pte) & SWP_PFN_MASK


@rule
def swp_entry(masks, swp_type, offset):
    """The swap-like entry of this type and offset, without any flag."""
    return np.uint64(swp_type) << SWP_TYPE_SHIFT | (~offset & SWP_OFFSET_MASK) << SWP_OFFSET_SHIFT


ARCH = Arch(
    masks_of=masks_of,
    peek_is_free=True,
    ptep_get=ptep_get,
    batch_hint=batch_hint,
    modify_prot_start_ptes=modify_prot_start_ptes,
    modify_prot_commit_ptes=modify_prot_commit_ptes,
    set_pte=set_pte,
    pte_clear=pte_clear,
    pte_present=pte_present,
    pte_none=pte_none,
    pte_protnone=pte_protnone,
    pte_special=pte_special,
    pte_devmap=masked.pte_devmap,
    pte_write=pte_write,
    pte_dirty=pte_dirty,
    pte_soft_dirty=masked.pte_soft_dirty,
    pte_uffd=masked.pte_uffd,
    pte_pfn=pte_pfn,
    pfn_step=pfn_step,
    clear_ignored=clear_ignored,
    pte_modify=pte_modify,
    pte_modify_none=pte_modify_none,
    pte_mkuffd=pte_mkuffd,
    pte_clear_uffd=masked.pte_clear_uffd,
    pte_mkwrite=pte_mkwrite,
    pte_needs_flush=pte_needs_flush,
    swp_type=swp_type,
    swp_offset=swp_offset,
    swp_offset_pfn=swp_offset_pfn,
    swp_entry=swp_entry,
    swp_soft_dirty=masked.swp_soft_dirty,
    swp_mksoft_dirty=masked.swp_mksoft_dirty,
    swp_uffd=masked.swp_uffd,
    swp_mkuffd=masked.swp_mkuffd,
    swp_clear_uffd=masked.swp_clear_uffd,
)


@entry(numba_target)
def change_pte_range(state):
    """Change the range of `state` by the batch; the number of changed entries."""
    return walk.change_pte_range(ARCH, state)
