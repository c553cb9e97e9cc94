"""arm64's contpte: blocks of 16 entries that a TLB may hold as one.

The entries of a *folded* block are valid, have PTE_CONT, and map 16 pages of one
aligned piece of memory. The hardware marks any of them accessed or dirty for
all, so the marks of such an entry are those of its block; and a TLB must never
see one entry of a block changed while the others stay folded, so the block is
unfolded first, which invalidates it.

A window is made of whole aligned blocks (`Case.check()`): the block of an entry
is the 16 indices that differ from its own in the low four bits only.

Source: arch/arm64/mm/contpte.c and arch/arm64/include/asm/pgtable.h, Linux 7.3.
"""

import numpy as np

from mm import table, tlb
from mm.arm64 import CONT_PTES, PFN_SHIFT, PTE_ADDR_MASK, PTE_CONT, PTE_SPECIAL, PTE_VALID
from mm.jit import jit, rule

from .arm64_marks import ACCESSED, DIRTY, marks_of, with_marks, without_marks
from .folios import search

NONE = np.uint64(0)
ONE = np.uint64(1)
ONE_PAGE = np.uint64(1) << PFN_SHIFT
BLOCK = np.uint64(CONT_PTES)
IN_BLOCK = BLOCK - ONE  # of an index: which entry of its block
PFN_IN_BLOCK = IN_BLOCK << PFN_SHIFT  # of a word: which page of a block's memory

FOLDED = PTE_VALID | PTE_CONT
# An entry completes a block if it is valid, not special, and maps the last page of the
# block's memory.
COMPLETES = PTE_VALID | PFN_IN_BLOCK
COMPLETES_NOT = PTE_SPECIAL


@rule
def is_folded(pte):
    """Whether the entry is one of a folded block: pte_valid_cont()."""
    return pte & FOLDED == FOLDED


@rule
def batch_hint(index, pte, most):
    """How many entries from `index` on, at most `most`, `pte` speaks for: pte_batch_hint()."""
    if not is_folded(pte):
        return ONE
    # The kernel cuts the whole batch at its end; this keeps others from a test in the loop.
    left = BLOCK - (index & IN_BLOCK)
    return left if left < most else most


@jit
def gather(state, index, pte):
    """`pte`, loaded from entry `index` of a folded block, with the marks of the block.

    Loads no more than it needs, since v6.17. Source: contpte_ptep_get().
    """
    at = index & ~IN_BLOCK
    end = at + BLOCK
    found = NONE
    if state.facts[0].contpte_early_stop == 0:
        while at < end:
            found |= marks_of(table.load(state, at))
            at += ONE
        return with_marks(pte, found)
    while at < end:
        found = marks_of(table.load(state, at))
        if found != NONE:
            break
        at += ONE
    # The kernel looks for an accessed entry from the dirty one on, which it loads again,
    # and for a dirty one behind the accessed one.
    missing = ACCESSED
    if found & DIRTY == NONE:
        missing = DIRTY
        at += ONE
    while at < end:
        seen = marks_of(table.load(state, at)) & missing
        if seen != NONE:
            found |= seen
            break
        at += ONE
    return with_marks(pte, found)


@rule
def ptep_get(state, index):
    """The word of entry `index`, with the marks of its block if that is folded."""
    pte = table.load(state, index)
    return gather(state, index, pte) if is_folded(pte) else pte


@rule
def store_run(state, first, end, pte):
    """Write the entries [first, end): `pte`, one page further each."""
    for at in range(first, end):
        table.store(state, at, pte)
        pte += ONE_PAGE


@jit
def repaint(state, index, pte):
    """Rewrite the block of entry `index` like `pte`, folded if that is; merge its marks.

    Source: contpte_convert().
    """
    first = index & ~IN_BLOCK
    found = NONE
    for at in range(first, first + BLOCK):
        found |= marks_of(table.take(state, at))
    facts = state.facts[0]
    # BBML3: the CPU bears a change of PTE_CONT. Asked since v6.17, as one stops early since.
    if facts.bbml3 == 0 or facts.contpte_early_stop == 0:
        address = facts.table_addr + (first << facts.page_shift)
        if is_folded(pte):
            tlb.fold(state, address, BLOCK)
        else:
            tlb.unfold(state, address, BLOCK)
    store_run(state, first, first + BLOCK, with_marks(pte & ~PFN_IN_BLOCK, found))


@rule
def try_unfold(state, index):
    """Unfold the block of entry `index` if it is folded."""
    pte = table.load(state, index)
    if is_folded(pte):
        repaint(state, index, pte & ~PTE_CONT)


@jit
def fold_if_uniform(state, index, pte, folded):
    """Fold the block whose last entry is `index`, just written as `pte`, if it may be.

    `folded` is `pte` with PTE_CONT. Source: __contpte_try_fold().
    """
    pfn = (pte & PTE_ADDR_MASK) >> PFN_SHIFT
    folio = search(state, np.uint64(state.facts[0].nr_folios), pfn)
    if not folio.listed or folio.end - folio.start < BLOCK:
        return
    first = index & ~IN_BLOCK
    expected = without_marks(pte & ~PFN_IN_BLOCK)
    for at in range(first, first + BLOCK):
        if without_marks(table.load(state, at)) != expected:
            return
        expected += ONE_PAGE
    repaint(state, index, folded)


@rule
def replace(state, index, pte):
    """Write entry `index`, which is none or swap-like: no block must be unfolded for it."""
    # The kernel looks for one all the same: contpte_try_unfold() in set_ptes() and pte_clear().
    table.load(state, index)
    table.store(state, index, pte)


@rule
def set_pte(state, index, pte):
    """Write the swap-like entry `pte` to entry `index`; it completes no block.

    Bit 52 is lost even though it is one of a swap offset's: set_ptes() clears it in any word.
    """
    replace(state, index, pte & ~PTE_CONT)


@rule
def pte_clear(state, index):
    """Make the swap-like entry `index` none."""
    replace(state, index, NONE)


@rule
def set_present_pte(state, masks, index, pte):
    """Write the single present entry `index`, and fold its block if that completes it."""
    pte &= ~PTE_CONT
    replace(state, index, pte)
    if index & IN_BLOCK == IN_BLOCK and pte & (COMPLETES | COMPLETES_NOT) == COMPLETES:
        fold_if_uniform(state, index, pte, pte | masks.cont)


@rule
def set_ptes(state, masks, index, nr, pte):
    """Write `nr` entries from `index` on, which are none now; whole blocks become folded.

    Invalidates nothing and looks at no folio. Source: contpte_set_ptes().
    """
    pte &= ~PTE_CONT
    end = index + nr
    first_block = index + IN_BLOCK & ~IN_BLOCK
    end_blocks = end & ~IN_BLOCK
    lies_alike = (pte >> PFN_SHIFT ^ index) & IN_BLOCK == NONE
    if pte & PTE_VALID != NONE and lies_alike and first_block < end_blocks:
        store_run(state, index, first_block, pte)
        folded = pte + (first_block - index) * ONE_PAGE | masks.cont
        store_run(state, first_block, end_blocks, folded)
        store_run(state, end_blocks, end, pte + (end_blocks - index) * ONE_PAGE)
    else:
        store_run(state, index, end, pte)


@rule
def get_and_clear_ptes(state, index, nr):
    """Take `nr` entries; the first one, with the marks of the others merged in.

    Blocks that are taken whole are not unfolded. Source: contpte_try_unfold_partial().
    """
    end = index + nr
    if index & IN_BLOCK != NONE or nr < BLOCK:
        try_unfold(state, index)
    if nr != ONE and end & IN_BLOCK != NONE:
        try_unfold(state, end - ONE)
    first = table.take(state, index)
    others = NONE
    for at in range(index + ONE, end):
        others |= marks_of(table.take(state, at))
    return with_marks(first, others)
