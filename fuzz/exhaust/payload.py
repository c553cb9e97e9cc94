"""What the entries of an alphabet hold: a page, or type and offset; of each architecture alike."""

from mm.layout import PTE_MARKER_GUARD, PTE_MARKER_POISONED, PTE_MARKER_UFFD_WP
from mm.version import VERSIONS, Config

from .alphabet import ORDER_0_PFN, PINNED_PFN, SWAP_OFFSET, UNLISTED_PFN, EntryState, Kind

_MARKERS = {
    Kind.MARKER_UFFD_WP: PTE_MARKER_UFFD_WP,
    Kind.MARKER_POISON: PTE_MARKER_POISONED,
    Kind.MARKER_GUARD: PTE_MARKER_GUARD,
}


def page_of(state: EntryState, pfn: int, index: int) -> int | None:
    """The PFN that entry `index` of the range maps in `state`, None if it maps none.

    `pfn` is its page of the large folio, due or not.
    """
    return {
        Kind.FOLIO: pfn,
        Kind.PROTNONE: pfn,
        Kind.ASTRAY: pfn,
        Kind.ORDER_0: ORDER_0_PFN if state.exclusive else UNLISTED_PFN,
        Kind.PINNED: PINNED_PFN + index % 2,
        Kind.ZERO_PAGE: Config().zero_pfn,
    }.get(state.kind)


def swap_of(state: EntryState, kernel: str) -> tuple[int, int]:
    """Type and offset of an entry in `state`, which maps no page and is not empty."""
    types = VERSIONS[kernel].swap_types
    number = {
        Kind.SWAP: 0,
        Kind.MIGRATION_WRITE: types.migration_write,
        Kind.MIGRATION_READ: types.migration_read,
        Kind.MIGRATION_READ_EXCLUSIVE: types.migration_read_exclusive,
        Kind.DEVICE_WRITE: types.device_write,
        Kind.DEVICE_READ: types.device_read,
        Kind.DEVICE_EXCLUSIVE: types.device_exclusive,
        Kind.HWPOISON: types.hwpoison,
    }.get(state.kind, types.marker)
    if state.kind.value.startswith(("migration", "device")):
        return number, ORDER_0_PFN
    return number, _MARKERS.get(state.kind, SWAP_OFFSET)
