"""change_pte_range(), one PTE at a time: the executable specification.

What a call makes of an entry is told by three functions that leave the table
alone, so that a judge can put the same questions about any word: `is_changed`,
`change_present`, `change_nonpresent`. Source: change_pte_range(), mm/mprotect.c,
Linux 6.12; the switches of `State.facts` turn it into later versions, batching
excepted.
"""

from typing import Any, NamedTuple

import numpy as np

from mm import flags, tlb
from mm.jit import rule

from . import rules, softleaf
from .pages import report_bad_map

NONE = np.uint64(0)
ONE_PAGE = np.uint64(1)


class Changed(NamedTuple):
    """What becomes of a present entry."""

    word: Any
    flush: Any  # whether a TLB may not keep the old word


class Replaced(NamedTuple):
    """What becomes of an entry that is not present."""

    word: Any
    pages: Any  # int64, 1 if the kernel counts it as changed, else 0


@rule
def is_changed(arch, state, old):
    """Whether the word `old` is a present entry that this call takes and rewrites.

    False for an entry that is not present, and for one that the call skips.
    Reports and stamps that the decision brings about go to `state`.
    """
    facts = state.facts[0]
    pte = arch.decode(facts, old)
    if not arch.pte_present(pte):
        return False
    if rules.asks_for(facts, flags.MM_CP_PROT_NUMA):
        return rules.is_changed_by_numa(arch, state, pte)
    if rules.is_rwp_in_place(arch, facts, pte):
        return False
    if facts.lookup_every_page != 0:
        report_bad_map(arch, state, pte)
    return True


@rule
def change_present(arch, state, old):
    """What the call makes of the present word `old`, for which `is_changed` holds."""
    facts = state.facts[0]
    pte = arch.decode(facts, old)
    new = arch.pte_modify(facts, pte, arch.decode(facts, facts.newprot))
    if rules.sets_uffd(facts):
        new = arch.pte_mkuffd(facts, new)
    elif rules.clears_uffd(facts):
        new = arch.pte_clear_uffd(facts, new)
    if rules.stays_access_protected(arch, facts, new):
        new = arch.pte_modify(facts, new, arch.decode(facts, arch.page_none))
    wants_write = rules.asks_for(facts, flags.MM_CP_TRY_CHANGE_WRITABLE)
    if wants_write and not arch.pte_write(new) and rules.may_become_writable(arch, state, pte, new):
        new = arch.pte_mkwrite(facts, new)
    return Changed(arch.encode(facts, new), arch.pte_needs_flush(facts, pte, new))


@rule
def change_none(arch, state, old):
    """What the call makes of the empty word `old`: a marker, if write protection must outlive it."""
    facts = state.facts[0]
    # Only for write protection: access protection of nothing needs no marker.
    if rules.asks_for(facts, flags.MM_CP_UFFD_WP) and rules.uses_uffd_wp_markers(facts):
        return Replaced(softleaf.uffd_wp_marker(arch, facts), np.int64(1))
    return Replaced(old, np.int64(0))


@rule
def change_softleaf(arch, state, old):
    """What the call makes of the swap-like word `old`. It never needs a flush."""
    facts = state.facts[0]
    swap = arch.decode_swap(facts, old)
    if softleaf.is_marker(facts, swap):
        if softleaf.is_marker_for_good(facts, swap) or not rules.clears_uffd(facts):
            return Replaced(old, np.int64(0))
        return Replaced(NONE, np.int64(1))
    swap = softleaf.change_uffd(facts, softleaf.without_write(arch, state, swap))
    new = arch.encode_swap(facts, swap)
    return Replaced(new, np.int64(new != old))


@rule
def change_nonpresent(arch, state, old):
    """What the call makes of the word `old`, which is not present: empty or swap-like."""
    facts = state.facts[0]
    if arch.pte_none(facts, arch.decode(facts, old)):
        return change_none(arch, state, old)
    return change_softleaf(arch, state, old)


@rule
def request_flush(state, index):
    """Request a flush of the page that entry `index` maps."""
    facts = state.facts[0]
    tlb.flush(state, facts.table_addr + (np.uint64(index) << facts.page_shift), ONE_PAGE)


@rule
def put_nonpresent(arch, state, index, word):
    """Write `word`, which is not present, to entry `index`."""
    # A marker that goes is cleared. No other word that is written here is zero,
    # but for a swap entry of type 0 and offset 0, which makes no difference.
    if word == NONE:
        arch.pte_clear(state, index)
    else:
        arch.set_pte(state, index, word)


@rule
def change_pte_range(arch, state):
    """Change the entries [start, end) of the table in `state`; how many were changed.

    A rewritten present entry counts even if its word stays the same.
    """
    facts = state.facts[0]
    pages = np.int64(0)
    for index in range(np.uint64(facts.start), np.uint64(facts.end)):
        old = arch.ptep_get(state, index)
        if arch.pte_present(arch.decode(facts, old)):
            if is_changed(arch, state, old):
                # What the hardware set since the load is in the taken word.
                old = arch.ptep_modify_prot_start(state, index)
                changed = change_present(arch, state, old)
                arch.ptep_modify_prot_commit(state, index, old, changed.word)
                if changed.flush:
                    request_flush(state, index)
                pages += np.int64(1)
        else:
            replaced = change_nonpresent(arch, state, old)
            if replaced.pages != 0:
                put_nonpresent(arch, state, index, replaced.word)
            pages += replaced.pages
    return pages
