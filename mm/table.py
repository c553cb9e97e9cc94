"""The page table as hardware gives it: load, take, store. SIMPLIFIED: one CPU.

The one concurrent writer that is modelled is the page walker of the MMU, which
marks entries accessed or dirty of its own accord: `State.hardware` says which
bits of which entries it flips between the moment they are looked at and the moment they are
taken. An implementation that loads where it should take does not see these bits
and loses them when it stores.
"""

import numpy as np

from .jit import TRACED, rule
from .state import LOADS, STORES, TAKES

NONE = np.uint64(0)


@rule
def load(state, index):
    """The word of entry `index`, by a plain load: ptep_get()."""
    if TRACED:
        state.counts[LOADS] += 1
    return state.ptes[index]


@rule
def take(state, index):
    """The word of entry `index`, which is cleared atomically: ptep_get_and_clear().

    What the hardware did in the meantime is part of the word.
    """
    if TRACED:
        state.counts[TAKES] += 1
    word = state.ptes[index] ^ state.hardware[index]
    state.ptes[index] = NONE
    # The walker did this once; a second take must not see it again.
    state.hardware[index] = NONE
    return word


@rule
def store(state, index, word):
    """Write `word` to entry `index`, by a plain store: set_pte()."""
    if TRACED:
        state.counts[STORES] += 1
    state.ptes[index] = word


@rule
def count_live(state, address, pages):
    """How many entries of `pages` (uint64) pages from `address` are not empty; none outside the window.

    A look at the table for the log, which is no load of a side's.
    """
    facts = state.facts[0]
    live = 0
    if address >= facts.table_addr:
        first = (address - facts.table_addr) >> facts.page_shift
        for i in range(first, min(first + pages, np.uint64(facts.nr_ptes))):
            live += 1 if state.ptes[i] != NONE else 0
    return live
