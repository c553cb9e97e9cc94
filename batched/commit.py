"""Commit of a changed batch: the write upgrade, sub-batches, the flush decision."""

import numpy as np

from mm import side_effects, tlb, trace
from mm.flags import VM_SHARED, VM_SOFTDIRTY, VM_UFFD_WP, VM_WRITE
from mm.jit import rule

from .call import vma_has
from .folios import first_exclusive, folio_test_anon

EXCLUSIVE = np.uint8(1)
ONE = np.uint64(1)
WHOLE = np.uint64(0)
# Not a plain literal: numba compiles a function anew for each literal.
AS_IT_IS = np.bool_(False)


@rule
def maybe_change_pte_writable(arch, state, call, masks, pte):
    """Whether nothing but its page keeps `pte`, the new word, from becoming writable.

    Source: maybe_change_pte_writable(), mm/mprotect.c, v6.17.
    """
    if not vma_has(call, VM_WRITE):
        side_effects.warn_no_vm_write(state)
        return False
    if arch.pte_protnone(masks, pte):
        return False
    # pte_needs_soft_dirty_wp(): the write must fault to be seen.
    if not vma_has(call, VM_SOFTDIRTY) and not arch.pte_soft_dirty(masks, pte):
        return False
    # userfaultfd_pte_wp().
    return not (vma_has(call, VM_UFFD_WP) and arch.pte_uffd(masks, pte))


@rule
def prot_commit_flush_ptes(arch, state, call, masks, index, nr, idx, set_write, old, new):
    """Write `nr` entries from `idx` entries behind `index` on, and request one flush if needed.

    `old` and `new` are the words of entry `index`.
    Source: prot_commit_flush_ptes(), mm/mprotect.c, v6.17.
    """
    at = index + idx
    address = call.table_addr + (index + idx << call.page_shift)
    old_at = old + idx * arch.pfn_step(masks, old)
    new_at = new + idx * arch.pfn_step(masks, new)
    if set_write:
        new_at = arch.pte_mkwrite(masks, new_at)
    arch.modify_prot_commit_ptes(state, call, masks, at, nr, old_at, new_at)
    trace.commit(state, at, nr, 1 if set_write else 0)
    if arch.pte_needs_flush(masks, old_at, new_at):
        tlb.flush(state, address, nr)


@rule
def page_anon_exclusive_sub_batch(state, page, max_len, exclusive):
    """How many pages from `page` on, at most `max_len`, are all `exclusive` as the first is."""
    length = ONE
    while length < max_len and state.exclusive[page + length] == exclusive:
        length += ONE
    return length


@rule
def commit_anon_folio_batch(arch, state, call, masks, index, nr, first_page, old, new):
    """Commit a batch by runs of equal exclusivity, writable where pages are exclusive.

    `first_page` is the place in `State.exclusive` of the page of entry `index`.
    Source: commit_anon_folio_batch(), mm/mprotect.c, v6.17.
    """
    idx = WHOLE
    while idx < nr:
        exclusive = state.exclusive[first_page + idx]
        length = page_anon_exclusive_sub_batch(state, first_page + idx, nr - idx, exclusive)
        set_write = exclusive == EXCLUSIVE
        prot_commit_flush_ptes(arch, state, call, masks, index, length, idx, set_write, old, new)
        idx += length


@rule
def set_write_prot_commit_flush_ptes(
    arch, state, call, masks, index, nr, mapped, folio, pfn, old, new
):
    """Commit a batch and make those of its entries writable that may be.

    Source: set_write_prot_commit_flush_ptes(), mm/mprotect.c, v6.17.
    """
    upgrade = maybe_change_pte_writable(arch, state, call, masks, new)
    if vma_has(call, VM_SHARED):
        # A dirty entry has told the file system of the write already.
        set_write = upgrade and arch.pte_dirty(new)
        prot_commit_flush_ptes(arch, state, call, masks, index, nr, WHOLE, set_write, old, new)
    elif upgrade and mapped and folio_test_anon(state, folio):
        first_page = first_exclusive(state, folio, pfn)
        commit_anon_folio_batch(arch, state, call, masks, index, nr, first_page, old, new)
    else:
        prot_commit_flush_ptes(arch, state, call, masks, index, nr, WHOLE, AS_IT_IS, old, new)
