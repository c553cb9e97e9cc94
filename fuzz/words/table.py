"""What a generator asks of an architecture: words made from names, and what depends on them.

An architecture fills one `Words` (a file beside this one); the generator takes
it as its first parameter. `facts` is the case's record of FACTS.
"""

from typing import Any, NamedTuple

import numpy as np

from mm.jit import rule

# Properties of a present entry, as bits of our own.
SOFT_DIRTY = np.uint64(1 << 2)
UFFD = np.uint64(1 << 3)
WRITE = np.uint64(1 << 4)
SPECIAL = np.uint64(1 << 5)
PROTNONE = np.uint64(1 << 6)

# Properties of a swap-like entry.
SWAP_SOFT_DIRTY = np.uint64(1 << 0)
SWAP_UFFD = np.uint64(1 << 1)
SWAP_EXCLUSIVE = np.uint64(1 << 2)


class Words(NamedTuple):
    """Makes the words of one architecture, and knows what of a case depends on it."""

    # The machine.
    block: Any  # int64: windows are whole aligned blocks of so many entries
    pkey_mask: Any  # uint64: protection keys that a VMA may have
    exec_only: Any  # int64, 1: EXEC without READ is a protection of its own
    soft_dirty: Any  # int64, 1: there is something to configure so
    uffd_wp: Any  # int64, likewise
    set_machine: Any  # (choices, facts): choose the facts that the kernel leaves to the case
    order: Any  # (facts, number 0..63) -> the order of a folio; the duller the lower

    # Protections: access is READ 1 | WRITE 2 | EXEC 4 | SHARED 8.
    protection: Any  # (access, pkey) -> vm_page_prot of a VMA
    page_none: Any  # () -> PAGE_NONE
    device_prot: Any  # (prot, choice) -> `prot` with the memory type of a device's VMA
    cached: Any  # (prot, choice) -> `prot` with the memory type of some entries of one

    # Present entries.
    # (prot, properties) -> an entry in a state that the kernel makes, clean, old and without
    # PFN: `prot` is a read-only protection without SHARED; WRITE goes with neither UFFD nor
    # PROTNONE.
    present: Any
    accessed_flip: Any  # such an entry -> the bits to flip to make it accessed
    dirty_flip: Any  # (such an entry, choice) -> the bits to flip to make it dirty
    place: Any  # (such an entry, pfn << page_shift) -> the entry with its PFN
    finish: Any  # (choices, state): what is done to the window once it is full

    # Swap-like entries.
    swap: Any  # (facts, type, offset, properties) -> a swap-like entry
    swap_width: Any  # facts -> int64: offsets in swap files go up to 1 << swap_width
    pfn_offset: Any  # (facts, pfn, young, dirty) -> the offset of an entry that points to a page

    # The page walker of the MMU.
    walker: Any  # (word, choice) -> bits that it may flip in an entry of a sane case
    any_walker: Any  # choice -> bits that it flips in some entry
    flips: Any  # (word, bits) -> those of `bits` that it can flip in this very word

    # What no kernel makes.
    odd_prot: Any  # (facts, prot, choice) -> a protection that no VMA has
    odd_word: Any  # (facts, word, choice) -> a word near `word`, or one known to be a corner
    break_window: Any  # (state, choice): break what spans entries


@rule
def nothing_more(choices_or_state, facts_or_choice):
    """Chooses, writes and breaks nothing, on an architecture that has nothing to add."""
