"""The record that an architecture fills for the oracles: their own reading of an entry.

The relation and the invariants may not borrow a mask or a rule from a side that
they judge, so this is a third, independent reading, by plain tests on raw words.
"""

from typing import Any, NamedTuple


class Words(NamedTuple):
    """What the oracles must be able to ask of a word; words are `np.uint64`."""

    none: Any  # word -> bool: pte_none()
    present: Any  # word -> bool: pte_present(), PROT_NONE included
    hardware_valid: Any  # word -> bool: the MMU may use and cache it
    writable: Any  # present word -> bool
    dirty: Any  # present word -> bool, in whichever bit
    accessed: Any  # present word -> bool
    soft_dirty: Any  # present word -> bool
    uffd: Any  # present word -> bool
    pfn: Any  # (state, present word) -> uint64
    advance: Any  # (state, word, pages uint64) -> the word of the page so much further on
    batch_key: Any  # word -> word without the bits that a batch may mix
    folded: Any  # present word -> bool: part of a contpte block (arm64)
    merge_dirty: Any  # (state, word) -> word: pte_mkdirty()
    merge_dirty_only: Any  # word -> word: dirty, soft-dirty left alone
    merge_accessed: Any  # word -> word: pte_mkyoung()
    special: Any  # present word -> bool
    difference: Any  # (state, reference's, target's present word) -> class bits
    revoked: Any  # (state, old, new) -> bool: a TLB entry made from old is stale
    repainted: Any  # (old, new) -> bool: all that may happen to an entry beside the range
    impossible: Any  # present word -> bool: the kernel never makes it
    needs_nmmu: Any  # (state, old, new) -> bool: the coprocessors must forget old (powerpc)
    is_protection: Any  # state -> bool: newprot brings nothing but a protection
    with_upgrade_of: Any  # (word, other) -> word, writable as `other` is
    swap_type: Any  # swap-like word -> int64
    swap_offset: Any  # (state, swap-like word) -> uint64, to be compared only
    swap_payload: Any  # (state, marker word) -> uint64
    swap_soft_dirty: Any  # swap-like word -> bool
    # How a canary spoils a present word; each must be seen by one judge.
    set_writable: Any  # word -> word
    set_uffd_writable: Any  # word -> word
    clear_dirty: Any  # word -> word
    clear_accessed: Any  # word -> word
    clear_soft_dirty: Any  # word -> word
    make_impossible: Any  # word -> word
