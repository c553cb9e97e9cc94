"""From an entry to its page and folio, and the NUMA filter on folios."""

from typing import NamedTuple

import numpy as np

from mm import side_effects
from mm.flags import (
    FOLIO_ACCESS_TIME,
    FOLIO_ANON,
    FOLIO_DIRTY,
    FOLIO_FILE_LRU,
    FOLIO_KSM,
    FOLIO_MAPPED_SHARED,
    FOLIO_PINNED,
    FOLIO_ZONE_DEVICE,
    NUMA_BALANCING_NORMAL,
    VM_MIXEDMAP,
    VM_PFNMAP,
    VM_SHARED,
)
from mm.jit import rule

from .call import is_cow_mapping, vma_has

NONE = np.uint64(0)
ONE = np.uint64(1)
LAST_PFN = np.uint64((1 << 64) - 1)


class Folio(NamedTuple):
    """The PFNs [start, end) that one lookup answers for.

    Either those of a folio in `State.folios` (`listed`), or the gap before a
    folio: order-0 pages of node 0 without any flag.
    """

    start: np.uint64
    end: np.uint64
    following: np.uint64  # the row of the folio behind; a listed folio is in the row before
    listed: bool


@rule
def no_folio():
    """A `Folio` that answers for no PFN: what a walk remembers at its start."""
    return Folio(NONE, NONE, NONE, False)


@rule
def record(state, folio):
    """The record of a listed folio."""
    return state.folios[folio.following - ONE]


@rule
def vm_normal_page(arch, state, call, masks, pte):
    """Whether a page stands behind `pte`; reports a bad mapping.

    Source: vm_normal_page(), mm/memory.c, 7.3; pte_devmap until 6.16.
    """
    if arch.pte_special(pte):
        if vma_has(call, VM_PFNMAP | VM_MIXEDMAP):
            return False
        if arch.pte_pfn(masks, pte) == call.zero_pfn:
            return False
        if arch.pte_devmap(masks, pte):
            return False
        side_effects.bad_map(state)
        return False
    if arch.pte_pfn(masks, pte) > call.highest_memmap_pfn:
        side_effects.bad_map(state)
        return False
    return True


@rule
def folio_at(state, row):
    """The `Folio` of row `row`."""
    start = state.folios[row].pfn
    return Folio(start, start + np.uint64(state.folios[row].nr_pages), row + ONE, True)


@rule
def search(state, nr_folios, pfn):
    """The `Folio` that answers for `pfn`, by bisection."""
    if nr_folios == NONE:
        return Folio(NONE, LAST_PFN, NONE, False)
    low = NONE
    length = nr_folios
    # Without a branch on the comparison: PFNs of a window are no pattern that a
    # branch predictor could learn.
    while length > ONE:
        half = length >> ONE
        low = low + half if state.folios[low + half].pfn <= pfn else low
        length -= half
    found = folio_at(state, low)
    if pfn < found.start:
        return Folio(NONE, found.start, NONE, False)
    if pfn < found.end:
        return found
    end = state.folios[low + ONE].pfn if low + ONE < nr_folios else LAST_PFN
    return Folio(found.end, end, low + ONE, False)


@rule
def page_folio(state, call, pfn, last):
    """The `Folio` that answers for `pfn`; `last` is the answer before.

    Tries `last` and the folio behind it first: neighbours in the table mostly
    are neighbours in memory.
    """
    if last.start <= pfn and pfn < last.end:
        return last
    if last.following < call.nr_folios:
        following = folio_at(state, last.following)
        if following.start <= pfn and pfn < following.end:
            return following
    return search(state, call.nr_folios, pfn)


@rule
def folio_test_large(folio):
    """Whether the folio has more than one page."""
    return folio.listed and folio.end - folio.start > ONE


@rule
def folio_flags(state, folio):
    """FOLIO_* of the folio."""
    return record(state, folio).folio_flags if folio.listed else NONE


@rule
def first_exclusive(state, folio, pfn):
    """Where the exclusive bit of the page `pfn` of a listed folio stands in `State.exclusive`."""
    # The page of the first PTE, not the folio's page 0: cf1b80dc31a1, v6.17.
    page = pfn - folio.start
    return np.uint64(record(state, folio).first_page) + page


@rule
def folio_can_map_prot_numa(state, call, folio):
    """Whether a NUMA scan changes PTEs of this folio; stamps its access time if so.

    Source: folio_can_map_prot_numa(), mm/mempolicy.c, v6.19; prot_numa_skip(),
    mm/mprotect.c, v6.17.
    """
    facts = state.facts[0]
    # Without NUMA balancing it is a stub, as soon as there is such a function: v6.19.
    if facts.numa_balancing == 0 and facts.pinned_in_any_vma != 0:
        return False
    flags = folio_flags(state, folio)
    nid = record(state, folio).nid if folio.listed else np.int64(0)
    if flags & (FOLIO_ZONE_DEVICE | FOLIO_KSM) != NONE:
        return False
    if is_cow_mapping(call) and flags & FOLIO_MAPPED_SHARED != NONE:
        return False
    # In CoW VMAs only, until 480acbd8ba9e, v6.19.
    if (is_cow_mapping(call) or facts.pinned_in_any_vma != 0) and flags & FOLIO_PINNED != NONE:
        return False
    if flags & FOLIO_FILE_LRU != NONE and flags & FOLIO_DIRTY != NONE:
        return False
    # vma_is_single_threaded_private().
    if not vma_has(call, VM_SHARED) and facts.mm_users == 1 and nid == facts.numa_node:
        return False
    # Without CONFIG_NUMA_BALANCING the mode is the constant 0 and nothing is stamped.
    mode = facts.numa_balancing_mode if facts.numa_balancing != 0 else NONE
    if mode & NUMA_BALANCING_NORMAL == NONE and facts.toptier_nodes >> np.uint64(nid) & ONE != NONE:
        return False
    if facts.numa_balancing != 0 and flags & FOLIO_ACCESS_TIME != NONE:
        side_effects.access_time(state, folio.start)
    return True


@rule
def folio_test_anon(state, folio):
    """Whether the folio is anonymous."""
    return folio_flags(state, folio) & FOLIO_ANON != NONE
