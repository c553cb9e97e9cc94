"""The log of flush requests and implicit invalidations. SIMPLIFIED mmu_gather.

Keeps every request in order instead of merging them into one range, so that a
flush of the wrong page is visible. Never sends an IPI. `hull` and
`flushes_everything` tell what a real mmu_gather would make of the log.
"""

import numpy as np

from .jit import rule
from .state import FLUSH, FOLD, LIVE, NMMU, NR_FLUSHES, UNFOLD
from .table import count_live

# arch/x86/mm/tlb.c, tlb_single_page_flush_ceiling: above it x86 flushes all.
X86_FLUSH_CEILING = 33


@rule
def _log(state, kind, address, pages):
    row = np.uint64(state.counts[NR_FLUSHES])
    if row < np.uint64(state.flushes.shape[0]):
        state.flushes[row, 0] = kind
        state.flushes[row, 1] = address
        state.flushes[row, 2] = pages
    # Rows beyond the end are counted, so that an overflow can be seen.
    state.counts[NR_FLUSHES] += 1


@rule
def flush(state, address, pages):
    """Request a flush of `pages` (uint64) pages from `address`: tlb_flush_pte_range()."""
    _log(state, FLUSH, address, pages)


@rule
def unfold(state, address, pages):
    """arm64: a contpte block was unfolded, with a TLBI at once: contpte_convert().

    Its entries must be empty then: break before make.
    """
    _log(state, UNFOLD, address, pages)
    state.counts[LIVE] += count_live(state, address, pages)


@rule
def fold(state, address, pages):
    """arm64: a contpte block was folded, with a TLBI at once: contpte_convert().

    Its entries must be empty then: break before make.
    """
    _log(state, FOLD, address, pages)
    state.counts[LIVE] += count_live(state, address, pages)


@rule
def nmmu(state, address, pages):
    """powerpc: a page was flushed at once: radix__flush_tlb_page().

    Its entry is still taken then: radix__ptep_modify_prot_commit().
    """
    _log(state, NMMU, address, pages)
    state.counts[LIVE] += count_live(state, address, pages)


def hull(flushes: list[tuple[int, int]], page_shift: int) -> tuple[int, int] | None:
    """The one range [start, end) that an mmu_gather makes of requests, None without any.

    `flushes`: (address, pages) pairs. Source: __tlb_adjust_range(),
    include/asm-generic/tlb.h.
    """
    if not flushes:
        return None
    start = min(address for address, _ in flushes)
    end = max(address + (pages << page_shift) for address, pages in flushes)
    return start, end


def flushes_everything(start: int, end: int, page_shift: int) -> bool:
    """Whether x86 would flush the whole TLB for [start, end): over 33 pages.

    Source: get_flush_tlb_info(), arch/x86/mm/tlb.c.
    """
    return (end - start) >> page_shift > X86_FLUSH_CEILING
