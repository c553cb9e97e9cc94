"""arm64: mask arithmetic on raw words, and the compiled entry.

Source: arch/arm64/include/asm/pgtable.h, pgtable-prot.h and tlbflush.h, Linux 7.3,
where no version is given. 4 KiB pages; EPAN and the work-around of erratum
2645198 off. Soft-dirty does not exist.
"""

from typing import NamedTuple

import numpy as np

from mm.arm64 import (
    PAGE_NONE,
    PFN_SHIFT,
    PTE_ADDR_MASK,
    PTE_ATTRINDX_MASK,
    PTE_CONT,
    PTE_DBM,
    PTE_DEVMAP,
    PTE_DIRTY,
    PTE_GP,
    PTE_NG,
    PTE_PO_IDX_MASK,
    PTE_PRESENT_INVALID,
    PTE_PXN,
    PTE_RDONLY,
    PTE_SOFTWARE,
    PTE_SPECIAL,
    PTE_TYPE_MASK,
    PTE_UFFD,
    PTE_USER,
    PTE_UXN,
    PTE_VALID,
    PTE_WRITE,
    SWP_OFFSET_BITS,
    SWP_OFFSET_SHIFT,
    SWP_PFN_BITS,
    SWP_TYPE_BITS,
    SWP_TYPE_SHIFT,
    SWP_UFFD,
)
from mm.jit import entry, rule
from mm.state import numba_target

from . import contpte, masked, walk
from .arch import Arch
from .arm64_marks import DIRTY, NONE, marks_of, with_marks, without_marks
from .detect import FPB_RESPECT_WRITE

ONE_PAGE = np.uint64(1) << PFN_SHIFT

# What pte_modify() takes from the new protection; it keeps all the rest.
TAKEN = (
    PTE_VALID
    | PTE_ATTRINDX_MASK
    | PTE_USER
    | PTE_RDONLY
    | PTE_NG
    | PTE_GP
    | PTE_WRITE
    | PTE_PXN
    | PTE_UXN
    | PTE_PO_IDX_MASK
)

# PTE_SWBITS_MASK, 7.3: the hardware sees none of these.
SOFTWARE_BITS = PTE_SOFTWARE | PTE_UFFD | PTE_DEVMAP | PTE_SPECIAL | PTE_DIRTY

SWP_TYPE_MASK = np.uint64((1 << SWP_TYPE_BITS) - 1)
SWP_OFFSET_MASK = np.uint64((1 << SWP_OFFSET_BITS) - 1)
SWP_PFN_MASK = np.uint64((1 << SWP_PFN_BITS) - 1)


class Masks(NamedTuple):
    """Words that depend on configuration, version and call; zero for a bit that is not there."""

    soft_dirty: np.uint64
    uffd: np.uint64
    devmap: np.uint64
    newprot: np.uint64  # what pte_modify takes from the new protection
    page_none: np.uint64  # what pte_modify takes from PAGE_NONE
    cont: np.uint64  # what pte_mkcont sets
    clean: np.uint64  # what pte_mkwrite clears in a clean entry
    has_protnone: bool
    flushes_always: bool
    swp_soft_dirty: np.uint64
    swp_uffd: np.uint64


@rule
def masks_of(facts):
    """The masks of one call."""
    return Masks(
        soft_dirty=NONE,
        uffd=PTE_UFFD if facts.uffd_wp != 0 else NONE,
        devmap=PTE_DEVMAP if facts.devmap != 0 else NONE,
        newprot=facts.newprot & TAKEN,
        page_none=PAGE_NONE & TAKEN,
        # The type bits, too, until ced841702ee7, v6.13.
        cont=PTE_CONT | PTE_TYPE_MASK if facts.mkcont_sets_type != 0 else PTE_CONT,
        # Until 143937ca51cc, v6.18, who may write counts as one who has.
        clean=PTE_RDONLY if facts.mkwrite_dirties != 0 else NONE,
        # pte_protnone() is a part of NUMA balancing until RWP needs it, too
        # (ARCH_HAS_PTE_PROTNONE, 7.3).
        has_protnone=facts.numa_balancing != 0 or facts.uffd_rwp != 0,
        # Without a pte_needs_flush() of its own, until c320dbb7c80d, v6.19.
        flushes_always=facts.flush_elision == 0,
        swp_soft_dirty=NONE,
        swp_uffd=SWP_UFFD if facts.uffd_wp != 0 else NONE,
    )


@rule
def pte_present(pte):
    """Whether the entry maps something, PROT_NONE included."""
    return pte & (PTE_VALID | PTE_PRESENT_INVALID) != NONE


@rule
def pte_none(pte):
    """Whether the entry is empty."""
    return pte == NONE


@rule
def pte_protnone(masks, pte):
    """Whether the entry is present but inaccessible."""
    bits = pte & (PTE_VALID | PTE_PRESENT_INVALID | PTE_USER | PTE_UXN)
    return masks.has_protnone and bits == PTE_PRESENT_INVALID | PTE_UXN


@rule
def pte_special(pte):
    """Whether the entry has no page of its own."""
    return pte & PTE_SPECIAL != NONE


@rule
def pte_write(pte):
    """Whether the entry is writable, be it by a fault of the hardware's that sets it dirty."""
    return pte & PTE_WRITE != NONE


@rule
def pte_dirty(pte):
    """Whether the entry is dirty, by software or by hardware."""
    return marks_of(pte) & DIRTY != NONE


@rule
def pte_pfn(masks, pte):
    """The page frame number."""
    return (pte & PTE_ADDR_MASK) >> PFN_SHIFT


@rule
def pfn_step(masks, pte):
    """What to add to the word for one page more."""
    return ONE_PAGE


@rule
def clear_ignored(masks, pte, fpb_flags):
    """`pte` without what entries of a batch may differ in: __pte_batch_clear_ignored()."""
    pte = without_marks(pte)
    # pte_wrprotect(): what it does to the other bits is done above.
    return pte if fpb_flags & FPB_RESPECT_WRITE != NONE else pte & ~PTE_WRITE


@rule
def modify(pte, taken):
    """`pte` with the protection bits `taken`."""
    # Dirtiness in PTE_DIRTY, since it must not hang on the new PTE_RDONLY.
    dirty = marks_of(pte) & DIRTY
    return with_marks(pte & ~TAKEN | taken, dirty)


@rule
def pte_modify(masks, pte):
    """`pte` with the new protection of the call."""
    return modify(pte, masks.newprot)


@rule
def pte_modify_none(masks, pte):
    """`pte` with PAGE_NONE."""
    return modify(pte, masks.page_none)


@rule
def pte_mkuffd(masks, pte):
    """`pte` protected by userfaultfd; pte_mkuffd_wp() before 7.3."""
    # Without the bit, include/asm-generic/pgtable_uffd.h changes nothing at all.
    if masks.uffd == NONE:
        return pte
    # pte_wrprotect().
    return (pte | masks.uffd | marks_of(pte) & DIRTY) & ~PTE_DBM | PTE_RDONLY


@rule
def pte_mkwrite(masks, pte):
    """`pte` made writable; a clean one stays read-only until the hardware marks it dirty."""
    rdonly = PTE_RDONLY if pte & PTE_DIRTY != NONE else masks.clean
    return (pte | PTE_WRITE) & ~rdonly


@rule
def pte_needs_flush(masks, old, new):
    """Whether a TLB that holds `old` must be told of `new`."""
    if masks.flushes_always:
        return True
    return old & PTE_VALID != NONE and (old ^ new) & ~SOFTWARE_BITS != NONE


@rule
def modify_prot_start_ptes(state, masks, index, nr):
    """Take `nr` entries; the first one, with accessed and dirty of the others merged in.

    Source: modify_prot_start_ptes(), arch/arm64/mm/mmu.c, v6.17.
    """
    return contpte.get_and_clear_ptes(state, index, nr)


@rule
def modify_prot_commit_ptes(state, call, masks, index, nr, old, pte):
    """Write `nr` entries from `index` on: `pte`, one page further each.

    Source: modify_prot_commit_ptes(), arch/arm64/mm/mmu.c, v6.17.
    """
    if nr == contpte.ONE:
        contpte.set_present_pte(state, masks, index, pte)
    else:
        contpte.set_ptes(state, masks, index, nr, pte)


@rule
def swp_type(pte):
    """The type of a swap-like entry."""
    return np.int64(pte >> SWP_TYPE_SHIFT & SWP_TYPE_MASK)


@rule
def swp_offset(masks, pte):
    """The offset of a swap-like entry."""
    return pte >> SWP_OFFSET_SHIFT & SWP_OFFSET_MASK


@rule
def swp_offset_pfn(masks, pte):
    """The PFN in the offset of a migration or device entry."""
    return swp_offset(masks, pte) & SWP_PFN_MASK


@rule
def swp_entry(masks, swp_type, offset):
    """The swap-like entry of this type and offset, without any flag."""
    return np.uint64(swp_type) << SWP_TYPE_SHIFT | (offset & SWP_OFFSET_MASK) << SWP_OFFSET_SHIFT


ARCH = Arch(
    masks_of=masks_of,
    peek_is_free=False,
    ptep_get=contpte.ptep_get,
    batch_hint=contpte.batch_hint,
    modify_prot_start_ptes=modify_prot_start_ptes,
    modify_prot_commit_ptes=modify_prot_commit_ptes,
    set_pte=contpte.set_pte,
    pte_clear=contpte.pte_clear,
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
