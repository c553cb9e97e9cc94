"""The arm64 side of the reference: its swap-like entries, and the table of its rules.

The rules on one entry are in `arm64_pte`, those on blocks in `contpte`. Sources:
arch/arm64/include/asm/pgtable.h, Linux 6.12 and 7.3.
"""

import numpy as np

from mm import arm64 as bits
from mm.jit import entry, rule
from mm.state import numba_target

from . import arm64_pte, contpte, walk
from .arch import Arch, SwapEntry, mask_if

NONE = np.uint64(0)
SWP_TYPE_FIELD = np.uint64((1 << bits.SWP_TYPE_BITS) - 1)
SWP_OFFSET_FIELD = np.uint64((1 << bits.SWP_OFFSET_BITS) - 1)
SWP_PFN_FIELD = np.uint64((1 << bits.SWP_PFN_BITS) - 1)
SWP_NAMED = (
    bits.SWP_UFFD
    | bits.SWP_EXCLUSIVE
    | SWP_OFFSET_FIELD << bits.SWP_OFFSET_SHIFT
    | SWP_TYPE_FIELD << bits.SWP_TYPE_SHIFT
)


@rule
def decode_swap(facts, word):
    """The swap-like entry of `word`, without loss: __pte_to_swp_entry()."""
    return SwapEntry(
        type=np.int64((word >> bits.SWP_TYPE_SHIFT) & SWP_TYPE_FIELD),
        offset=(word >> bits.SWP_OFFSET_SHIFT) & SWP_OFFSET_FIELD,
        soft_dirty=False,
        uffd=(word & bits.SWP_UFFD) != NONE,
        exclusive=(word & bits.SWP_EXCLUSIVE) != NONE,
        rest=word & ~SWP_NAMED,
    )


@rule
def encode_swap(facts, swap):
    """The word of a swap-like entry: __swp_entry_to_pte()."""
    return (
        (np.uint64(swap.type) << bits.SWP_TYPE_SHIFT)
        | (swap.offset << bits.SWP_OFFSET_SHIFT)
        | mask_if(swap.uffd, bits.SWP_UFFD)
        | mask_if(swap.exclusive, bits.SWP_EXCLUSIVE)
        | swap.rest
    )


@rule
def swp_offset_pfn(facts, swap):
    """The PFN of an entry of a kind that has one, under the young and dirty bits."""
    return swap.offset & SWP_PFN_FIELD


ARCH = Arch(
    decode=arm64_pte.decode,
    encode=arm64_pte.encode,
    pte_present=arm64_pte.pte_present,
    pte_none=arm64_pte.pte_none,
    pte_protnone=arm64_pte.pte_protnone,
    pte_special=arm64_pte.pte_special,
    pte_devmap=arm64_pte.pte_devmap,
    pte_pfn=arm64_pte.pte_pfn,
    pte_write=arm64_pte.pte_write,
    pte_dirty=arm64_pte.pte_dirty,
    pte_soft_dirty=arm64_pte.pte_soft_dirty,
    pte_uffd=arm64_pte.pte_uffd,
    pte_modify=arm64_pte.pte_modify,
    pte_mkwrite=arm64_pte.pte_mkwrite,
    pte_mkuffd=arm64_pte.pte_mkuffd,
    pte_clear_uffd=arm64_pte.pte_clear_uffd,
    pte_needs_flush=arm64_pte.pte_needs_flush,
    decode_swap=decode_swap,
    encode_swap=encode_swap,
    swp_offset_pfn=swp_offset_pfn,
    ptep_get=contpte.ptep_get,
    ptep_modify_prot_start=contpte.ptep_modify_prot_start,
    ptep_modify_prot_commit=contpte.ptep_modify_prot_commit,
    set_pte=contpte.set_ptes,
    pte_clear=contpte.pte_clear,
    page_none=bits.PAGE_NONE,
)


@entry(numba_target)
def change_pte_range(state):
    """Change the protection of the range in `state`, one PTE at a time; the kernel's return value."""
    return walk.change_pte_range(ARCH, state)
