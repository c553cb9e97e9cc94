"""Rules of a swap-like entry: the same on every architecture, by the `SwapLayout` of its entries."""

from collections.abc import Iterator

from mm.layout import PTE_MARKER_GUARD, PTE_MARKER_POISONED, PTE_MARKER_UFFD_WP, SwapLayout
from mm.version import VERSIONS

from ..case import MAX_WORD, Case
from .mapped import UFFD

_MARKERS = {PTE_MARKER_UFFD_WP, PTE_MARKER_POISONED, PTE_MARKER_GUARD}


def _meaningful(swap: SwapLayout) -> int:
    """The bits that mean something in a swap-like entry."""
    type_mask = ((1 << swap.type_bits) - 1) << swap.type_shift
    offset_mask = ((1 << swap.offset_bits) - 1) << swap.offset_shift
    return (
        type_mask
        | offset_mask
        | int(swap.soft_dirty | swap.uffd | swap.exclusive | swap.always_set)
    )


def swap_rules(case: Case, word: int) -> Iterator[str]:
    """What an entry that is neither none nor present must be."""
    types, swap = VERSIONS[case.kernel].swap_types, case.layout.swap
    kind = word >> swap.type_shift & (1 << swap.type_bits) - 1
    stored = ~word if swap.offset_inverted else word
    offset = stored >> swap.offset_shift & (1 << swap.offset_bits) - 1
    if word & ~_meaningful(swap) & MAX_WORD:
        yield "swap-entry-has-no-other-bit"
    known = set(types) - {-1}
    if word & int(swap.uffd) and kind < min(known) and not case.vma.flags & UFFD:
        yield "uffd-means-registered"
    if word & int(swap.soft_dirty) and not case.config.soft_dirty:
        yield "soft-dirty-is-configured"
    # Migration entries keep young and dirty in the two bits above the PFN.
    if types.migration_read <= kind <= types.device_read and offset >> (swap.dirty_bit + 1):
        yield "swap-pfn-fits"
    if kind == types.marker and offset not in _MARKERS:
        yield "marker-is-known"
    if kind >= min(known) and kind not in known:
        yield "swap-type-is-known"
