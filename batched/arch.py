"""The table that an architecture fills; everything generic calls through it.

`masks` is the architecture's own record of words that depend on configuration,
version and call, made once per call by `masks_of`: a bit that the configuration
compiles out is a zero mask there, as its macro is 0 in the kernel.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

Rule = Callable[..., Any]


class Arch(NamedTuple):
    """One architecture. Words, `index` and `nr` are uint64, questions bool.

    Unsigned, because numba asks of each signed index whether it is negative,
    which costs, and keeps the loops over a batch from being vectorised.
    """

    masks_of: Rule  # (facts) -> masks
    # Entries of the table.
    ptep_get: Rule  # (state, index) -> word
    modify_prot_start_ptes: Rule  # (state, masks, index, nr) -> first word, A/D of all merged
    modify_prot_commit_ptes: Rule  # (state, masks, index, nr, word): word, advanced, nr times
    set_pte: Rule  # (state, index, word): a single entry, none or swap-like
    # Present entries.
    pte_present: Rule  # (word)
    pte_none: Rule  # (word)
    pte_protnone: Rule  # (masks, word)
    pte_special: Rule  # (word)
    pte_devmap: Rule  # (masks, word)
    pte_write: Rule  # (word)
    pte_dirty: Rule  # (word)
    pte_soft_dirty: Rule  # (masks, word)
    pte_uffd: Rule  # (masks, word)
    pte_pfn: Rule  # (word) -> uint64
    pfn_step: Rule  # (word) -> what one page more adds to the word
    clear_ignored: Rule  # (masks, word, fpb_flags) -> word, as batches compare it
    pte_modify: Rule  # (masks, word) -> word with the new protection of the call
    pte_modify_none: Rule  # (masks, word) -> word with PAGE_NONE
    pte_mkuffd: Rule  # (masks, word) -> word
    pte_clear_uffd: Rule  # (masks, word) -> word
    pte_mkwrite: Rule  # (word) -> word
    pte_needs_flush: Rule  # (old, new)
    # Swap-like entries.
    swp_type: Rule  # (word) -> int64
    swp_offset: Rule  # (word) -> uint64
    swp_offset_pfn: Rule  # (word) -> uint64
    swp_entry: Rule  # (type, offset) -> word
    swp_soft_dirty: Rule  # (masks, word)
    swp_mksoft_dirty: Rule  # (masks, word) -> word
    swp_uffd: Rule  # (masks, word)
    swp_mkuffd: Rule  # (masks, word) -> word
    swp_clear_uffd: Rule  # (masks, word) -> word
