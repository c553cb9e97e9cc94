"""Folded blocks of arm64 entries, from the view of one entry: contpte.

CONT_PTES entries that map aligned neighbouring pages with equal rights may carry
PTE_CONT. Such a block is folded: the hardware may translate all of it by one TLB
entry, and may mark any of the 16 accessed or dirty for any of the pages. So who
reads an entry gathers from all, and who changes one unfolds the block before.
Folding and unfolding rewrite all 16, and leave them equally accessed and dirty.

Sources: arch/arm64/mm/contpte.c and the callers in
arch/arm64/include/asm/pgtable.h, Linux 6.12; the switches of `State.facts` turn
them into later versions. A window is made of whole blocks, so the index of an
entry tells its place in the block.
"""

import numpy as np

from mm import table, tlb
from mm.arm64 import CONT_PTES
from mm.jit import jit, rule

from .arm64_pte import (
    decode,
    encode,
    pfn_pte,
    pte_dirty,
    pte_mkclean,
    pte_mkcont,
    pte_mkdirty,
    pte_mknoncont,
    pte_mkold,
    pte_mkyoung,
    pte_valid_cont,
)
from .pages import page_at

NONE = np.uint64(0)
ONE = np.uint64(1)
PAGES = np.uint64(CONT_PTES)
LAST = np.uint64(CONT_PTES - 1)


@rule
def contpte_align_down(index):
    """The first entry of the block of entry `index`."""
    return index - index % CONT_PTES


@rule
def load_pte(state, index):
    """The record of the entry as it stands in the table: __ptep_get()."""
    return decode(state.facts[0], table.load(state, index))


# Reading.


@rule
def gather_from_all(state, first, pte):
    """`pte` as dirty and young as any entry of the block: contpte_ptep_get() until 6.16."""
    for i in range(first, first + CONT_PTES):
        sibling = load_pte(state, i)
        if pte_dirty(sibling):
            pte = pte_mkdirty(pte)
        if sibling.accessed:
            pte = pte_mkyoung(pte)
    return pte


@rule
def any_young(state, start, end):
    """Whether an entry of [start, end) is young; none is loaded after the first that is."""
    i = start
    while i < end and not load_pte(state, i).accessed:
        i += 1
    return i < end


@rule
def any_dirty(state, start, end):
    """Whether an entry of [start, end) is dirty; none is loaded after the first that is."""
    i = start
    while i < end and not pte_dirty(load_pte(state, i)):
        i += 1
    return i < end


@rule
def gather_until_both(state, first, pte):
    """The same with fewer loads: contpte_ptep_get() since 6.17.

    Looks for the first entry that is dirty or young, and from there for the
    other of the two.
    """
    end = first + CONT_PTES
    for i in range(first, end):
        sibling = load_pte(state, i)
        if pte_dirty(sibling):
            # This entry may be the young one too: it is loaded once more.
            if any_young(state, i, end):
                pte = pte_mkyoung(pte)
            return pte_mkdirty(pte)
        if sibling.accessed:
            # This entry is not dirty: the search goes on with the next one.
            if any_dirty(state, i + 1, end):
                pte = pte_mkdirty(pte)
            return pte_mkyoung(pte)
    return pte


@jit
def contpte_ptep_get(state, index, pte):
    """`pte`, which is entry `index` of a folded block, as dirty and young as the block."""
    first = contpte_align_down(index)
    if state.facts[0].contpte_early_stop != 0:
        return gather_until_both(state, first, pte)
    return gather_from_all(state, first, pte)


# Folding and unfolding.


@rule
def flush_block(state, first, folded):
    """Send the TLB invalidation that the change of PTE_CONT needs, and log why."""
    facts = state.facts[0]
    # CPUs that need none are known since v6.17 (BBML2_noabort, in 7.3 BBML3), as is
    # the early stop above; so the one switch tells of both.
    if facts.bbml3 != 0 and facts.contpte_early_stop != 0:
        return
    address = facts.table_addr + (np.uint64(first) << facts.page_shift)
    if folded:
        tlb.fold(state, address, PAGES)
    else:
        tlb.unfold(state, address, PAGES)


@jit
def contpte_convert(state, index, pte):
    """Rewrite the block of entry `index` in the image of `pte`: folded if that has PTE_CONT.

    Whatever the hardware marked by the time the entries are taken goes to all.
    """
    facts = state.facts[0]
    first = contpte_align_down(index)
    pte = pfn_pte(pte.pfn & ~LAST, pte)
    for i in range(first, first + CONT_PTES):
        taken = decode(facts, table.take(state, i))
        if pte_dirty(taken):
            pte = pte_mkdirty(pte)
        if taken.accessed:
            pte = pte_mkyoung(pte)
    flush_block(state, first, pte.cont)
    for i in range(first, first + CONT_PTES):
        table.store(state, i, encode(facts, pte))
        pte = pfn_pte(pte.pfn + ONE, pte)


@rule
def contpte_try_unfold(state, index):
    """Unfold the block of the entry if it is folded. Takes one load to know."""
    pte = load_pte(state, index)
    if pte_valid_cont(pte):
        contpte_convert(state, index, pte_mknoncont(pte))


@rule
def is_last_of_block(index, pte):
    """Whether `pte` at `index` ends a block of addresses and a block of pages alike.

    Tries to fold are made there only: the entry that completes a block is
    expected to be written last.
    """
    return index % CONT_PTES == CONT_PTES - 1 and pte.pfn & LAST == LAST


@rule
def folio_covers_block(state, pte):
    """Whether all pages of the block around `pte` belong to one folio."""
    page = page_at(state, pte.pfn)
    first = pte.pfn & ~LAST
    return page.folio_pfn <= first and first + PAGES <= page.folio_pfn + np.uint64(page.nr_pages)


@rule
def block_is_uniform(state, index, pte):
    """Whether the block's entries are `pte` page by page, but for accessed and dirty.

    PTE_RDONLY, which waits for the first write, is part of dirty. None is loaded
    after the first that differs.
    """
    facts = state.facts[0]
    first = contpte_align_down(index)
    expected = pfn_pte(pte.pfn & ~LAST, pte_mkold(pte_mkclean(pte)))
    for i in range(first, first + CONT_PTES):
        found = pte_mkold(pte_mkclean(load_pte(state, i)))
        if encode(facts, found) != encode(facts, expected):
            return False
        expected = pfn_pte(expected.pfn + ONE, expected)
    return True


@jit
def contpte_try_fold(state, index, pte):
    """Fold the block of which `pte` was just written as entry `index`, if all are alike."""
    if not is_last_of_block(index, pte):
        return
    if not pte.valid or pte.special:
        return
    if folio_covers_block(state, pte) and block_is_uniform(state, index, pte):
        contpte_convert(state, index, pte_mkcont(state.facts[0], pte))


# What the core mm calls.


@rule
def ptep_get(state, index):
    """The word of the entry; of a folded one, with accessed and dirty of the whole block."""
    facts = state.facts[0]
    word = table.load(state, index)
    pte = decode(facts, word)
    if pte_valid_cont(pte):
        return encode(facts, contpte_ptep_get(state, index, pte))
    return word


@rule
def ptep_get_and_clear(state, index):
    """Take the entry out of its block, if it is in one, and then out of the table."""
    contpte_try_unfold(state, index)
    return table.take(state, index)


@rule
def set_ptes(state, index, word):
    """Write `word` to the entry, never as folded, and see whether that completes a block.

    A swap-like word loses bit 52 too, though it is a bit of the offset there.
    """
    facts = state.facts[0]
    pte = pte_mknoncont(decode(facts, word))
    contpte_try_unfold(state, index)
    table.store(state, index, encode(facts, pte))
    contpte_try_fold(state, index, pte)


@rule
def ptep_modify_prot_start(state, index):
    """Take the entry: arch/arm64/mm/mmu.c, without erratum 2645198."""
    return ptep_get_and_clear(state, index)


@rule
def ptep_modify_prot_commit(state, index, old, word):
    """Put the entry, which was taken as `old`, back as `word`."""
    set_ptes(state, index, word)


@rule
def pte_clear(state, index):
    """Empty the entry, out of its block if it is in one."""
    contpte_try_unfold(state, index)
    table.store(state, index, NONE)
