"""Batch detection: how many entries from one on are changed as if they were one."""

import numpy as np

from mm.jit import rule

from .folios import folio_test_large

# Clear: the bit is ignored when entries are compared. The other two FPB_ flags
# of the kernel are not used by mprotect. Source: mm/internal.h, v6.17.
FPB_RESPECT_SOFT_DIRTY = np.uint64(1 << 1)
FPB_RESPECT_WRITE = np.uint64(1 << 2)

ONE = np.uint64(1)


@rule
def may_be_joined(arch, state, masks, index, pte, max_nr, fpb_flags):
    """Whether the next entry could be in one batch with `pte`, if their folio allows it.

    Not in the kernel, where the folio is one load away: here its lookup is the
    costliest part of an order-0 entry (35 ns where PFNs are in no order).
    """
    if max_nr == ONE:
        return False
    if not arch.peek_is_free:
        return True
    expected = arch.clear_ignored(masks, pte, fpb_flags) + arch.pfn_step(masks, pte)
    return arch.clear_ignored(masks, arch.ptep_get(state, index + ONE), fpb_flags) == expected


@rule
def mprotect_folio_pte_batch(arch, state, masks, index, pte, folio, max_nr, fpb_flags):
    """How many entries from `index` on, at most `max_nr`, form one batch with `pte`.

    `pte` is the loaded word of entry `index`, `folio` the folio behind it.
    Source: mprotect_folio_pte_batch(), mm/mprotect.c; folio_pte_batch_flags(),
    mm/internal.h, 7.3.
    """
    if not folio_test_large(folio):
        return ONE
    # By PFN, not by the folio's size: a batch may start in the middle of a folio.
    folio_left = folio.end - arch.pte_pfn(masks, pte)
    if folio_left < max_nr:
        max_nr = folio_left
    step = arch.pfn_step(masks, pte)
    expected = arch.clear_ignored(masks, pte, fpb_flags)
    nr = arch.batch_hint(index, pte, max_nr)
    expected += nr * step
    while nr < max_nr:
        pte = arch.ptep_get(state, index + nr)
        if arch.clear_ignored(masks, pte, fpb_flags) != expected:
            break
        hint = arch.batch_hint(index + nr, pte, max_nr - nr)
        expected += hint * step
        nr += hint
    return nr
