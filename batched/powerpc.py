"""powerpc: mask arithmetic on raw words, and the compiled entry.

Source: arch/powerpc/include/asm/book3s/64/pgtable.h, hash-64k.h, hash-4k.h and
tlbflush.h, Linux 7.3, where no version is given. Radix and hash MMU, 64 KiB and
4 KiB pages; userfaultfd write protection does not exist.
"""

from typing import NamedTuple

import numpy as np

from mm import table, tlb
from mm.jit import entry, rule
from mm.powerpc import (
    LAYOUT_4K,
    PAGE_ACCESSED,
    PAGE_DEVMAP,
    PAGE_DIRTY,
    PAGE_EXEC,
    PAGE_HPTEFLAGS_4K,
    PAGE_HPTEFLAGS_64K,
    PAGE_INVALID,
    PAGE_NONE,
    PAGE_PRESENT,
    PAGE_PTE,
    PAGE_READ,
    PAGE_SOFT_DIRTY,
    PAGE_SPECIAL,
    PAGE_WRITE,
    PTE_RPN_MASK_4K,
    PTE_RPN_MASK_64K,
    SWP_PFN_BITS_4K,
    SWP_PFN_BITS_64K,
    SWP_SOFT_DIRTY,
    SWP_TYPE_BITS,
)
from mm.state import numba_target

from . import masked, walk
from .arch import Arch
from .detect import FPB_RESPECT_SOFT_DIRTY, FPB_RESPECT_WRITE

NONE = np.uint64(0)
ONE = np.uint64(1)
PAGE_SHIFT_4K = np.uint64(LAYOUT_4K.page_shift)

PAGE_RW = PAGE_READ | PAGE_WRITE
PAGE_RWX = PAGE_RW | PAGE_EXEC
# What a none entry may carry: RADIX_PTE_NONE_MASK.
STRAY = PAGE_ACCESSED | PAGE_DIRTY
# Accessed and dirty of a whole batch are merged, so batches need not agree in them.
IGNORED = PAGE_ACCESSED | PAGE_DIRTY
# _PAGE_CHG_MASK without what page size and version decide on.
KEPT = PAGE_DIRTY | PAGE_ACCESSED | PAGE_SPECIAL | PAGE_PTE | PAGE_SOFT_DIRTY

SWP_TYPE_MASK = np.uint64((1 << SWP_TYPE_BITS) - 1)
SWP_PFN_MASK_64K = np.uint64((1 << SWP_PFN_BITS_64K) - 1)
SWP_PFN_MASK_4K = np.uint64((1 << SWP_PFN_BITS_4K) - 1)


class Masks(NamedTuple):
    """Words that depend on configuration, version and call; zero for a bit that is not there."""

    page_shift: np.uint64
    rpn: np.uint64  # PTE_RPN_MASK
    soft_dirty: np.uint64
    uffd: np.uint64
    devmap: np.uint64
    kept: np.uint64  # _PAGE_CHG_MASK
    newprot: np.uint64  # the new protection, which pte_modify does not mask
    has_protnone: bool
    flushes_always: bool
    nmmu: bool  # upgrades are told to coprocessors at once
    swp_pfn: np.uint64
    swp_soft_dirty: np.uint64
    swp_uffd: np.uint64


@rule
def masks_of(facts):
    """The masks of one call."""
    small = facts.page_shift == PAGE_SHIFT_4K
    rpn = PTE_RPN_MASK_4K if small else PTE_RPN_MASK_64K
    hpteflags = PAGE_HPTEFLAGS_4K if small else PAGE_HPTEFLAGS_64K
    devmap = PAGE_DEVMAP if facts.devmap != 0 else NONE
    return Masks(
        page_shift=facts.page_shift,
        rpn=rpn,
        # Whatever the configuration says of tracking: _PAGE_SOFT_DIRTY is no option.
        soft_dirty=PAGE_SOFT_DIRTY,
        uffd=NONE,
        devmap=devmap,
        kept=KEPT | rpn | hpteflags | devmap,
        newprot=facts.newprot,
        # pte_protnone() is a part of NUMA balancing until RWP needs it, too
        # (ARCH_HAS_PTE_PROTNONE, 7.3).
        has_protnone=facts.numa_balancing != 0 or facts.uffd_rwp != 0,
        flushes_always=facts.hash_mmu != 0,
        nmmu=facts.hash_mmu == 0 and facts.isa_31 == 0 and facts.coprocessors > 0,
        swp_pfn=SWP_PFN_MASK_4K if small else SWP_PFN_MASK_64K,
        swp_soft_dirty=SWP_SOFT_DIRTY if facts.soft_dirty != 0 else NONE,
        swp_uffd=NONE,
    )


@rule
def pte_present(pte):
    """Whether the entry maps something; PAGE_INVALID stands for PRESENT while it is changed."""
    return pte & PAGE_PTE != NONE and pte & (PAGE_PRESENT | PAGE_INVALID) != NONE


@rule
def pte_none(pte):
    """Whether the entry is empty."""
    return pte & ~STRAY == NONE


@rule
def pte_protnone(masks, pte):
    """Whether the entry is present but inaccessible."""
    bits = pte & (PAGE_PRESENT | PAGE_PTE | PAGE_RWX)
    return masks.has_protnone and bits == PAGE_PRESENT | PAGE_PTE


@rule
def pte_special(pte):
    """Whether the entry has no page of its own."""
    return pte & PAGE_SPECIAL != NONE


@rule
def pte_write(pte):
    """Whether the entry is writable."""
    return pte & PAGE_WRITE != NONE


@rule
def pte_dirty(pte):
    """Whether the entry is dirty."""
    return pte & PAGE_DIRTY != NONE


@rule
def pte_pfn(masks, pte):
    """The page frame number."""
    return (pte & masks.rpn) >> masks.page_shift


@rule
def pfn_step(masks, pte):
    """What to add to the word for one page more."""
    return ONE << masks.page_shift


@rule
def clear_ignored(masks, pte, fpb_flags):
    """`pte` without what entries of a batch may differ in: __pte_batch_clear_ignored()."""
    pte &= ~IGNORED
    if fpb_flags & FPB_RESPECT_SOFT_DIRTY == NONE:
        pte &= ~masks.soft_dirty
    if fpb_flags & FPB_RESPECT_WRITE == NONE:
        pte &= ~PAGE_WRITE
    return pte


@rule
def pte_modify(masks, pte):
    """`pte` with the new protection of the call, which makes it accessed: each one has the bit."""
    return pte & masks.kept | masks.newprot


@rule
def pte_modify_none(masks, pte):
    """`pte` with PAGE_NONE."""
    return pte & masks.kept | PAGE_NONE


@rule
def pte_mkuffd(masks, pte):
    """`pte`: there is no userfaultfd bit, so include/asm-generic/pgtable_uffd.h changes nothing."""
    return pte


@rule
def pte_mkwrite(masks, pte):
    """`pte` made writable, and readable with it."""
    return pte | PAGE_RW


@rule
def pte_needs_flush(masks, old, new):
    """Whether a TLB that holds `old` must be told of `new`."""
    # Hash needs the request whatever changed: arch/powerpc/include/asm/book3s/64/tlbflush.h.
    if masks.flushes_always:
        return True
    if (old ^ new) & ~(PAGE_RWX | PAGE_DIRTY | PAGE_ACCESSED) != NONE:
        return True
    return old & ~new & ~PAGE_ACCESSED != NONE


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

    SIMPLIFIED: the kernel leaves them present, but invalid, until they are committed;
    none is looked at in between. Source: the generic modify_prot_start_ptes(),
    mm/mprotect.c, v6.17; ptep_modify_prot_start(), arch/powerpc/mm/book3s64/pgtable.c.
    """
    first = table.take(state, index)
    others = NONE
    for at in range(index + ONE, index + nr):
        others |= table.take(state, at)
    if pte_dirty(others):
        # pte_mkdirty().
        first |= PAGE_DIRTY | masks.soft_dirty
    first |= others & PAGE_ACCESSED
    return first


@rule
def needs_nmmu_flush(masks, old, new):
    """Whether the nest MMU, through which coprocessors translate, must forget `old` at once.

    Before ISA 3.1 it may hang on a permission that grows beneath its TLB.
    Source: radix__ptep_modify_prot_commit(), is_pte_rw_upgrade().
    """
    return masks.nmmu and old & PAGE_RW == PAGE_READ and new & PAGE_WRITE != NONE


@rule
def modify_prot_commit_ptes(state, call, masks, index, nr, old, new):
    """Write `nr` entries from `index` on: `new`, one page further each; `old` was the first one.

    What set_pte_at() adds, PAGE_PTE, each present entry has and keeps.
    Source: the generic modify_prot_commit_ptes(), mm/mprotect.c, v6.17.
    """
    # One answer for all of them: they differ in their page alone.
    if needs_nmmu_flush(masks, old, new):
        for at in range(index, index + nr):
            tlb.nmmu(state, call.table_addr + (np.uint64(at) << call.page_shift), ONE)
    step = pfn_step(masks, new)
    for at in range(index, index + nr):
        table.store(state, at, new)
        new += step


@rule
def set_pte(state, index, pte):
    """Write the swap-like entry `pte` to entry `index`."""
    table.store(state, index, pte)


@rule
def pte_clear(state, index):
    """Make the swap-like entry `index` none: by pte_update(), which takes it."""
    table.take(state, index)


@rule
def swp_type(pte):
    """The type of a swap-like entry."""
    return np.int64(pte & SWP_TYPE_MASK)


@rule
def swp_offset(masks, pte):
    """The offset of a swap-like entry."""
    return pte_pfn(masks, pte)


@rule
def swp_offset_pfn(masks, pte):
    """The PFN in the offset of a migration or device entry."""
    return swp_offset(masks, pte) & masks.swp_pfn


@rule
def swp_entry(masks, swp_type, offset):
    """The swap-like entry of this type and offset, without any flag."""
    return np.uint64(swp_type) | offset << masks.page_shift & masks.rpn | PAGE_PTE


ARCH = Arch(
    masks_of=masks_of,
    peek_is_free=False,
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
