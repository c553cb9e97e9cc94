"""The table of rules that an architecture fills, and the swap-like entry as a record.

The generic rules know an architecture by its `Arch` alone: they pass its records
around and ask its questions, and never look at a bit. A rule that depends on
kernel version or configuration gets `facts`, the one record of `State.facts`.
The page table is reached through the architecture too: what one access of the
core mm costs in loads, stores and invalidations is an architecture's affair.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from mm.jit import rule

NONE = np.uint64(0)


class SwapEntry(NamedTuple):
    """A swap-like entry, decoded without loss: pte_to_swp_entry() and the bits beside it."""

    type: Any  # int64, one of the numbers in `mm.version.SwapTypes`, or a real swap area
    offset: Any  # uint64, not inverted
    soft_dirty: Any
    uffd: Any
    exclusive: Any  # the anon page was exclusive
    rest: Any  # uint64, in place, the other bits that are not as in an entry of the kernel's own


class Arch(NamedTuple):
    """One architecture's rules, as compiled functions on its own record `pte`."""

    decode: Callable[..., Any]  # facts, word -> pte, for each of the 2**64 words
    encode: Callable[..., Any]  # facts, pte -> word, the inverse of decode
    pte_present: Callable[..., Any]  # pte -> bool
    pte_none: Callable[..., Any]  # facts, pte -> bool
    pte_protnone: Callable[..., Any]  # facts, pte -> bool
    pte_special: Callable[..., Any]  # pte -> bool
    pte_devmap: Callable[..., Any]  # facts, pte -> bool
    pte_pfn: Callable[..., Any]  # pte -> uint64
    pte_write: Callable[..., Any]  # pte -> bool
    pte_dirty: Callable[..., Any]  # pte -> bool
    pte_soft_dirty: Callable[..., Any]  # facts, pte -> bool
    pte_uffd: Callable[..., Any]  # facts, pte -> bool
    pte_modify: Callable[..., Any]  # facts, pte, newprot as a pte -> pte
    pte_mkwrite: Callable[..., Any]  # facts, pte -> pte
    pte_mkuffd: Callable[..., Any]  # facts, pte -> pte
    pte_clear_uffd: Callable[..., Any]  # facts, pte -> pte
    pte_needs_flush: Callable[..., Any]  # facts, old pte, new pte -> bool
    decode_swap: Callable[..., Any]  # facts, word -> SwapEntry, for each of the 2**64 words
    encode_swap: Callable[..., Any]  # facts, SwapEntry -> word, the inverse of decode_swap
    swp_offset_pfn: Callable[..., Any]  # facts, SwapEntry of a PFN kind -> uint64
    ptep_get: Callable[..., Any]  # state, index -> word, as the core mm shall see it
    ptep_modify_prot_start: Callable[..., Any]  # state, index -> word; the entry is taken
    ptep_modify_prot_commit: Callable[..., Any]  # state, index, old word, new word: put it back
    set_pte: Callable[..., Any]  # state, index, word, which is not present
    pte_clear: Callable[..., Any]  # state, index: empty the entry
    page_none: np.uint64  # PAGE_NONE


@rule
def mask_if(on, mask):
    """`mask` if `on`, else no bit: for encoding."""
    return mask if on else NONE
