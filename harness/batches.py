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

# What `page_row` says where there is no row.
ORDER_0 = -1  # a page that no folio lists
NO_PAGE = -2


@rule
def folio_row(state, pfn):
    """The row of the folio that holds `pfn`, or -1. Binary search: rows ascend."""
    low, high = 0, state.facts[0].nr_folios
    while low < high:
        middle = (low + high) >> 1
        if state.folios[middle].pfn <= pfn:
            low = middle + 1
        else:
            high = middle
    row = low - 1
    if row >= 0:
        folio = state.folios[row]
        if pfn < folio.pfn + np.uint64(folio.nr_pages):
            return row
    return -1


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
def batch_end(words, state, index, row):
    """The end of the legal batch that begins at present entry `index`, whose page is in `row`."""
    if row < 0:
        return index + 1
    folio = state.folios[row]
    if folio.nr_pages == 1:
        return index + 1
    first = state.ptes[index]
    left = np.int64(folio.pfn + np.uint64(folio.nr_pages) - words.pfn(state, first))
    limit = min(state.facts[0].end, index + left)
    key = words.batch_key(first)
    end = index + 1
    while end < limit:
        word = state.ptes[end]
        if words.batch_key(word) != words.advance(state, key, np.uint64(end - index)):
            break
        end += 1
    return end


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
    for i in range(index + 1, end):
        merged = with_bits_of(words, state, merged, state.ptes[i] ^ state.hardware[i])
    return merged


@rule
def page_is_exclusive(words, state, word):
    """Whether present `word` maps an anon page that is exclusive to this mm."""
    row = page_row(words, state, word)
    if row < 0:
        return False
    folio = state.folios[row]
    page = folio.first_page + np.int64(words.pfn(state, word) - folio.pfn)
    return (folio.folio_flags & FOLIO_ANON) != ZERO and state.exclusive[page] != 0
