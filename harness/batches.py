"""Legal batches: what may be changed together, known from the case alone.

The legal batch of a present entry in the range is the maximal run of present
entries in the range that map consecutive pages of one large folio and agree in
every bit but accessed and dirtiness. An entry without a page, or with the page
of an order-0 folio, is alone. Worded in docs/relation.md.
"""

import numpy as np

from mm.flags import FOLIO_ANON
from mm.jit import rule

ZERO = np.uint64(0)
ONE = np.uint64(1)

# What `page_row` says where there is no row.
ORDER_0 = -1  # a page that no folio lists
NO_PAGE = -2


@rule
def holds(state, row, pfn):
    """Whether the folio in `row` (uint64) holds `pfn`."""
    # One comparison: what is below the folio's first page wraps around to far above.
    return pfn - state.folios[row].pfn < np.uint64(state.folios[row].nr_pages)


@rule
def folio_row(state, pfn):
    """The row of the folio that holds `pfn`, or -1. Binary search: rows ascend."""
    left = np.uint64(state.facts[0].nr_folios)
    if left == ZERO:
        return -1
    low = ZERO
    while left > ONE:
        half = left >> ONE
        # No branch on what is compared: no predictor could foresee it.
        low = low + half if state.folios[low + half].pfn <= pfn else low
        left -= half
    return np.int64(low) if holds(state, low, pfn) else -1


@rule
def row_near(state, pfn, near):
    """As `folio_row` (uint64, `nr_folios` if there is none), tried first at `near` and behind it.

    Neighbours in the table mostly are neighbours in memory.
    """
    nr_folios = np.uint64(state.facts[0].nr_folios)
    for row in range(near, min(near + np.uint64(2), nr_folios)):
        if holds(state, row, pfn):
            return row
    row = folio_row(state, pfn)
    return np.uint64(row) if row >= 0 else nr_folios


@rule
def exclusive_in(words, state, word, row):
    """Whether the page of present `word` is anon and exclusive, its folio being in `row`.

    `row` as `row_near` says. An entry without a page may have a PFN inside a folio.
    """
    if row >= np.uint64(state.facts[0].nr_folios) or words.special(word):
        return False
    folio = state.folios[row]
    page = np.uint64(folio.first_page) + words.pfn(state, word) - folio.pfn
    return (folio.folio_flags & FOLIO_ANON) != ZERO and state.exclusive[page] != 0


@rule
def page_row(words, state, word):
    """The folio row behind present `word`, ORDER_0, or NO_PAGE: vm_normal_page().

    A special entry never has a normal page, whatever the VMA; else every PFN in
    the memory map has one.
    """
    if words.special(word):
        return NO_PAGE
    pfn = words.pfn(state, word)
    if pfn > state.facts[0].highest_memmap_pfn:
        return NO_PAGE
    row = folio_row(state, pfn)
    return row if row >= 0 else ORDER_0


@rule
def batch_end(words, state, index):
    """The end of the legal batch that begins at entry `index`, which is present and in the range.

    `index` and the answer are uint64.
    """
    end = np.uint64(state.facts[0].end)
    first = state.ptes[index]
    key = words.batch_key(first)
    at = index + ONE
    # Before the page is looked up, because most entries that stand alone are told by it.
    if at >= end or words.batch_key(state.ptes[at]) != words.advance(state, key, ONE):
        return at
    row = page_row(words, state, first)
    if row < 0:
        return at
    folio = state.folios[np.uint64(row)]
    left = folio.pfn + np.uint64(folio.nr_pages) - words.pfn(state, first)
    limit = min(end, index + left)
    while at < limit and words.batch_key(state.ptes[at]) == words.advance(state, key, at - index):
        at += ONE
    return at


@rule
def with_bits_of(words, state, template, word):
    """`template` accessed and dirty if the taken `word` is: pte_mkyoung(), pte_mkdirty()."""
    if words.dirty(word):
        template = words.merge_dirty(state, template)
    if words.accessed(word):
        template = words.merge_accessed(template)
    return template


@rule
def merge(words, state, index, end):
    """The first entry of batch [index, end) with accessed and dirty of all merged in.

    As modify_prot_start_ptes() does: only entries after the first are merged
    in, and pte_mkdirty() sets soft-dirty too. What the hardware sets before the
    entries are taken counts.
    """
    merged = state.ptes[index] ^ state.hardware[index]
    for i in range(index + ONE, end):
        merged = with_bits_of(words, state, merged, state.ptes[i] ^ state.hardware[i])
    return merged


@rule
def exclusive_place(words, state, word):
    """Where the exclusive bit of the page of `word` stands; a folio must hold it."""
    folio = state.folios[np.uint64(folio_row(state, words.pfn(state, word)))]
    return np.uint64(folio.first_page) + words.pfn(state, word) - folio.pfn


@rule
def page_is_exclusive(words, state, word):
    """Whether present `word` maps an anon page that is exclusive to this mm."""
    row = page_row(words, state, word)
    if row < 0:
        return False
    folio = state.folios[np.uint64(row)]
    page = np.uint64(folio.first_page) + words.pfn(state, word) - folio.pfn
    return (folio.folio_flags & FOLIO_ANON) != ZERO and state.exclusive[page] != 0
