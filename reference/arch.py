"""The table of rules that an architecture fills, and the swap-like entry as a record.

The generic rules know an architecture by its `Arch` alone: they pass its records
around and ask its questions, and never look at a bit. A rule that depends on
kernel version or configuration gets `facts`, the one record of `State.facts`.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np


class SwapEntry(NamedTuple):
    """A swap-like entry, decoded without loss: pte_to_swp_entry() and the bits beside it."""

    type: Any  # int64, one of the numbers in `mm.version.SwapTypes`, or a real swap area
    offset: Any  # uint64, not inverted
    soft_dirty: Any
    uffd: Any
    exclusive: Any  # the anon page was exclusive
    rest: Any  # uint64, all bits that mean nothing in a swap-like entry, in place


class Arch(NamedTuple):
    """One architecture's rules, as compiled functions on its own record `pte`."""

    decode: Callable[..., Any]  # word -> pte, for each of the 2**64 words
    encode: Callable[..., Any]  # pte -> word, the inverse of decode
    pte_present: Callable[..., Any]  # pte -> bool
    pte_none: Callable[..., Any]  # pte -> bool
    pte_protnone: Callable[..., Any]  # facts, pte -> bool
    pte_special: Callable[..., Any]  # pte -> bool
    pte_devmap: Callable[..., Any]  # facts, pte -> bool
    pte_pfn: Callable[..., Any]  # pte -> uint64
    pte_write: Callable[..., Any]  # pte -> bool
    pte_dirty: Callable[..., Any]  # pte -> bool
    pte_soft_dirty: Callable[..., Any]  # facts, pte -> bool
    pte_uffd: Callable[..., Any]  # facts, pte -> bool
    pte_modify: Callable[..., Any]  # facts, pte, newprot as a pte -> pte
    pte_mkwrite: Callable[..., Any]  # pte -> pte
    pte_mkuffd: Callable[..., Any]  # facts, pte -> pte
    pte_clear_uffd: Callable[..., Any]  # facts, pte -> pte
    pte_needs_flush: Callable[..., Any]  # facts, old pte, new pte -> bool
    decode_swap: Callable[..., Any]  # word -> SwapEntry, for each of the 2**64 words
    encode_swap: Callable[..., Any]  # SwapEntry -> word, the inverse of decode_swap
    page_none: np.uint64  # PAGE_NONE
    swp_pfn_mask: np.uint64  # SWP_PFN_MASK: where PFN kinds hold the PFN in the offset
