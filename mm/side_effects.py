"""What change_pte_range does besides entries and flushes: reports and stamps. SAME calls, no effect."""

from .jit import rule
from .state import BAD_MAP, NO_VM_WRITE, NR_STAMPS


@rule
def bad_map(state):
    """Report an impossible mapping: print_bad_pte(), print_bad_page_map() in 7.3."""
    state.counts[BAD_MAP] += 1


@rule
def warn_no_vm_write(state):
    """WARN_ON_ONCE hit of the write-upgrade rule in a VMA without VM_WRITE.

    Counts each hit. Source: can_change_pte_writable(), mm/mprotect.c.
    """
    state.counts[NO_VM_WRITE] += 1


@rule
def access_time(state, folio_pfn):
    """Stamp the access time of the folio whose page 0 is `folio_pfn`: folio_xchg_access_time()."""
    row = state.counts[NR_STAMPS]
    if row < state.stamps.shape[0]:
        state.stamps[row] = folio_pfn
    state.counts[NR_STAMPS] = row + 1
