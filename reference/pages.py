"""The page behind a PTE, and what its folio is: vm_normal_page(), mm/memory.c."""

from typing import Any, NamedTuple

import numpy as np

from mm import side_effects
from mm.flags import FOLIO_ANON, VM_MIXEDMAP, VM_PFNMAP
from mm.jit import rule

NONE = np.uint64(0)
ONE = np.uint64(1)


class Page(NamedTuple):
    """A page and the facts about its folio; `found` false: there is none, the rest is void."""

    found: Any
    folio_flags: Any  # uint64, FOLIO_*
    nid: Any  # int64
    folio_pfn: Any  # uint64, of the folio's page 0
    nr_pages: Any  # int64, of the folio
    anon_exclusive: Any  # PageAnonExclusive of this very page


@rule
def has_folio_flag(page, flag):
    """Whether the page's folio has `flag`, one of FOLIO_*."""
    return (page.folio_flags & flag) != NONE


@rule
def page_at(state, pfn):
    """The page with number `pfn`, which must have a struct page.

    A page in none of the folios that the case lists is alone in its folio, on
    node 0, and nothing else is true of it.
    """
    # Bisection: if any folio holds the page, it is in one of the `rows` rows from `first` on.
    first = NONE
    rows = np.uint64(state.facts[0].nr_folios)
    while rows > ONE:
        half = rows >> ONE
        if state.folios[first + half].pfn <= pfn:
            first = first + half
        rows = rows - half
    if rows != NONE:
        folio = state.folios[first]
        page = pfn - folio.pfn
        if folio.pfn <= pfn and page < np.uint64(folio.nr_pages):
            exclusive = state.exclusive[np.uint64(folio.first_page) + page] != 0
            return Page(True, folio.folio_flags, folio.nid, folio.pfn, folio.nr_pages, exclusive)
    return Page(True, NONE, np.int64(0), pfn, np.int64(1), False)


@rule
def is_mapped_without_page(arch, facts, pte):
    """Whether `pte` rightly says that it has no page that the core mm may touch."""
    if not arch.pte_special(pte):
        return False
    if (facts.vma_flags & (VM_PFNMAP | VM_MIXEDMAP)) != NONE:
        return True
    if arch.pte_pfn(pte) == facts.zero_pfn:
        return True
    return arch.pte_devmap(facts, pte)


@rule
def is_bad_map(arch, facts, pte):
    """Whether `pte` is an impossible mapping, which the kernel reports.

    Special in an ordinary VMA, or beyond the memory map. A zero page without
    the special bit is a page like any other.
    """
    if is_mapped_without_page(arch, facts, pte):
        return False
    return arch.pte_special(pte) or arch.pte_pfn(pte) > facts.highest_memmap_pfn


@rule
def report_bad_map(arch, state, pte):
    """Report `pte` if it is an impossible mapping."""
    if is_bad_map(arch, state.facts[0], pte):
        side_effects.bad_map(state)


@rule
def page_of(arch, state, pte):
    """The page behind `pte`, if it has one; what is wrong with `pte` is not reported."""
    facts = state.facts[0]
    if is_mapped_without_page(arch, facts, pte) or is_bad_map(arch, facts, pte):
        return Page(False, NONE, np.int64(0), NONE, np.int64(0), False)
    return page_at(state, arch.pte_pfn(pte))


@rule
def vm_normal_page(arch, state, pte):
    """The page behind `pte`, if it has one; an impossible mapping is reported."""
    report_bad_map(arch, state, pte)
    return page_of(arch, state, pte)


@rule
def is_anon_exclusive(page):
    """Whether the page is anonymous and this mm is its only user."""
    # The exclusive bit means other things on pages that are not anonymous.
    return page.found and has_folio_flag(page, FOLIO_ANON) and page.anon_exclusive
