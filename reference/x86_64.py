"""The x86_64 page-table entry as a record, and the rules on it, one per kernel function.

Sources: arch/x86/include/asm/pgtable.h, pgtable_64.h, pgtable-invert.h and
tlbflush.h, Linux 6.12 and 7.3. Shadow stacks are off, as on the CPUs that the
golden vectors model, so "writable" is the RW bit.

A configuration that is off takes its bit's meaning away, as the kernel's #ifdefs
do (pgtable_types.h): without CONFIG_MEM_SOFT_DIRTY or
CONFIG_HAVE_ARCH_USERFAULTFD_WP the mask of the bit is 0, so it is never set,
never seen, and not among the bits that pte_modify() keeps.
"""

from typing import Any, NamedTuple

import numpy as np

from mm import x86_64 as bits
from mm.jit import entry, rule
from mm.state import numba_target

from . import ptep, walk
from .arch import Arch, SwapEntry, mask_if

NONE = np.uint64(0)
# The PFN field without a shift, and all its bits: what PFN inversion flips.
PFN_FIELD = bits.PTE_PFN_MASK >> bits.PFN_SHIFT
# _PAGE_KNL_ERRATUM_MASK: Knights Landing may set these two in a cleared entry.
KNL_ERRATUM = bits.PAGE_ACCESSED | bits.PAGE_DIRTY
SWP_OFFSET_FIELD = np.uint64((1 << bits.SWP_OFFSET_BITS) - 1)
SWP_PFN_FIELD = np.uint64((1 << bits.SWP_PFN_BITS) - 1)
SWP_NAMED = (
    bits.SWP_SOFT_DIRTY
    | bits.SWP_UFFD
    | bits.SWP_EXCLUSIVE
    | SWP_OFFSET_FIELD << bits.SWP_OFFSET_SHIFT
    | np.uint64((1 << bits.SWP_TYPE_BITS) - 1) << bits.SWP_TYPE_SHIFT
)


class Pte(NamedTuple):
    """A page-table entry, one field per bit or group of bits."""

    present: Any
    write: Any
    user: Any
    pwt: Any
    pcd: Any
    accessed: Any
    dirty: Any  # the hardware's bit
    pat: Any
    global_page: Any  # with `present` clear this bit is _PAGE_PROTNONE
    special: Any
    uffd: Any
    soft_dirty: Any
    pfn_field: Any  # uint64, as stored: inverted in an entry that is not `present`
    unnamed: Any  # uint64, bits 52..56 in place
    devmap: Any
    saved_dirty: Any
    pkey: Any  # uint64, the key
    nx: Any


@rule
def decode(facts, word):
    """The record of `word`, without loss. No version and no configuration changes it."""
    return Pte(
        present=(word & bits.PAGE_PRESENT) != NONE,
        write=(word & bits.PAGE_RW) != NONE,
        user=(word & bits.PAGE_USER) != NONE,
        pwt=(word & bits.PAGE_PWT) != NONE,
        pcd=(word & bits.PAGE_PCD) != NONE,
        accessed=(word & bits.PAGE_ACCESSED) != NONE,
        dirty=(word & bits.PAGE_DIRTY) != NONE,
        pat=(word & bits.PAGE_PAT) != NONE,
        global_page=(word & bits.PAGE_GLOBAL) != NONE,
        special=(word & bits.PAGE_SPECIAL) != NONE,
        uffd=(word & bits.PAGE_UFFD) != NONE,
        soft_dirty=(word & bits.PAGE_SOFT_DIRTY) != NONE,
        pfn_field=(word & bits.PTE_PFN_MASK) >> bits.PFN_SHIFT,
        unnamed=word & bits.PAGE_UNNAMED,
        devmap=(word & bits.PAGE_DEVMAP) != NONE,
        saved_dirty=(word & bits.PAGE_SAVED_DIRTY) != NONE,
        pkey=(word & bits.PAGE_PKEY_MASK) >> bits.PKEY_SHIFT,
        nx=(word & bits.PAGE_NX) != NONE,
    )


@rule
def pte_val(pte):
    """The word of the record `pte`."""
    return (
        mask_if(pte.present, bits.PAGE_PRESENT)
        | mask_if(pte.write, bits.PAGE_RW)
        | mask_if(pte.user, bits.PAGE_USER)
        | mask_if(pte.pwt, bits.PAGE_PWT)
        | mask_if(pte.pcd, bits.PAGE_PCD)
        | mask_if(pte.accessed, bits.PAGE_ACCESSED)
        | mask_if(pte.dirty, bits.PAGE_DIRTY)
        | mask_if(pte.pat, bits.PAGE_PAT)
        | mask_if(pte.global_page, bits.PAGE_GLOBAL)
        | mask_if(pte.special, bits.PAGE_SPECIAL)
        | mask_if(pte.uffd, bits.PAGE_UFFD)
        | mask_if(pte.soft_dirty, bits.PAGE_SOFT_DIRTY)
        | (pte.pfn_field << bits.PFN_SHIFT)
        | pte.unnamed
        | mask_if(pte.devmap, bits.PAGE_DEVMAP)
        | mask_if(pte.saved_dirty, bits.PAGE_SAVED_DIRTY)
        | (pte.pkey << bits.PKEY_SHIFT)
        | mask_if(pte.nx, bits.PAGE_NX)
    )


@rule
def encode(facts, pte):
    """The word of the record `pte`, as the generic rules ask for it."""
    return pte_val(pte)


@rule
def _with(pte, write, dirty, saved_dirty, uffd, pfn_field):
    """`pte` with the fields that single rules change replaced."""
    return Pte(
        present=pte.present,
        write=write,
        user=pte.user,
        pwt=pte.pwt,
        pcd=pte.pcd,
        accessed=pte.accessed,
        dirty=dirty,
        pat=pte.pat,
        global_page=pte.global_page,
        special=pte.special,
        uffd=uffd,
        soft_dirty=pte.soft_dirty,
        pfn_field=pfn_field,
        unnamed=pte.unnamed,
        devmap=pte.devmap,
        saved_dirty=saved_dirty,
        pkey=pte.pkey,
        nx=pte.nx,
    )


@rule
def pte_present(pte):
    """Whether the entry maps something, accessible or not."""
    return pte.present or pte.global_page


@rule
def pte_none(facts, pte):
    """Whether the entry is empty."""
    return (pte_val(pte) & ~KNL_ERRATUM) == NONE


@rule
def pte_protnone(facts, pte):
    """Whether the entry maps something that may not be accessed.

    Without CONFIG_NUMA_BALANCING nobody asks, and the kernel has the generic
    helper that always says no (include/linux/pgtable.h). UFFD_RWP asks too, so
    since 7.3 the answer no longer depends on NUMA balancing
    (CONFIG_ARCH_HAS_PTE_PROTNONE).
    """
    if facts.numa_balancing == 0 and facts.uffd_rwp == 0:
        return False
    return pte.global_page and not pte.present


@rule
def pte_special(pte):
    """Whether the entry says that no page shall be looked for behind it."""
    return pte.special


@rule
def pte_devmap(facts, pte):
    """Whether the entry maps fs-DAX or device memory of the old kind; the bit went in 6.17."""
    return facts.devmap != 0 and pte.devmap


@rule
def needs_inversion(pte):
    """Whether the PFN field is stored inverted, against L1TF: __pte_needs_invert()."""
    return pte_val(pte) != NONE and not pte.present


@rule
def pte_pfn(pte):
    """The page frame number."""
    if needs_inversion(pte):
        return pte.pfn_field ^ PFN_FIELD
    return pte.pfn_field


@rule
def pte_write(pte):
    """Whether the entry is writable."""
    return pte.write


@rule
def pte_dirty(pte):
    """Whether the page was written through this entry: _PAGE_DIRTY_BITS."""
    return pte.dirty or pte.saved_dirty


@rule
def pte_soft_dirty(facts, pte):
    """Whether the soft-dirty bit is set."""
    return facts.soft_dirty != 0 and pte.soft_dirty


@rule
def pte_uffd(facts, pte):
    """Whether the userfaultfd bit is set: pte_uffd_wp() until 7.3."""
    return facts.uffd_wp != 0 and pte.uffd


@rule
def save_dirty(pte):
    """`pte` with dirtiness in the saved bit if it is read-only: pte_mksaveddirty().

    The hardware takes a read-only entry with the dirty bit for shadow stack.
    """
    if pte.write:
        return pte
    saved = pte.saved_dirty or pte.dirty
    return _with(pte, pte.write, False, saved, pte.uffd, pte.pfn_field)


@rule
def unsave_dirty(pte):
    """`pte` with dirtiness in the hardware's bit if it is writable: pte_clear_saveddirty()."""
    if not pte.write:
        return pte
    dirty = pte.dirty or pte.saved_dirty
    return _with(pte, pte.write, dirty, False, pte.uffd, pte.pfn_field)


@rule
def pte_wrprotect(pte):
    """`pte` made read-only."""
    return save_dirty(_with(pte, False, pte.dirty, pte.saved_dirty, pte.uffd, pte.pfn_field))


@rule
def pte_mkwrite(facts, pte):
    """`pte` made writable, in a VMA that is no shadow stack."""
    return unsave_dirty(_with(pte, True, pte.dirty, pte.saved_dirty, pte.uffd, pte.pfn_field))


@rule
def pte_mkuffd(facts, pte):
    """`pte` with the userfaultfd bit, which makes it read-only: pte_mkuffd_wp()."""
    if facts.uffd_wp == 0:
        return pte
    return pte_wrprotect(_with(pte, pte.write, pte.dirty, pte.saved_dirty, True, pte.pfn_field))


@rule
def pte_clear_uffd(facts, pte):
    """`pte` without the userfaultfd bit; it stays as writable as it was: pte_clear_uffd_wp()."""
    if facts.uffd_wp == 0:
        return pte
    return _with(pte, pte.write, pte.dirty, pte.saved_dirty, False, pte.pfn_field)


@rule
def _kept_if(named, old, given):
    """The bit that pte_modify() leaves: `old` if the kernel has a name for it, else `given`."""
    return old if named != 0 else given


@rule
def pte_modify(facts, pte, newprot):
    """`pte` with the protection of `newprot`, keeping what _PAGE_CHG_MASK keeps."""
    new = Pte(
        present=newprot.present,
        write=newprot.write,
        user=newprot.user,
        pwt=pte.pwt,
        pcd=pte.pcd,
        accessed=pte.accessed,
        dirty=pte.dirty,
        pat=pte.pat,
        global_page=newprot.global_page,
        special=pte.special,
        uffd=_kept_if(facts.uffd_wp, pte.uffd, newprot.uffd),
        soft_dirty=_kept_if(facts.soft_dirty, pte.soft_dirty, newprot.soft_dirty),
        pfn_field=pte.pfn_field,
        unnamed=newprot.unnamed,
        # Until 6.16 _PAGE_DEVMAP is in the mask; later the bit is nobody's.
        devmap=_kept_if(facts.devmap, pte.devmap, newprot.devmap),
        saved_dirty=pte.saved_dirty,
        pkey=newprot.pkey,
        nx=newprot.nx,
    )
    if needs_inversion(pte) != needs_inversion(new):
        flipped = new.pfn_field ^ PFN_FIELD
        new = _with(new, new.write, new.dirty, new.saved_dirty, new.uffd, flipped)
    if pte.write:
        return save_dirty(new)
    return unsave_dirty(new)


@rule
def pte_needs_flush(facts, old, new):
    """Whether a TLB that holds `old` must not keep it when the table says `new`.

    Source: pte_needs_flush() and pte_flags_need_flush(), tlbflush.h. Accessed and
    the software bits (special, uffd, soft-dirty, devmap, saved dirty) never count.
    """
    if not old.present:
        return False
    if pte_pfn(old) != pte_pfn(new):
        return True
    # Bits whose clearing alone counts.
    if not new.present or (old.dirty and not new.dirty):
        return True
    # Bits of which any change counts, gain of a right included.
    return (
        old.write != new.write
        or old.user != new.user
        or old.pwt != new.pwt
        or old.pcd != new.pcd
        or old.pat != new.pat
        or old.global_page != new.global_page
        or old.pkey != new.pkey
        or old.nx != new.nx
    )


@rule
def decode_swap(facts, word):
    """The swap-like entry of `word`, without loss: __pte_to_swp_entry()."""
    return SwapEntry(
        type=np.int64(word >> bits.SWP_TYPE_SHIFT),
        offset=(~word >> bits.SWP_OFFSET_SHIFT) & SWP_OFFSET_FIELD,
        soft_dirty=(word & bits.SWP_SOFT_DIRTY) != NONE,
        uffd=(word & bits.SWP_UFFD) != NONE,
        exclusive=(word & bits.SWP_EXCLUSIVE) != NONE,
        rest=word & ~SWP_NAMED,
    )


@rule
def encode_swap(facts, swap):
    """The word of a swap-like entry: __swp_entry_to_pte()."""
    return (
        (np.uint64(swap.type) << bits.SWP_TYPE_SHIFT)
        | ((~swap.offset & SWP_OFFSET_FIELD) << bits.SWP_OFFSET_SHIFT)
        | mask_if(swap.soft_dirty, bits.SWP_SOFT_DIRTY)
        | mask_if(swap.uffd, bits.SWP_UFFD)
        | mask_if(swap.exclusive, bits.SWP_EXCLUSIVE)
        | swap.rest
    )


@rule
def swp_offset_pfn(facts, swap):
    """The PFN of an entry of a kind that has one, under the young and dirty bits."""
    return swap.offset & SWP_PFN_FIELD


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
    ptep_modify_prot_start=ptep.ptep_modify_prot_start,
    ptep_modify_prot_commit=ptep.ptep_modify_prot_commit,
    set_pte=ptep.set_pte,
    pte_clear=ptep.pte_clear,
    page_none=bits.PAGE_NONE,
)


@entry(numba_target)
def change_pte_range(state):
    """Change the protection of the range in `state`, one PTE at a time; the kernel's return value."""
    return walk.change_pte_range(ARCH, state)
