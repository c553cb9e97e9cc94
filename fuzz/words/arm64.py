"""How random words of arm64 are made."""

import numpy as np

from mm import arm64 as mmu
from mm.jit import rule

from ..choices import bits, draw, parts
from ..layout.contpte import break_blocks, fold_blocks
from .table import PROTNONE, SPECIAL, SWAP_EXCLUSIVE, SWAP_UFFD, UFFD, WRITE, Words

NONE = np.uint64(0)
ONE = np.uint64(1)

_PROTECTION_MAP = np.array(mmu.PROTECTION_MAP, np.uint64)
_OLD = ~mmu.PTE_AF

# From a property's bit to the bit of the entry, as shifts to the left.
_UFFD_SHIFT = np.uint64(55)
_SPECIAL_SHIFT = np.uint64(51)
_WRITE_SHIFT = np.uint64(47)
_SWAP_UFFD_SHIFT = np.uint64(2)
_OFFSET_MASK = np.uint64((1 << mmu.SWP_OFFSET_BITS) - 1)
_MIG_YOUNG = np.uint64(1 << mmu.SWP_MIG_YOUNG_BIT)
_MIG_DIRTY = np.uint64(1 << mmu.SWP_MIG_DIRTY_BIT)
# set_ptes() clears PTE_CONT in whatever it stores; of a swap-like entry it is bit 40 of the
# offset, which no swap file is large enough for.
_SWAP_WIDTH = 39

# Seven folios out of eight fill a contpte block or more.
_ORDERS = np.array(
    [0] * 3 + [1] + [2] * 2 + [3] * 2 + [4] * 18 + [5] * 18 + [6] * 13 + [7] * 4 + [8] + [9] * 2,
    np.int64,
)
# Memory types of a device's VMA, out of 8.
_MEMORY_TYPES = (
    np.array([0] * 3 + [mmu.MT_NORMAL_NC] * 3 + [mmu.MT_DEVICE_NGNRE] * 2, np.uint64)
    << mmu.ATTRINDX_SHIFT
)
_MEMORY_TYPE, _ = parts(3, 61)
# The choice of the machine.
MACHINE_CHOICE = parts(4)
(_BBML3,) = MACHINE_CHOICE


@rule
def _set_machine(choices, facts):
    # The CPU feature that makes the invalidations of a fold and an unfold needless.
    facts.bbml3 = 1 if bits(draw(choices), _BBML3) == 15 else 0


@rule
def _order(facts, number):
    return _ORDERS[number]


@rule
def _protection(access, pkey):
    return _PROTECTION_MAP[access] | (pkey << mmu.PO_IDX_SHIFT)


@rule
def _page_none():
    return mmu.PAGE_NONE


@rule
def _device_prot(prot, choice):
    return (prot & ~mmu.PTE_ATTRINDX_MASK) | _MEMORY_TYPES[bits(choice, _MEMORY_TYPE)]


@rule
def _cached(prot, choice):
    # pte_modify() takes the memory type from the VMA, so all of its entries have the same.
    return prot


@rule
def _present(prot, state):
    # do_numa_page() and RWP use PAGE_NONE itself, without the key of the VMA.
    word = (mmu.PAGE_NONE if state & PROTNONE else prot) & _OLD
    word |= (state & UFFD) << _UFFD_SHIFT
    word |= (state & SPECIAL) << _SPECIAL_SHIFT
    # PTE_RDONLY stays: a writable entry is clean until the hardware clears it.
    return word | (state & WRITE) << _WRITE_SHIFT


@rule
def _accessed_flip(word):
    return mmu.PTE_AF


@rule
def _dirty_flip(word, choice):
    # A writable entry is dirty without PTE_RDONLY, whether or not software noted it, too.
    if word & mmu.PTE_WRITE:
        return mmu.PTE_RDONLY | (mmu.PTE_DIRTY if choice & ONE else NONE)
    return mmu.PTE_DIRTY


@rule
def _place(word, field):
    return word | (field & mmu.PTE_ADDR_MASK)


@rule
def _swap(facts, type_, offset, state):
    return (
        (type_ << mmu.SWP_TYPE_SHIFT)
        | ((offset & _OFFSET_MASK) << mmu.SWP_OFFSET_SHIFT)
        | (state & SWAP_EXCLUSIVE)  # the same bit
        | ((state & SWAP_UFFD) << _SWAP_UFFD_SHIFT)
    )


@rule
def _swap_width(facts):
    return np.int64(_SWAP_WIDTH)


@rule
def _pfn_offset(facts, pfn, young, dirty):
    return pfn | (_MIG_YOUNG if young else NONE) | (_MIG_DIRTY if dirty else NONE)


@rule
def _walker(word, choice):
    if word & mmu.PTE_VALID == NONE:
        return NONE
    # An entry becomes dirty only as it becomes accessed.
    return _flips(word, mmu.PTE_AF | mmu.PTE_RDONLY if choice & ONE else mmu.PTE_AF)


@rule
def _any_walker(choice):
    return choice & (mmu.PTE_AF | mmu.PTE_RDONLY)


@rule
def _flips(word, bits_):
    # It sets PTE_AF, and clears PTE_RDONLY where PTE_DBM lets it.
    flips = bits_ & mmu.PTE_AF & ~word
    return flips | (bits_ & word & mmu.PTE_RDONLY if word & mmu.PTE_DBM else NONE)


# Protections seen in the wild golden vectors besides random words.
_ODD_PROTS = np.array(
    [
        0x0,
        0x1,
        int(mmu.PTE_DBM),
        int(mmu.PAGE_NONE),
        0x0068_0000_0000_0FC3,
        0x0028_0000_0000_0FC3,
        0x0060_0000_0000_0FC3,
        0x0068_0000_0000_0FD3,
    ],
    np.uint64,
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
        return prot | (choice & mmu.PTE_PO_IDX_MASK)
    return choice


# Corners of the classification: PTE_PRESENT_INVALID with and without what makes PROT_NONE of
# it, CONT alone, with VALID, with PROT_NONE and in a swap-like entry, one bit alone, and so on.
_ODD_WORDS = np.array(
    [
        0x0,
        0x1,
        0x2,
        0x3,
        0x4,
        0x8,
        0x10,
        0x20,
        0x400,
        0x800,
        0x802,
        0x0040_0000_0000_0800,
        0x0010_0000_0000_0000,
        0x0010_0000_0000_0001,
        0x0070_0000_0000_0F82,
        0x8000_0000_0000_0000,
    ],
    np.uint64,
)
# Bits that a deviation flips one of; the PFN is not among them.
_ODD_BITS = np.array(
    [
        *(0, 3, 1, 1, 2, 4, 5, 6, 7, 7, 8, 10, 11, 9, 50, 51),
        *(51, 52, 52, 52, 53, 54, 55, 55, 61, 56, 57, 62, 58, 59, 60, 63),
    ],
    np.uint64,
)
_WORD_FORM, _HALF, _CORNER, _FIRST_BIT, _SECOND_BIT, _HIGH_PFN = parts(3, 1, 4, 5, 5, 10)
_HIGH_PFN_SHIFT = np.uint64(40)  # PFN bit 28, the first one above the default memory map
_ABOVE_MEMORY = np.uint64(0x0003_FF00_0000_0000)


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
            return word & ~mmu.PTE_ADDR_MASK
        return word ^ (np.uint64(bits(choice, _HIGH_PFN)) << _HIGH_PFN_SHIFT)
    word ^= ONE << _ODD_BITS[bits(choice, _FIRST_BIT)]
    if form > 5:
        word ^= ONE << _ODD_BITS[bits(choice, _SECOND_BIT)]
    return word


ARM64 = Words(
    block=np.int64(mmu.CONT_PTES),
    pkey_mask=mmu.PTE_PO_IDX_MASK >> mmu.PO_IDX_SHIFT,
    exec_only=np.int64(0),
    soft_dirty=np.int64(mmu.LAYOUT.config.soft_dirty),
    uffd_wp=np.int64(mmu.LAYOUT.config.uffd_wp),
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
    finish=fold_blocks,
    swap=_swap,
    swap_width=_swap_width,
    pfn_offset=_pfn_offset,
    walker=_walker,
    any_walker=_any_walker,
    flips=_flips,
    odd_prot=_odd_prot,
    odd_word=_odd_word,
    break_window=break_blocks,
)
