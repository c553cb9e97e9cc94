"""The rules of mprotect that no architecture changes, one function per question.

Sources: mm/mprotect.c (change_pte_range, can_change_pte_writable,
prot_numa_skip), include/linux/userfaultfd_k.h, and mm/mempolicy.c
(folio_can_map_prot_numa, 7.3).
"""

import numpy as np

from mm import flags, side_effects
from mm.flags import NUMA_BALANCING_NORMAL
from mm.jit import rule

from .pages import has_folio_flag, is_anon_exclusive, page_of, vm_normal_page

NONE = np.uint64(0)
ONE = np.uint64(1)


@rule
def asks_for(facts, cp_flag):
    """Whether the call has `cp_flag`, one of MM_CP_*."""
    return (facts.cp_flags & cp_flag) != NONE


@rule
def has_vm_flag(facts, vm_flag):
    """Whether the VMA has `vm_flag`, one of VM_*."""
    return (facts.vma_flags & vm_flag) != NONE


@rule
def sets_uffd(facts):
    """Whether the call marks entries for userfaultfd, for write or (7.3) any access."""
    if asks_for(facts, flags.MM_CP_UFFD_WP):
        return True
    return facts.uffd_rwp != 0 and asks_for(facts, flags.MM_CP_UFFD_RWP)


@rule
def clears_uffd(facts):
    """Whether the call takes the userfaultfd mark off entries."""
    if asks_for(facts, flags.MM_CP_UFFD_WP_RESOLVE):
        return True
    return facts.uffd_rwp != 0 and asks_for(facts, flags.MM_CP_UFFD_RWP_RESOLVE)


@rule
def uses_uffd_wp_markers(facts):
    """Whether write protection of an empty entry needs a marker: userfaultfd_wp_use_markers()."""
    if not has_vm_flag(facts, flags.VM_UFFD_WP):
        return False
    return facts.vma_anon == 0 or facts.uffd_wp_unpopulated != 0


@rule
def is_cow_mapping(facts):
    """Whether a write to the VMA may have to copy the page."""
    return has_vm_flag(facts, flags.VM_MAYWRITE) and not has_vm_flag(facts, flags.VM_SHARED)


@rule
def is_pinned_out_of_reach(facts, page):
    """Whether the page is pinned for DMA where the NUMA scan respects it."""
    if not has_folio_flag(page, flags.FOLIO_PINNED):
        return False
    # 6.19, "always skip DMA pinned folio in prot_numa": until then in CoW VMAs only.
    return facts.pinned_in_any_vma != 0 or is_cow_mapping(facts)


@rule
def is_on_the_only_node(facts, page):
    """Whether the page is where its only thread runs, so that a hint could tell nothing."""
    if has_vm_flag(facts, flags.VM_SHARED):
        return False
    return facts.mm_users == 1 and page.nid == facts.numa_node


@rule
def is_toptier(facts, page):
    """Whether the page is on a node of the top memory tier: node_is_toptier()."""
    return (facts.toptier_nodes >> np.uint64(page.nid) & ONE) != NONE


@rule
def numa_balancing_normal(facts):
    """Whether NUMA balancing moves pages between nodes of one tier.

    Without CONFIG_NUMA_BALANCING the mode is the constant 0 (linux/sched/sysctl.h).
    """
    return facts.numa_balancing != 0 and (facts.numa_balancing_mode & NUMA_BALANCING_NORMAL) != NONE


@rule
def may_map_prot_numa(facts, page):
    """Whether the NUMA scan may make the page inaccessible: folio_can_map_prot_numa().

    Without CONFIG_NUMA_BALANCING that function is a stub that says no. Before
    6.19 (`pinned_in_any_vma` came with it) the tests stood in change_pte_range()
    itself, without a stub.
    """
    if facts.numa_balancing == 0 and facts.pinned_in_any_vma != 0:
        return False
    if not page.found:
        return False
    if has_folio_flag(page, flags.FOLIO_ZONE_DEVICE) or has_folio_flag(page, flags.FOLIO_KSM):
        return False
    if is_cow_mapping(facts) and has_folio_flag(page, flags.FOLIO_MAPPED_SHARED):
        return False
    if is_pinned_out_of_reach(facts, page):
        return False
    # Writeback keeps the page from being moved in most file systems.
    if has_folio_flag(page, flags.FOLIO_FILE_LRU) and has_folio_flag(page, flags.FOLIO_DIRTY):
        return False
    if is_on_the_only_node(facts, page):
        return False
    return numa_balancing_normal(facts) or not is_toptier(facts, page)


@rule
def stamp_access_time(state, page):
    """Stamp the folio's access time if memory tiering wants it: folio_use_access_time()."""
    # Constant false without CONFIG_NUMA_BALANCING: include/linux/mm.h.
    if state.facts[0].numa_balancing != 0 and has_folio_flag(page, flags.FOLIO_ACCESS_TIME):
        side_effects.access_time(state, page.folio_pfn)


@rule
def is_changed_by_numa(arch, state, pte):
    """Whether the NUMA scan makes the present `pte` inaccessible."""
    facts = state.facts[0]
    if facts.protnone_before_lookup != 0 and arch.pte_protnone(facts, pte):
        return False
    page = vm_normal_page(arch, state, pte)
    # 6.17 and 6.18 look the page up first; what shows is a bad-map report.
    if arch.pte_protnone(facts, pte):
        return False
    if not may_map_prot_numa(facts, page):
        return False
    stamp_access_time(state, page)
    return True


@rule
def is_rwp_in_place(arch, facts, pte):
    """Whether the call asks for access protection that `pte` already has (7.3)."""
    if facts.uffd_rwp == 0 or not asks_for(facts, flags.MM_CP_UFFD_RWP):
        return False
    return arch.pte_protnone(facts, pte) and arch.pte_uffd(facts, pte)


@rule
def stays_access_protected(arch, facts, pte):
    """Whether `pte` must stay inaccessible, whatever protection the call brings (7.3)."""
    if facts.uffd_rwp == 0 or not has_vm_flag(facts, flags.VM_UFFD_RWP):
        return False
    return arch.pte_uffd(facts, pte)


@rule
def needs_soft_dirty_fault(arch, facts, pte):
    """Whether a write must fault to set the soft-dirty bit: pte_needs_soft_dirty_wp()."""
    if facts.soft_dirty == 0:
        return False
    # VM_SOFTDIRTY set means that the VMA is not tracked.
    if has_vm_flag(facts, flags.VM_SOFTDIRTY):
        return False
    return not arch.pte_soft_dirty(facts, pte)


@rule
def needs_uffd_fault(arch, facts, pte):
    """Whether a write must fault for userfaultfd: userfaultfd_pte_wp()."""
    return has_vm_flag(facts, flags.VM_UFFD_WP) and arch.pte_uffd(facts, pte)


@rule
def may_become_writable(arch, state, old, new):
    """Whether the read-only `new` may be made writable without a fault.

    `old` is the entry before the change. Source: can_change_pte_writable();
    since 6.17 maybe_, can_change_private_ and can_change_shared_pte_writable().
    """
    facts = state.facts[0]
    if not has_vm_flag(facts, flags.VM_WRITE):
        side_effects.warn_no_vm_write(state)
        return False
    # Do not touch entries that are not even readable.
    if arch.pte_protnone(facts, new):
        return False
    if needs_soft_dirty_fault(arch, facts, new):
        return False
    if needs_uffd_fault(arch, facts, new):
        return False
    if has_vm_flag(facts, flags.VM_SHARED):
        # A clean page must fault, so that the file system hears of the write.
        return arch.pte_dirty(new)
    if facts.lookup_every_page != 0:
        # The page was looked up, and reported on, before the entry was changed.
        return is_anon_exclusive(page_of(arch, state, old))
    return is_anon_exclusive(vm_normal_page(arch, state, new))
