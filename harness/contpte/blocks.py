"""Contpte blocks of 16 entries: which are whole, and the invariant that they stay so.

A block is *folded* if its entries are valid and have PTE_CONT. A kernel knows
only blocks that are whole and consistent, and repaints 16 entries from one of
them: on a torn block nothing can be foretold.
"""

import numpy as np

from mm.arm64 import CONT_PTES
from mm.jit import rule

from .. import classes
from ..batches import ZERO, page_row

B = classes.bit("invariant-B")


@rule
def is_consistent(words, state, base):
    """Whether the block from entry `base` on has no folded entry, or 16 that make one block.

    They may differ in accessed and in dirtiness, as pte_mkold() and pte_mkclean() see it.
    """
    nr = 0
    for i in range(base, base + CONT_PTES):
        nr += 1 if words.folded(state.ptes[i]) else 0
    if nr == 0:
        return True
    first = words.batch_key(state.ptes[base])
    if nr < CONT_PTES or words.pfn(state, first) % np.uint64(CONT_PTES) != ZERO:
        return False
    for i in range(base + 1, base + CONT_PTES):
        if words.batch_key(state.ptes[i]) != words.advance(state, first, np.uint64(i - base)):
            return False
    return True


@rule
def has_torn_block(words, state):
    """Whether a block of `state` is folded, but not whole and consistent."""
    for base in range(0, state.facts[0].nr_ptes, CONT_PTES):
        if not is_consistent(words, state, base):
            return True
    return False


@rule
def is_folded(words, state, base):
    """Whether all 16 entries from `base` on are folded."""
    end = base + CONT_PTES
    while base < end and words.folded(state.ptes[base]):
        base += 1
    return base == end


@rule
def is_of_one_folio(words, case, word):
    """Whether the block whose last entry is valid `word` maps pages of one folio."""
    row = page_row(words, case, word)
    if row < 0:
        return False
    folio = case.folios[row]
    last = words.pfn(case, word)
    return last >= np.uint64(CONT_PTES - 1) and folio.pfn <= last - np.uint64(CONT_PTES - 1)


@rule
def judge_blocks(words, workspace):
    """Add invariant B: each block of the outcome is whole and consistent, or not folded.

    A block that the call has folded maps one folio.
    """
    case, theirs = workspace.case, workspace.theirs
    for base in range(0, case.facts[0].nr_ptes, CONT_PTES):
        last = theirs.ptes[base + CONT_PTES - 1]
        sound = is_consistent(words, theirs, base)
        if words.folded(last) and not words.folded(case.ptes[base]):
            sound = sound and is_of_one_folio(words, case, last)
        if not sound:
            workspace.found[base] = workspace.found[base] | B
