"""x86_64: the words of the alphabet, and its compiled loop."""

from harness.relation import reference_rules
from harness.words.x86_64 import WORDS
from mm import x86_64 as x86
from mm.jit import entry
from mm.layout import PTE_MARKER_GUARD, PTE_MARKER_POISONED, PTE_MARKER_UFFD_WP
from mm.version import VERSIONS, Config

from .alphabet import (
    ORDER_0_PFN,
    PINNED_PFN,
    PROTNONE_ASKS,
    SWAP_OFFSET,
    UNLISTED_PFN,
    Alphabet,
    Call,
    EntryState,
    Kind,
    Right,
    access_index,
)
from .loop import run_cases, signature

RULES = reference_rules("x86_64")

# A readable entry that cannot be executed, old and clean: PAGE_READONLY without its A.
_READABLE = int(x86.PAGE_PRESENT | x86.PAGE_USER | x86.PAGE_NX)
_OFFSET_MASK = (1 << x86.SWP_OFFSET_BITS) - 1
_MARKERS = {
    Kind.MARKER_UFFD_WP: PTE_MARKER_UFFD_WP,
    Kind.MARKER_POISON: PTE_MARKER_POISONED,
    Kind.MARKER_GUARD: PTE_MARKER_GUARD,
}


@entry(signature)
def loop(
    reference,
    target,
    workspace,
    table,
    exclusive,
    sane,
    weights,
    digits,
    first_page,
    weight,
    first,
    last,
    base,
    red,
    batching,
    verdicts,
    counts,
    sums,
):
    """As `run_cases`, for x86_64."""
    return run_cases(
        WORDS,
        RULES,
        reference,
        target,
        workspace,
        table,
        exclusive,
        sane,
        weights,
        digits,
        first_page,
        weight,
        first,
        last,
        base,
        red,
        batching,
        verdicts,
        counts,
        sums,
    )


def word(state: EntryState, pfn: int, index: int, kernel: str) -> int:
    """The entry in `state`, which is number `index` of the range; `pfn` is its page of the folio."""
    if state.kind is Kind.NONE:
        return 0
    if state.kind is Kind.PROTNONE:
        field = ~(pfn << int(x86.PFN_SHIFT)) & int(x86.PTE_PFN_MASK)
        return _with_bits(int(x86.PAGE_GLOBAL) | field, state)
    own = {
        Kind.FOLIO: pfn,
        Kind.ASTRAY: pfn,
        Kind.ORDER_0: ORDER_0_PFN if state.exclusive else UNLISTED_PFN,
        Kind.PINNED: PINNED_PFN + index % 2,
        Kind.ZERO_PAGE: Config().zero_pfn,
    }.get(state.kind)
    if own is None:
        return _swap_word(state, kernel)
    special = int(x86.PAGE_SPECIAL) if state.kind is Kind.ZERO_PAGE else 0
    return _with_bits(_READABLE | special | own << int(x86.PFN_SHIFT), state)


def _with_bits(bits: int, state: EntryState) -> int:
    write = state.right is Right.WRITE
    # Dirtiness of what is read-only lives in the software bit: pte_mksaveddirty().
    dirty = x86.PAGE_DIRTY if write else x86.PAGE_SAVED_DIRTY
    for on, bit in (
        (write, x86.PAGE_RW),
        (state.right is Right.UFFD, x86.PAGE_UFFD),
        (state.dirty, dirty),
        (state.accessed, x86.PAGE_ACCESSED),
        (state.soft_dirty, x86.PAGE_SOFT_DIRTY),
    ):
        bits |= int(bit) if on else 0
    return bits


def _swap_word(state: EntryState, kernel: str) -> int:
    types = VERSIONS[kernel].swap_types
    marker = _MARKERS.get(state.kind)
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
    offset = SWAP_OFFSET if marker is None else marker
    if state.kind.value.startswith(("migration", "device")):
        offset = ORDER_0_PFN
    bits = number << int(x86.SWP_TYPE_SHIFT)
    bits |= (~offset & _OFFSET_MASK) << int(x86.SWP_OFFSET_SHIFT)
    bits |= int(x86.SWP_SOFT_DIRTY) if state.soft_dirty else 0
    bits |= int(x86.SWP_UFFD) if state.right is Right.UFFD else 0
    return bits | (int(x86.SWP_EXCLUSIVE) if state.exclusive else 0)


def newprot(call: Call) -> int:
    """The protection that the caller hands over."""
    if call.ask in PROTNONE_ASKS:
        return int(x86.PAGE_NONE)
    return int(x86.PROTECTION_MAP[access_index(call)])


ALPHABET = Alphabet(arch="x86_64", word=word, newprot=newprot, loop=loop)
