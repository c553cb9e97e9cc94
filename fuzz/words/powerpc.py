"""How random words of powerpc are made: book3s64, 64 KiB or 4 KiB pages, as the case chooses."""

import numpy as np

from mm import powerpc as mmu
from mm.jit import rule

from ..choices import WINDOW, bits, draw, mix, parts
from .table import (
    PROTNONE,
    SOFT_DIRTY,
    SPECIAL,
    SWAP_EXCLUSIVE,
    SWAP_SOFT_DIRTY,
    WRITE,
    Words,
    nothing_more,
)

NONE = np.uint64(0)
ONE = np.uint64(1)

_PROTECTION_MAP = np.array(mmu.PROTECTION_MAP, np.uint64)
_OLD = ~mmu.PAGE_ACCESSED
_READ_WRITE = mmu.PAGE_READ | mmu.PAGE_WRITE
_ANY_ACCESS = _READ_WRITE | mmu.PAGE_EXEC

# From a property's bit to the bit of the entry, as shifts to the left.
_SOFT_DIRTY_SHIFT = np.uint64(7)
_SPECIAL_SHIFT = np.uint64(5)
_SWAP_SOFT_DIRTY_SHIFT = np.uint64(9)
_SWAP_EXCLUSIVE_SHIFT = np.uint64(3)
_MIG_YOUNG_64K = np.uint64(1 << mmu.SWP_PFN_BITS_64K)
_MIG_YOUNG_4K = np.uint64(1 << mmu.SWP_PFN_BITS_4K)

SHIFT_64K = np.uint64(16)
SHIFT_4K = np.uint64(12)
_ENTRIES_64K = np.uint64(32)

# A table of 64 KiB pages maps two megabytes, an order-5 folio.
_ORDERS_64K = np.array(
    [0] * 8 + [1] * 8 + [2] * 14 + [3] * 13 + [4] * 11 + [5] * 7 + [6] * 2 + [7], np.int64
)
_ORDERS_4K = np.array(
    [0] * 7 + [1] * 5 + [2] * 12 + [3] * 11 + [4] * 11 + [5] * 8 + [6] * 7 + [7] * 2 + [9], np.int64
)
# Coprocessors in use, out of 8.
_COPROCESSORS = np.array([0, 0, 0, 0, 0, 1, 1, 2], np.int64)
# The choice of the machine.
MACHINE_CHOICE = parts(2, 3, 1, 4)
_SMALL_PAGES, _COPRO, _ISA_31, _HASH = MACHINE_CHOICE
# Memory types of a device's VMA, out of 4.
_MEMORY_TYPES = np.array(
    [
        NONE,
        mmu.PAGE_NON_IDEMPOTENT,
        mmu.PAGE_NON_IDEMPOTENT | mmu.PAGE_SAO,  # _PAGE_TOLERANT
        mmu.PAGE_SAO,
    ],
    np.uint64,
)
_MEMORY_TYPE, _ = parts(2, 62)
# What the hash MMU notes in an entry that it has made a hash entry of: that it has, and
# with 4 KiB pages in which slot of the group (hash-64k.h, hash-4k.h).
_HASHED_64K = np.uint64(1 << 55)
_HASHED_4K = np.uint64(1 << 60)
_SLOT_4K = np.uint64(0x01E0_0000_0000_0000)
_MAPPED = mmu.PAGE_PRESENT | mmu.PAGE_PTE | mmu.PAGE_ACCESSED
_ALL_HASHED, _SLOTS, _ = parts(1, 1, 62)


@rule
def _set_machine(choices, facts):
    choice = draw(choices)
    # A longer window than a table of 64 KiB pages has needs small pages.
    small = bits(choice, _SMALL_PAGES) == 3 or choices[WINDOW] > _ENTRIES_64K
    facts.page_shift = SHIFT_4K if small else SHIFT_64K
    facts.coprocessors = _COPROCESSORS[bits(choice, _COPRO)]
    facts.isa_31 = bits(choice, _ISA_31)
    facts.hash_mmu = 1 if bits(choice, _HASH) == 15 else 0


@rule
def _order(facts, number):
    return _ORDERS_64K[number] if facts.page_shift == SHIFT_64K else _ORDERS_4K[number]


@rule
def _protection(access, pkey):
    # Keys exist with the hash MMU only, and no case has any.
    return _PROTECTION_MAP[access]


@rule
def _page_none():
    return mmu.PAGE_NONE


@rule
def _device_prot(prot, choice):
    return prot | _MEMORY_TYPES[bits(choice, _MEMORY_TYPE)]


@rule
def _cached(prot, choice):
    # All entries of a VMA have its memory type.
    return prot


@rule
def _present(prot, state):
    # mkwrite makes an entry readable, too: pte_mkwrite_novma().
    word = mmu.PAGE_NONE if state & PROTNONE else prot
    word = (word & _OLD) | mmu.PAGE_PTE
    word |= _READ_WRITE if state & WRITE else NONE
    word |= (state & SOFT_DIRTY) << _SOFT_DIRTY_SHIFT
    return word | (state & SPECIAL) << _SPECIAL_SHIFT


@rule
def _accessed_flip(word):
    return mmu.PAGE_ACCESSED


@rule
def _dirty_flip(word, choice):
    return mmu.PAGE_DIRTY


@rule
def _place(word, field):
    return word | (field & mmu.PTE_RPN_MASK_4K)


@rule
def _swap(facts, type_, offset, state):
    return (
        type_
        | ((offset << facts.page_shift) & mmu.PTE_RPN_MASK_4K)
        | ((state & SWAP_SOFT_DIRTY) << _SWAP_SOFT_DIRTY_SHIFT)
        | ((state & SWAP_EXCLUSIVE) << _SWAP_EXCLUSIVE_SHIFT)
        | mmu.PAGE_PTE
    )


@rule
def _swap_width(facts):
    if facts.page_shift == SHIFT_64K:
        return np.int64(mmu.SWP_OFFSET_BITS_64K - 1)
    return np.int64(mmu.SWP_OFFSET_BITS_4K - 1)


@rule
def _pfn_offset(facts, pfn, young, dirty):
    young_bit = _MIG_YOUNG_64K if facts.page_shift == SHIFT_64K else _MIG_YOUNG_4K
    return pfn | (young_bit if young else NONE) | (young_bit << ONE if dirty else NONE)


@rule
def _walker(word, choice):
    # PROT_NONE is valid for the MMU, but grants no access that could be noted.
    if word & mmu.PAGE_PRESENT == NONE or word & _ANY_ACCESS == NONE:
        return NONE
    legal = mmu.PAGE_ACCESSED
    if word & mmu.PAGE_WRITE:
        legal |= mmu.PAGE_DIRTY
    # C is never set without R.
    return (legal if choice & ONE else mmu.PAGE_ACCESSED) & ~word


@rule
def _note_hashed(choices, state):
    """Mark what the hash MMU, if the case has one, has used: each accessed entry, or one in two."""
    facts = state.facts[0]
    if facts.hash_mmu == 0:
        return
    choice = draw(choices)
    for i in range(np.int64(facts.nr_ptes)):
        noise = mix(choice + np.uint64(i))
        used = bits(choice, _ALL_HASHED) or noise & ONE
        if not used or state.ptes[i] & _MAPPED != _MAPPED:
            continue
        if facts.page_shift == SHIFT_64K:
            state.ptes[i] |= _HASHED_64K
        else:
            state.ptes[i] |= _HASHED_4K | (noise & _SLOT_4K if bits(choice, _SLOTS) else NONE)


@rule
def _any_walker(choice):
    return choice & (mmu.PAGE_ACCESSED | mmu.PAGE_DIRTY)


@rule
def _flips(word, bits_):
    # It sets bits, never clears one.
    return bits_ & ~word


# Protections seen in the wild golden vectors besides random words.
_ODD_PROTS = np.array(
    [
        0x0,
        0x1,
        0x2,
        0x4,
        0x8000_0000_0000_0100,
        0x8000_0000_0000_0106,
        0x8000_0000_0000_0101,
        0x8000_0000_0000_0127,
    ],
    np.uint64,
)
_FORM, _ODD_PROT, _FLIPPED = parts(2, 3, 6)


@rule
def _rpn_mask(facts):
    return mmu.PTE_RPN_MASK_64K if facts.page_shift == SHIFT_64K else mmu.PTE_RPN_MASK_4K


@rule
def _odd_prot(facts, prot, choice):
    form = bits(choice, _FORM)
    if form == 0:
        return _ODD_PROTS[bits(choice, _ODD_PROT)]
    odd = choice
    if form == 1:
        odd = prot ^ (ONE << np.uint64(bits(choice, _FLIPPED)))
    # pte_modify() takes newprot as it is: with an RPN or SPECIAL in it, an entry maps another
    # page afterwards, and what a batch looked up before is of no page that it maps then.
    return odd & ~(_rpn_mask(facts) | mmu.PAGE_SPECIAL)


# Corners of the classification: none with A or D, PTE without PRESENT or INVALID and the
# reverse, an unknown marker, one bit alone, and so on.
_ODD_WORDS = np.array(
    [
        0x0,
        0x80,
        0x100,
        0x180,
        0x1,
        0x2,
        0x4,
        0x8,
        0x2000_0000_0000_0000,
        0x4000_0000_0000_0000,
        0x6000_0000_0000_0000,
        0x8000_0000_0000_0000,
        0xC000_0000_0000_0000,
        0xE000_0000_0000_0000,
        0x4000_0000_0000_001F,
        0x4000_0000_0000_021B,
    ],
    np.uint64,
)
# Bits that a deviation flips one of; of the RPN only the lowest, which with 64 KiB pages are
# not of it.
_ODD_BITS = np.array(
    [*range(16), 57, 2, 7, 9, 54, 10, 11, 58, 53, 55, 56, 60, 61, 62, 59, 63], np.uint64
)
_WORD_FORM, _HALF, _CORNER, _FIRST_BIT, _SECOND_BIT, _HIGH_PFN = parts(3, 1, 4, 5, 5, 12)
_MEMORY_BITS = np.uint64(28)  # bits of a PFN inside the default memory map


@rule
def _odd_word(facts, word, choice):
    form = bits(choice, _WORD_FORM)
    half = bits(choice, _HALF)
    mask = _rpn_mask(facts)
    above_memory = _MEMORY_BITS + facts.page_shift
    if form == 0:
        return _ODD_WORDS[bits(choice, _CORNER)]
    if form == 1:
        # Any word at all; half of them in the range of the memory map.
        return choice if half else choice & ~(mask >> above_memory << above_memory)
    if form == 2:
        # A PFN above the memory map, or PFN 0.
        if half:
            return word & ~mask
        return word ^ (np.uint64(bits(choice, _HIGH_PFN)) << above_memory & mask)
    word ^= ONE << _ODD_BITS[bits(choice, _FIRST_BIT)]
    if form > 5:
        word ^= ONE << _ODD_BITS[bits(choice, _SECOND_BIT)]
    return word


POWERPC = Words(
    block=np.int64(1),
    pkey_mask=NONE,
    exec_only=np.int64(1),
    soft_dirty=np.int64(mmu.LAYOUT_64K.config.soft_dirty),
    uffd_wp=np.int64(mmu.LAYOUT_64K.config.uffd_wp),
    set_machine=_set_machine,
    order=_order,
    protection=_protection,
    page_none=_page_none,
    device_prot=_device_prot,
    cached=_cached,
    present=_present,
    accessed_flip=_accessed_flip,
    dirty_flip=_dirty_flip,
    place=_place,
    finish=_note_hashed,
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
