"""The walk over the entries of a range: change_pte_range(), batched.

Present entries are changed by the batch: their first entry, with the accessed
and dirty bits of all merged into it, is changed once and written, advanced by
its PFN, to all of them. Source: mm/mprotect.c, 7.3; 6.17 and 6.18 by switches.
With the switches of a kernel before 6.17 it is a kernel that never was: the
older rules, but each page looked up once and by its old word.
"""

import numpy as np

from mm import trace
from mm.flags import (
    MM_CP_PROT_NUMA,
    MM_CP_TRY_CHANGE_WRITABLE,
    MM_CP_UFFD_RWP,
    VM_UFFD_RWP,
)
from mm.jit import rule

from .call import UFFD_CLEAR, UFFD_SET, asks, call_of, vma_has
from .commit import AS_IT_IS, WHOLE, prot_commit_flush_ptes, set_write_prot_commit_flush_ptes
from .detect import (
    FPB_RESPECT_SOFT_DIRTY,
    FPB_RESPECT_WRITE,
    may_be_joined,
    mprotect_folio_pte_batch,
)
from .folios import folio_can_map_prot_numa, no_folio, page_folio, vm_normal_page
from .softleaf import change_none_pte, change_softleaf_pte

# What a batch to be changed may not mix: the first entry's word decides for all.
CHANGE = FPB_RESPECT_SOFT_DIRTY | FPB_RESPECT_WRITE
# A batch to be skipped is not written, so it may mix both.
SKIP = np.uint64(0)
ONE_ENTRY = np.uint64(1)
# The calls that need the folio of each entry, and not only of those that are batched.
ASKS_FOR_FOLIO = MM_CP_PROT_NUMA | MM_CP_TRY_CHANGE_WRITABLE


@rule
def change_present_ptes(arch, state, call, masks, index, nr, mapped, folio, pfn):
    """Change the batch of `nr` entries from `index` on; `pfn` is the page of the first.

    Source: change_present_ptes(), mm/mprotect.c, 7.3.
    """
    trace.batch(state, index, nr)
    old = arch.modify_prot_start_ptes(state, masks, index, nr)
    new = arch.pte_modify(masks, old)
    if asks(call, UFFD_SET):
        new = arch.pte_mkuffd(masks, new)
    elif asks(call, UFFD_CLEAR):
        new = arch.pte_clear_uffd(masks, new)
    # The bit means read-write-protected in such a VMA: no access survives it.
    if vma_has(call, VM_UFFD_RWP) and arch.pte_uffd(masks, new):
        new = arch.pte_modify_none(masks, new)
    if asks(call, MM_CP_TRY_CHANGE_WRITABLE) and not arch.pte_write(new):
        set_write_prot_commit_flush_ptes(
            arch, state, call, masks, index, nr, mapped, folio, pfn, old, new
        )
    else:
        prot_commit_flush_ptes(arch, state, call, masks, index, nr, WHOLE, AS_IT_IS, old, new)


@rule
def is_already_changed(arch, state, call, masks, pte):
    """Whether `pte` is left alone before its page is looked up."""
    if not arch.pte_protnone(masks, pte):
        return False
    if asks(call, MM_CP_PROT_NUMA) and state.facts[0].protnone_before_lookup != 0:
        return True
    return asks(call, MM_CP_UFFD_RWP) and arch.pte_uffd(masks, pte)


@rule
def is_skipped_by_numa(arch, state, call, masks, pte, mapped, folio):
    """Whether a NUMA scan skips `pte`, for its own or for its folio's sake."""
    # After the lookup, so that runs are skipped by the batch: 6.17 and 6.18.
    if state.facts[0].protnone_before_lookup == 0 and arch.pte_protnone(masks, pte):
        return True
    return not mapped or not folio_can_map_prot_numa(state, call, folio)


@rule
def change_pte_range(arch, state):
    """Change the range of `state`; the number of changed entries."""
    facts = state.facts[0]
    call = call_of(facts)
    masks = arch.masks_of(facts)
    folio = no_folio()
    pages = np.int64(0)
    index = np.uint64(facts.start)
    end = np.uint64(facts.end)
    while index < end:
        nr = ONE_ENTRY
        pte = arch.ptep_get(state, index)
        if arch.pte_present(pte):
            if not is_already_changed(arch, state, call, masks, pte):
                max_nr = end - index
                pfn = arch.pte_pfn(masks, pte)
                mapped = vm_normal_page(arch, state, call, masks, pte)
                # Otherwise the batch is this one entry, whatever its folio.
                needs_folio = mapped and (
                    asks(call, ASKS_FOR_FOLIO)
                    or may_be_joined(arch, state, masks, index, pte, max_nr, CHANGE)
                )
                if needs_folio:
                    folio = page_folio(state, call, pfn, folio)
                if asks(call, MM_CP_PROT_NUMA) and is_skipped_by_numa(
                    arch, state, call, masks, pte, mapped, folio
                ):
                    if mapped:
                        nr = mprotect_folio_pte_batch(
                            arch, state, masks, index, pte, folio, max_nr, SKIP
                        )
                else:
                    if needs_folio:
                        nr = mprotect_folio_pte_batch(
                            arch, state, masks, index, pte, folio, max_nr, CHANGE
                        )
                    # Twice, so that the loops over a batch vanish where there is none.
                    if nr == ONE_ENTRY:
                        change_present_ptes(
                            arch, state, call, masks, index, ONE_ENTRY, mapped, folio, pfn
                        )
                    else:
                        change_present_ptes(arch, state, call, masks, index, nr, mapped, folio, pfn)
                    pages += np.int64(nr)
        elif arch.pte_none(pte):
            pages += change_none_pte(arch, state, call, masks, index)
        else:
            pages += change_softleaf_pte(arch, state, call, masks, index, pte)
        index += nr
    return pages
