"""The powerpc page-table entry as a record, and the rules on it, one per kernel function.

Sources: arch/powerpc/include/asm/book3s/64/pgtable.h, radix.h and tlbflush.h,
arch/powerpc/mm/book3s64/radix_pgtable.c, Linux 6.12 and 7.3. Radix MMU, with
pages of 64 KiB or 4 KiB, which `facts.page_shift` tells.

With the hash MMU (`facts.hash_mmu`) two answers differ: `pte_needs_flush` and
`ptep_modify_prot_commit`. SIMPLIFIED there: set_pte_filter() would also drop
_PAGE_HPTEFLAGS from what is stored, and pte_none() has another mask, which no
outcome can show while userfaultfd is absent.
"""

from typing import Any, NamedTuple

import numpy as np

from mm import powerpc as bits
from mm import table, tlb
from mm.jit import entry, rule
from mm.state import numba_target

from . import ptep, walk
from .arch import Arch, SwapEntry, mask_if

NONE = np.uint64(0)
ONE_PAGE = np.uint64(1)
SHIFT_64K = np.uint64(16)
# RADIX_PTE_NONE_MASK: an empty entry can still get these from the hardware.
NONE_MASK = bits.PAGE_DIRTY | bits.PAGE_ACCESSED
SWP_TYPE_FIELD = np.uint64((1 << bits.SWP_TYPE_BITS) - 1)
SWP_PFN_FIELD_64K = np.uint64((1 << bits.SWP_PFN_BITS_64K) - 1)
SWP_PFN_FIELD_4K = np.uint64((1 << bits.SWP_PFN_BITS_4K) - 1)
NAMED = (
    bits.PAGE_EXEC
    | bits.PAGE_WRITE
    | bits.PAGE_READ
    | bits.PAGE_DIRTY
    | bits.PAGE_ACCESSED
    | bits.PAGE_SOFT_DIRTY
    | bits.PAGE_SPECIAL
    | bits.PAGE_DEVMAP
    | bits.PAGE_INVALID
    | bits.PAGE_PTE
    | bits.PAGE_PRESENT
)


class Pte(NamedTuple):
    """A page-table entry, one field per bit or group of bits."""

    execute: Any
    write: Any
    read: Any
    dirty: Any
    accessed: Any
    soft_dirty: Any
    special: Any
    devmap: Any
    invalid: Any  # _PAGE_INVALID: present, but out of the hardware's reach
    leaf: Any  # _PAGE_PTE
    present: Any
    pfn: Any  # uint64
    hpteflags: Any  # uint64, _PAGE_HPTEFLAGS in place
    rest: Any  # uint64, all other bits in place


@rule
def pte_rpn_mask(facts):
    """PTE_RPN_MASK, which begins at the page size."""
    return bits.PTE_RPN_MASK_64K if facts.page_shift == SHIFT_64K else bits.PTE_RPN_MASK_4K


@rule
def hpteflags_mask(facts):
    """_PAGE_HPTEFLAGS."""
    return bits.PAGE_HPTEFLAGS_64K if facts.page_shift == SHIFT_64K else bits.PAGE_HPTEFLAGS_4K


@rule
def decode(facts, word):
    """The record of `word`, without loss."""
    rpn, hpteflags = pte_rpn_mask(facts), hpteflags_mask(facts)
    return Pte(
        execute=(word & bits.PAGE_EXEC) != NONE,
        write=(word & bits.PAGE_WRITE) != NONE,
        read=(word & bits.PAGE_READ) != NONE,
        dirty=(word & bits.PAGE_DIRTY) != NONE,
        accessed=(word & bits.PAGE_ACCESSED) != NONE,
        soft_dirty=(word & bits.PAGE_SOFT_DIRTY) != NONE,
        special=(word & bits.PAGE_SPECIAL) != NONE,
        devmap=(word & bits.PAGE_DEVMAP) != NONE,
        invalid=(word & bits.PAGE_INVALID) != NONE,
        leaf=(word & bits.PAGE_PTE) != NONE,
        present=(word & bits.PAGE_PRESENT) != NONE,
        pfn=(word & rpn) >> facts.page_shift,
        hpteflags=word & hpteflags,
        rest=word & ~(NAMED | rpn | hpteflags),
    )


@rule
def encode(facts, pte):
    """The word of the record `pte`."""
    return (
        mask_if(pte.execute, bits.PAGE_EXEC)
        | mask_if(pte.write, bits.PAGE_WRITE)
        | mask_if(pte.read, bits.PAGE_READ)
        | mask_if(pte.dirty, bits.PAGE_DIRTY)
        | mask_if(pte.accessed, bits.PAGE_ACCESSED)
        | mask_if(pte.soft_dirty, bits.PAGE_SOFT_DIRTY)
        | mask_if(pte.special, bits.PAGE_SPECIAL)
        | mask_if(pte.devmap, bits.PAGE_DEVMAP)
        | mask_if(pte.invalid, bits.PAGE_INVALID)
        | mask_if(pte.leaf, bits.PAGE_PTE)
        | mask_if(pte.present, bits.PAGE_PRESENT)
        | (pte.pfn << facts.page_shift)
        | pte.hpteflags
        | pte.rest
    )


@rule
def pte_present(pte):
    """Whether the entry maps something, accessible or not."""
    return pte.leaf and (pte.present or pte.invalid)


@rule
def pte_none(facts, pte):
    """Whether the entry is empty."""
    return (encode(facts, pte) & ~NONE_MASK) == NONE


@rule
def pte_protnone(facts, pte):
    """Whether the entry maps something that may not be accessed: valid, but no right.

    Without CONFIG_NUMA_BALANCING the kernel has the generic helper that always
    says no (include/linux/pgtable.h), until 7.3 made it CONFIG_ARCH_HAS_PTE_PROTNONE,
    which PPC_BOOK3S_64 selects.
    """
    if facts.numa_balancing == 0 and facts.uffd_rwp == 0:
        return False
    return pte.leaf and pte.present and not (pte.read or pte.write or pte.execute)


@rule
def pte_special(pte):
    """Whether the entry says that no page shall be looked for behind it."""
    return pte.special


@rule
def pte_devmap(facts, pte):
    """Whether the entry maps fs-DAX or device memory of the old kind; the bit went in 6.17."""
    return facts.devmap != 0 and pte.devmap


@rule
def pte_pfn(pte):
    """The page frame number."""
    return pte.pfn


@rule
def pte_write(pte):
    """Whether the entry is writable."""
    return pte.write


@rule
def pte_dirty(pte):
    """Whether the page was written through this entry."""
    return pte.dirty


@rule
def pte_soft_dirty(facts, pte):
    """Whether the soft-dirty bit is set."""
    return facts.soft_dirty != 0 and pte.soft_dirty


@rule
def pte_uffd(facts, pte):
    """No: powerpc has no userfaultfd bit (CONFIG_HAVE_ARCH_USERFAULTFD_WP)."""
    return False


@rule
def pte_mkuffd(facts, pte):
    """`pte`, for want of a userfaultfd bit."""
    return pte


@rule
def pte_clear_uffd(facts, pte):
    """`pte`, for want of a userfaultfd bit."""
    return pte


@rule
def pte_mkwrite(facts, pte):
    """`pte` made writable, and readable with it: pte_mkwrite_novma()."""
    return Pte(
        execute=pte.execute,
        write=True,
        read=True,
        dirty=pte.dirty,
        accessed=pte.accessed,
        soft_dirty=pte.soft_dirty,
        special=pte.special,
        devmap=pte.devmap,
        invalid=pte.invalid,
        leaf=pte.leaf,
        present=pte.present,
        pfn=pte.pfn,
        hpteflags=pte.hpteflags,
        rest=pte.rest,
    )


@rule
def pte_modify(facts, pte, newprot):
    """What _PAGE_CHG_MASK keeps of `pte`, and all of `newprot`.

    Nothing is masked off `newprot`, and each protection of the kernel carries
    _PAGE_ACCESSED: whatever is changed comes out accessed.
    """
    return Pte(
        execute=newprot.execute,
        write=newprot.write,
        read=newprot.read,
        dirty=pte.dirty or newprot.dirty,
        accessed=pte.accessed or newprot.accessed,
        soft_dirty=pte.soft_dirty or newprot.soft_dirty,
        special=pte.special or newprot.special,
        # Until 6.16 _PAGE_DEVMAP is in the mask; later the bit is nobody's.
        devmap=(facts.devmap != 0 and pte.devmap) or newprot.devmap,
        invalid=newprot.invalid,
        leaf=pte.leaf or newprot.leaf,
        present=newprot.present,
        pfn=pte.pfn | newprot.pfn,
        hpteflags=pte.hpteflags | newprot.hpteflags,
        rest=newprot.rest,
    )


@rule
def pte_needs_flush(facts, old, new):
    """Whether a TLB that holds `old` must not keep it when the table says `new`.

    Source: __pte_flags_need_flush(), tlbflush.h. A gain of rights never counts.
    """
    # The hash table was updated, and flushed, when the entry was taken: any answer does.
    if facts.hash_mmu != 0:
        return True
    # Bits of which any change counts.
    if (
        old.soft_dirty != new.soft_dirty
        or old.special != new.special
        or old.devmap != new.devmap
        or old.invalid != new.invalid
        or old.leaf != new.leaf
        or old.present != new.present
        or old.pfn != new.pfn
        or old.hpteflags != new.hpteflags
        or old.rest != new.rest
    ):
        return True
    # Bits whose clearing alone counts. Accessed never does.
    return (
        (old.execute and not new.execute)
        or (old.write and not new.write)
        or (old.read and not new.read)
        or (old.dirty and not new.dirty)
    )


@rule
def decode_swap(facts, word):
    """The swap-like entry of `word`, without loss: __pte_to_swp_entry().

    _PAGE_PTE is in every entry of the kernel's own, so `rest` has it where it lacks.
    """
    offset = pte_rpn_mask(facts)
    named = SWP_TYPE_FIELD | bits.SWP_SOFT_DIRTY | bits.SWP_EXCLUSIVE | offset
    return SwapEntry(
        type=np.int64(word & SWP_TYPE_FIELD),
        offset=(word & offset) >> facts.page_shift,
        soft_dirty=(word & bits.SWP_SOFT_DIRTY) != NONE,
        uffd=False,
        exclusive=(word & bits.SWP_EXCLUSIVE) != NONE,
        rest=(word ^ bits.PAGE_PTE) & ~named,
    )


@rule
def encode_swap(facts, swap):
    """The word of a swap-like entry: __swp_entry_to_pte()."""
    return (
        np.uint64(swap.type)
        | (swap.offset << facts.page_shift)
        | mask_if(swap.soft_dirty, bits.SWP_SOFT_DIRTY)
        | mask_if(swap.exclusive, bits.SWP_EXCLUSIVE)
        | (swap.rest ^ bits.PAGE_PTE)
    )


@rule
def swp_offset_pfn(facts, swap):
    """The PFN of an entry of a kind that has one, under the young and dirty bits."""
    if facts.page_shift == SHIFT_64K:
        return swap.offset & SWP_PFN_FIELD_64K
    return swap.offset & SWP_PFN_FIELD_4K


@rule
def is_pte_rw_upgrade(old, new):
    """Whether a readable entry becomes writable. One that was not readable does not count."""
    return old.read and not old.write and new.write


@rule
def ptep_modify_prot_start(state, index):
    """Take the entry: pte_update().

    The kernel leaves it present, _PAGE_INVALID instead of _PAGE_PRESENT, which
    nobody sees before it is put back.
    """
    return table.take(state, index)


@rule
def set_pte(state, index, word):
    """Write `word` to the entry: __set_pte_at(), which makes it a leaf."""
    table.store(state, index, word | bits.PAGE_PTE)


@rule
def ptep_modify_prot_commit(state, index, old, word):
    """Put the entry, which was taken as `old`, back as `word`.

    Until POWER10 the MMU of a coprocessor does not look again at an entry that it
    found too weak, so it is flushed before: radix__ptep_modify_prot_commit().
    """
    facts = state.facts[0]
    if (
        facts.hash_mmu == 0
        and facts.isa_31 == 0
        and facts.coprocessors > 0
        and is_pte_rw_upgrade(decode(facts, old), decode(facts, word))
    ):
        address = facts.table_addr + (np.uint64(index) << facts.page_shift)
        tlb.nmmu(state, address, ONE_PAGE)
    set_pte(state, index, word)


@rule
def pte_clear(state, index):
    """Empty the entry: pte_update() of all bits, an atomic exchange."""
    table.take(state, index)


ARCH = Arch(
    decode=decode,
    encode=encode,
    pte_present=pte_present,
    pte_none=pte_none,
    pte_protnone=pte_protnone,
    pte_special=pte_special,
    pte_devmap=pte_devmap,
    pte_pfn=pte_pfn,
    pte_write=pte_write,
    pte_dirty=pte_dirty,
    pte_soft_dirty=pte_soft_dirty,
    pte_uffd=pte_uffd,
    pte_modify=pte_modify,
    pte_mkwrite=pte_mkwrite,
    pte_mkuffd=pte_mkuffd,
    pte_clear_uffd=pte_clear_uffd,
    pte_needs_flush=pte_needs_flush,
    decode_swap=decode_swap,
    encode_swap=encode_swap,
    swp_offset_pfn=swp_offset_pfn,
    ptep_get=ptep.ptep_get,
    ptep_modify_prot_start=ptep_modify_prot_start,
    ptep_modify_prot_commit=ptep_modify_prot_commit,
    set_pte=set_pte,
    pte_clear=pte_clear,
    page_none=bits.PAGE_NONE,
)


@entry(numba_target)
def change_pte_range(state):
    """Change the protection of the range in `state`, one PTE at a time; the kernel's return value."""
    return walk.change_pte_range(ARCH, state)
