"""What a generator asks of an architecture: words made from names, never read back.

An architecture fills one `Words` (fuzz/x86_64.py); the generator takes it as
its first parameter.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

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
    """Makes the words of one architecture.

    `protection(access, pkey)`      vm_page_prot of a VMA; access is READ 1 | WRITE 2 |
                                    EXEC 4 | SHARED 8
    `page_none()`                   PAGE_NONE
    `cached(prot, choice)`          `prot` with a memory type other than write-back
    `present(prot, state)`          an entry in a state that the kernel makes, clean, old and
                                    without PFN: `prot` is a read-only protection without
                                    SHARED, `state` has the bits above; WRITE goes with
                                    neither UFFD nor PROTNONE
    `accessed_flip(word)`           the bits to flip to make such an entry accessed
    `dirty_flip(word)`              the bits to flip to make it dirty; none of the above
    `place(word, pfn)`              the entry with its PFN
    `swap(type, offset, state)`     a swap-like entry
    `pfn_offset(pfn, young, dirty)` the offset of a migration or device entry
    `walker(word, choice)`          bits that the page walker of the MMU may set in `word`
    `any_walker(choice)`            accessed and dirty bits, legal or not
    `odd_prot(prot, choice)`        a protection that no VMA has
    `odd_word(word, choice)`        a word near `word`, or one known to be a corner
    """

    protection: Callable[..., Any]
    page_none: Callable[..., Any]
    cached: Callable[..., Any]
    present: Callable[..., Any]
    accessed_flip: Callable[..., Any]
    dirty_flip: Callable[..., Any]
    place: Callable[..., Any]
    swap: Callable[..., Any]
    pfn_offset: Callable[..., Any]
    walker: Callable[..., Any]
    any_walker: Callable[..., Any]
    odd_prot: Callable[..., Any]
    odd_word: Callable[..., Any]
