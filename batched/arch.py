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
    # Whether the walk may look at the next entry before it knows their folio. It saves
    # time, but where loads are counted against the kernel's it is one too many.
    peek_is_free: bool
    # Entries of the table.
    ptep_get: Rule  # (state, index) -> word
    # (index, word, most) -> how many entries from `index` on, at most `most`, it speaks for
    batch_hint: Rule
    modify_prot_start_ptes: Rule  # (state, masks, index, nr) -> first word, A/D of all merged
    # (state, call, masks, index, nr, old, new): `new`, advanced, nr times; both are the first's
    modify_prot_commit_ptes: Rule
    set_pte: Rule  # (state, index, word): a single swap-like entry
    pte_clear: Rule  # (state, index): a single swap-like entry made none
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
    pte_pfn: Rule  # (masks, word) -> uint64
    pfn_step: Rule  # (masks, word) -> what one page more adds to the word
    clear_ignored: Rule  # (masks, word, fpb_flags) -> word, as batches compare it
    pte_modify: Rule  # (masks, word) -> word with the new protection of the call
    pte_modify_none: Rule  # (masks, word) -> word with PAGE_NONE
    pte_mkuffd: Rule  # (masks, word) -> word
    pte_clear_uffd: Rule  # (masks, word) -> word
    pte_mkwrite: Rule  # (masks, word) -> word
    pte_needs_flush: Rule  # (masks, old, new)
    # Swap-like entries.
    swp_type: Rule  # (word) -> int64
    swp_offset: Rule  # (masks, word) -> uint64
    swp_offset_pfn: Rule  # (masks, word) -> uint64
    swp_entry: Rule  # (masks, type, offset) -> word
    swp_soft_dirty: Rule  # (masks, word)
    swp_mksoft_dirty: Rule  # (masks, word) -> word
    swp_uffd: Rule  # (masks, word)
    swp_mkuffd: Rule  # (masks, word) -> word
    swp_clear_uffd: Rule  # (masks, word) -> word
