"""Page-table access as include/linux/pgtable.h has it: for architectures without their own.

One plain load, one atomic exchange, one plain store; nothing else happens.
"""

import numpy as np

from mm import table
from mm.jit import rule

NONE = np.uint64(0)


@rule
def ptep_modify_prot_start(state, index):
    """The word of the entry, which is empty until it is put back."""
    return table.take(state, index)


@rule
def ptep_modify_prot_commit(state, index, old, word):
    """Put the entry, which was taken as `old`, back as `word`."""
    table.store(state, index, word)


@rule
def set_pte(state, index, word):
    """Write `word`, which is not present, to the entry."""
    table.store(state, index, word)


@rule
def pte_clear(state, index):
    """Empty the entry."""
    set_pte(state, index, NONE)


@rule
def ptep_get(state, index):
    """The word of the entry."""
    return table.load(state, index)
