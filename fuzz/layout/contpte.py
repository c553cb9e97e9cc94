"""Contpte blocks of a random case of arm64: which are folded, and how wild ones are broken.

A block is 16 entries, aligned, that the MMU may hold as one TLB entry once each
has PTE_CONT. The kernel folds a block only if it maps 16 aligned pages of one
folio and all entries agree in all but accessed and dirty: contpte_try_fold(),
arch/arm64/mm/contpte.c.
"""

import numpy as np

from mm.arm64 import (
    CONT_PTES,
    PFN_SHIFT,
    PTE_ADDR_MASK,
    PTE_AF,
    PTE_CONT,
    PTE_DIRTY,
    PTE_RDONLY,
    PTE_SPECIAL,
    PTE_VALID,
)
from mm.jit import rule

from ..choices import bits, draw, mix, parts, scaled
from .patterns import BEFORE, BUT, FROM, NO, ONLY, RANDOM, TURNS, YES, mask, pattern

NONE = np.uint64(0)
ONE = np.uint64(1)

# What may differ inside a folded block. PTE_RDONLY is a part of dirtiness: a clean
# writable entry has it, a dirty one has not.
_MAY_DIFFER = PTE_AF | PTE_DIRTY | PTE_RDONLY
# Where the first PFN of a block must be zero.
_OFFSET_IN_BLOCK = np.uint64(CONT_PTES - 1) << PFN_SHIFT

# Which of the blocks that could be folded are, out of 16.
_FOLDED = np.array(
    [NO] + [YES] * 5 + [ONLY] + [BUT] * 2 + [FROM, BEFORE, TURNS] + [RANDOM] * 4, np.int64
)
_KIND, _PLACE = parts(4, 5)

# One wild case in four has broken blocks, about one block in four of it: PTE_CONT in all
# entries, whatever they are, in some, in all but some, or in those that are valid.
_BREAKS, _ = parts(2, 62)
_BROKEN, _HOW, _WHERE = parts(2, 2, 16)


@rule
def fold_blocks(choices, state):
    """Fold some of the blocks that the kernel could have folded."""
    facts = state.facts[0]
    choice = draw(choices)
    nr_ptes = np.int64(facts.nr_ptes)
    place = scaled(choice, _PLACE, nr_ptes // CONT_PTES)
    folded = pattern(_FOLDED[bits(choice, _KIND)], place, choice, 0)
    for first in range(0, nr_ptes, CONT_PTES):
        if folded & ONE and _foldable(state, first):
            for i in range(first, first + CONT_PTES):
                state.ptes[i] |= PTE_CONT
        folded >>= ONE


@rule
def _foldable(state, first):
    """Whether the kernel could fold the block of entry `first`."""
    word = state.ptes[first]
    return (
        word & PTE_SPECIAL == NONE
        and _is_uniform(state, first)
        and _in_large_folio(state, (word & PTE_ADDR_MASK) >> PFN_SHIFT)
    )


@rule
def _is_uniform(state, first):
    """Whether the block of entry `first` maps 16 aligned pages in the same way."""
    word = state.ptes[first]
    if word & PTE_VALID == NONE or word & _OFFSET_IN_BLOCK:
        return False
    word &= ~_MAY_DIFFER
    for i in range(1, CONT_PTES):
        if state.ptes[first + i] & ~_MAY_DIFFER != word + (np.uint64(i) << PFN_SHIFT):
            return False
    return True


@rule
def _in_large_folio(state, pfn):
    """Whether a folio of a block of pages or more has page `pfn`."""
    low = np.int64(0)
    high = np.int64(state.facts[0].nr_folios)
    while low < high:
        middle = (low + high) >> 1
        folio = state.folios[middle]
        if pfn < folio.pfn:
            high = middle
        elif pfn >= folio.pfn + np.uint64(folio.nr_pages):
            low = middle + 1
        else:
            return folio.nr_pages >= CONT_PTES
    return False


@rule
def break_blocks(state, choice):
    """Break some blocks of a wild case; in most cases mend those that odd words broke.

    On a broken block nothing can be foretold: the kernel repaints 16 entries from
    one of them. Such a case shows crashes only, so there must not be too many.
    """
    breaks = bits(choice, _BREAKS) == 3
    for first in range(0, np.int64(state.facts[0].nr_ptes), CONT_PTES):
        if breaks:
            _break_block(state, first, mix(choice + np.uint64(first)))
        elif state.ptes[first] & PTE_CONT == NONE or not _is_uniform(state, first):
            for i in range(first, first + CONT_PTES):
                if state.ptes[i] & PTE_VALID:
                    state.ptes[i] &= ~PTE_CONT


@rule
def _break_block(state, first, noise):
    """Write PTE_CONT where no kernel does, or leave the block alone."""
    if bits(noise, _BROKEN):
        return
    how = bits(noise, _HOW)
    where = noise >> _WHERE.shift
    for i in range(first, first + CONT_PTES):
        if how == 0:
            state.ptes[i] |= PTE_CONT
        elif how == 1:
            state.ptes[i] |= PTE_CONT & mask(where)
        elif how == 2:
            state.ptes[i] &= ~(PTE_CONT & mask(where))
        elif state.ptes[i] & PTE_VALID:
            state.ptes[i] |= PTE_CONT
        where >>= ONE
