"""How random words of x86_64 are made."""

import numpy as np

from mm import x86_64 as mmu
from mm.jit import rule

from ..choices import bits, parts
from .table import (
    PROTNONE,
    SOFT_DIRTY,
    SPECIAL,
    UFFD,
    WRITE,
    Words,
    nothing_more,
)

NONE = np.uint64(0)
ONE = np.uint64(1)

_PROTECTION_MAP = np.array(mmu.PROTECTION_MAP, np.uint64)
_NOT_ACCESSED = ~mmu.PAGE_ACCESSED
_MEMORY_TYPE = mmu.PAGE_PWT | mmu.PAGE_PCD

# From a property's bit to the bit of the entry, as shifts to the left.
_SOFT_DIRTY_SHIFT = np.uint64(9)
_UFFD_SHIFT = np.uint64(7)
_SPECIAL_SHIFT = np.uint64(4)
_WRITE_SHIFT = np.uint64(3)  # to the right
_SWAP_SHIFT = np.uint64(1)  # soft-dirty, uffd, exclusive stand in this order from bit 1 on
_OFFSET_MASK = np.uint64((1 << mmu.SWP_OFFSET_BITS) - 1)
_MIG_YOUNG = np.uint64(1 << mmu.SWP_MIG_YOUNG_BIT)
_MIG_DIRTY = np.uint64(1 << mmu.SWP_MIG_DIRTY_BIT)

_ORDERS = np.array(
    [0] * 7 + [1] * 5 + [2] * 12 + [3] * 11 + [4] * 11 + [5] * 8 + [6] * 7 + [7] * 2 + [9], np.int64
)
# A machine has nothing to choose.
MACHINE_CHOICE = ()


@rule
def _order(facts, number):
    return _ORDERS[number]


@rule
def _protection(access, pkey):
    return _PROTECTION_MAP[access] | (pkey << mmu.PKEY_SHIFT)


@rule
def _page_none():
    return mmu.PAGE_NONE


@rule
def _device_prot(prot, choice):
    # pte_modify() keeps the memory type of the entry.
    return prot


@rule
def _cached(prot, choice):
    return prot | (choice & _MEMORY_TYPE)


@rule
def _present(prot, state):
    # do_numa_page() and RWP use PAGE_NONE itself, without the key of the VMA.
    word = (mmu.PAGE_NONE if state & PROTNONE else prot) & _NOT_ACCESSED
    word |= (state & SOFT_DIRTY) << _SOFT_DIRTY_SHIFT
    word |= (state & UFFD) << _UFFD_SHIFT
    word |= (state & SPECIAL) << _SPECIAL_SHIFT
    return word | (state & WRITE) >> _WRITE_SHIFT


@rule
def _accessed_flip(word):
    return mmu.PAGE_ACCESSED


@rule
def _dirty_flip(word, choice):
    # Without RW, dirtiness lives in the software bit: pte_mksaveddirty().
    return mmu.PAGE_DIRTY if word & mmu.PAGE_RW else mmu.PAGE_SAVED_DIRTY


@rule
def _place(word, field):
    # L1TF: an entry without the present bit holds its PFN inverted.
    return word | ((field if word & mmu.PAGE_PRESENT else ~field) & mmu.PTE_PFN_MASK)


@rule
def _swap(facts, type_, offset, state):
    return (
        (type_ << mmu.SWP_TYPE_SHIFT)
        | ((~offset & _OFFSET_MASK) << mmu.SWP_OFFSET_SHIFT)
        | (state << _SWAP_SHIFT)
    )


@rule
def _swap_width(facts):
    return np.int64(mmu.SWP_OFFSET_BITS - 1)


@rule
def _pfn_offset(facts, pfn, young, dirty):
    return pfn | (_MIG_YOUNG if young else NONE) | (_MIG_DIRTY if dirty else NONE)


@rule
def _walker(word, choice):
    if word & mmu.PAGE_PRESENT == NONE:
        return NONE
    legal = mmu.PAGE_ACCESSED
    if word & mmu.PAGE_RW:
        legal |= mmu.PAGE_DIRTY
    # D is never set without A.
    bits_ = legal if choice & ONE else mmu.PAGE_ACCESSED
    return bits_ & ~word


@rule
def _any_walker(choice):
    return choice & (mmu.PAGE_ACCESSED | mmu.PAGE_DIRTY)


@rule
def _flips(word, bits_):
    # It sets bits, never clears one.
    return bits_ & ~word


# Protections seen in the wild golden vectors besides random words.
_ODD_PROTS = np.array(
    [0x0, 0x1, 0x2, 0x120, 0x27, 0x8000_0000_0000_0027, 0x25, 0x8000_0000_0000_0025], np.uint64
)


_FORM, _ODD_PROT, _FLIPPED = parts(2, 3, 6)


@rule
def _odd_prot(facts, prot, choice):
    form = bits(choice, _FORM)
    if form == 0:
        return _ODD_PROTS[bits(choice, _ODD_PROT)]
    if form == 1:
        return prot ^ (ONE << np.uint64(bits(choice, _FLIPPED)))
    if form == 2:
        return prot | (choice & mmu.PAGE_PKEY_MASK)
    return choice


# Corners of the classification: none with A or D, one software bit alone, and so on.
_ODD_WORDS = np.array(
    [
        0x0,
        0x20,
        0x40,
        0x60,
        0x1,
        0x100,
        0x120,
        0x101,
        0x2,
        0x8,
        0x200,
        0x400,
        0x800,
        0x200_0000_0000_0000,
        0x400_0000_0000_0000,
        0x8000_0000_0000_0000,
    ],
    np.uint64,
)
# Bits that a deviation flips one of; the PFN is not among them.
_ODD_BITS = np.array(
    [*range(12), 9, 10, 11, 52, 54, 57, 57, 53, 58, 56, 59, 60, 62, 63, 1, 5, 6, 55, 8, 61],
    np.uint64,
)


_WORD_FORM, _HALF, _CORNER, _FIRST_BIT, _SECOND_BIT, _HIGH_PFN = parts(3, 1, 4, 5, 5, 12)
_HIGH_PFN_SHIFT = np.uint64(40)  # PFN bit 28, the first one above the default memory map
_ABOVE_MEMORY = np.uint64(0x000F_FF00_0000_0000)


@rule
def _odd_word(facts, word, choice):
    form = bits(choice, _WORD_FORM)
    half = bits(choice, _HALF)
    if form == 0:
        return _ODD_WORDS[bits(choice, _CORNER)]
    if form == 1:
        # Any word at all; half of them in the range of the memory map.
        return choice if half else choice & ~_ABOVE_MEMORY
    if form == 2:
        # A PFN above the memory map, or PFN 0.
        if half:
            return word & ~mmu.PTE_PFN_MASK
        return word ^ (np.uint64(bits(choice, _HIGH_PFN)) << _HIGH_PFN_SHIFT)
    word ^= ONE << _ODD_BITS[bits(choice, _FIRST_BIT)]
    if form > 5:
        word ^= ONE << _ODD_BITS[bits(choice, _SECOND_BIT)]
    return word


X86_64 = Words(
    block=np.int64(1),
    pkey_mask=mmu.PAGE_PKEY_MASK >> mmu.PKEY_SHIFT,
    exec_only=np.int64(0),
    soft_dirty=np.int64(mmu.LAYOUT.config.soft_dirty),
    uffd_wp=np.int64(mmu.LAYOUT.config.uffd_wp),
    set_machine=nothing_more,
    order=_order,
    protection=_protection,
    page_none=_page_none,
    device_prot=_device_prot,
    cached=_cached,
    present=_present,
    accessed_flip=_accessed_flip,
    dirty_flip=_dirty_flip,
    place=_place,
    finish=nothing_more,
    swap=_swap,
    swap_width=_swap_width,
    pfn_offset=_pfn_offset,
    walker=_walker,
    any_walker=_any_walker,
    flips=_flips,
    odd_prot=_odd_prot,
    odd_word=_odd_word,
    break_window=nothing_more,
)
