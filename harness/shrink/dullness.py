"""How dull an entry is, and what makes one duller, on any architecture, from its `Layout`.

An empty entry is the dullest, then a plain page (`r--`, not accessed), then a
plain swap entry (type and offset 0). Each field, letter and bit in which an
entry differs from these makes it less so. What a word means to a kernel is not
asked here: an edit that breaks a case or loses its divergence is not kept.
"""

from collections.abc import Callable
from functools import cache, lru_cache
from typing import NamedTuple

from mm.layout import Layout

from ..anatomy import is_none, is_present, pfn_of
from ..case import MAX_WORD, layout_of
from ..vocabulary import vocabulary_of

# Of a kind; more than the fields of an entry can add.
KIND = 1000
PLAIN = "r--"
# Where a page goes that no folio holds: no generator puts one so low.
LOOSE_PFN = 0x800


class Edit(NamedTuple):
    """A change of a word that may make it duller; it gives a word back that it does not bear on."""

    name: str
    change: Callable[[int], int]


@lru_cache(1 << 14)
def dullness(arch: str, page_shift: int, word: int) -> int:
    """0 for an empty entry; the more, the less dull it is."""
    layout = layout_of(arch, page_shift)
    if word == 0:
        return 0
    if is_present(layout, word):
        plain = plain_page(layout, pfn_of(layout, word))
        return KIND + sum(bool((word ^ plain) & mask) for mask in _fields(layout).values())
    if is_none(layout, word):
        return 1
    kind, offset, rest = _swap_parts(layout, word)
    return 2 * KIND + 4 * offset.bit_count() + rest.bit_count() + (kind != 0)


@lru_cache(1 << 14)
def mapped_pfn(arch: str, page_shift: int, word: int) -> int | None:
    """The PFN of a present entry, None for any other. Remembered: each candidate asks for all of its."""
    layout = layout_of(arch, page_shift)
    return pfn_of(layout, word) if is_present(layout, word) else None


def with_pfn(layout: Layout, word: int, pfn: int) -> int:
    """Present `word`, mapping page `pfn` instead; bits that the field cannot hold are lost."""
    mask = int(layout.pfn_mask)
    word = word & ~mask | pfn << layout.page_shift & mask
    # Stored inverted where `pfn_of` says so.
    return word ^ mask if pfn_of(layout, word) != pfn & mask >> layout.page_shift else word


def plain_page(layout: Layout, pfn: int) -> int:
    """The dullest entry that maps page `pfn`."""
    return with_pfn(layout, vocabulary_of(layout).entries.words[PLAIN], pfn)


@cache
def page_edits(arch: str, page_shift: int) -> tuple[Edit, ...]:
    """What makes a present entry duller, its page kept: all at once, its letters, each field."""
    layout = layout_of(arch, page_shift)
    names = vocabulary_of(layout)
    masks = {"plain": MAX_WORD & ~int(layout.pfn_mask), "letters": names.entries.mask}
    masks |= _fields(layout)
    return tuple(Edit(name, _settle(layout, mask)) for name, mask in masks.items())


@cache
def swap_edits(arch: str, page_shift: int) -> tuple[Edit, ...]:
    """What makes a swap-like entry duller: another kind of entry, then fewer of its bits."""
    layout = layout_of(arch, page_shift)
    swap = layout.swap
    page = plain_page(layout, LOOSE_PFN)
    edits = [
        Edit("a page", _of_swap(layout, lambda word: page)),
        Edit("swap", _of_parts(layout, lambda kind, offset, rest: (0, 0, 0))),
        Edit("offset 0", _of_parts(layout, lambda kind, offset, rest: (kind, 0, rest))),
        Edit(
            "no page",
            _of_parts(layout, lambda k, o, r: (k, o >> swap.pfn_bits << swap.pfn_bits, r)),
        ),
        Edit("type 0", _of_parts(layout, lambda kind, offset, rest: (0, offset, rest))),
        Edit("no flag", _of_parts(layout, lambda kind, offset, rest: (kind, offset, 0))),
        Edit("lowest bit", _of_parts(layout, lambda k, o, r: (k, o, r & (r - 1) if r else 0))),
        Edit("offset 1", _of_parts(layout, lambda kind, offset, rest: (kind, 1, rest))),
        Edit("offset bit", _of_parts(layout, lambda k, o, r: (k, o & (o - 1) if o else 0, r))),
    ]
    return tuple(edits)


def _fields(layout: Layout) -> dict[str, int]:
    return vocabulary_of(layout).fields


def _settle(layout: Layout, mask: int) -> Callable[[int], int]:
    """An edit that makes the bits of `mask` those of a plain page."""
    plain = plain_page(layout, 0)
    mask &= ~int(layout.pfn_mask)

    def change(word: int) -> int:
        if not is_present(layout, word):
            return word
        settled = word & ~mask | plain & mask
        if not is_present(layout, settled):
            return settled
        return with_pfn(layout, settled, pfn_of(layout, word))

    return change


def _of_swap(layout: Layout, change: Callable[[int], int]) -> Callable[[int], int]:
    def only_swap(word: int) -> int:
        swap_like = not is_present(layout, word) and not is_none(layout, word)
        return change(word) if swap_like else word

    return only_swap


def _of_parts(
    layout: Layout, change: Callable[[int, int, int], tuple[int, int, int]]
) -> Callable[[int], int]:
    return _of_swap(layout, lambda word: _swap_word(layout, *change(*_swap_parts(layout, word))))


def _swap_parts(layout: Layout, word: int) -> tuple[int, int, int]:
    """Type, offset, and the other bits that not every swap-like entry has."""
    swap = layout.swap
    type_mask, offset_mask = _swap_masks(layout)
    kind = (word & type_mask) >> swap.type_shift
    offset = (word & offset_mask) >> swap.offset_shift
    if swap.offset_inverted:
        offset ^= offset_mask >> swap.offset_shift
    return kind, offset, word & ~(type_mask | offset_mask | int(swap.always_set))


def _swap_word(layout: Layout, kind: int, offset: int, rest: int) -> int:
    swap = layout.swap
    _, offset_mask = _swap_masks(layout)
    stored = offset << swap.offset_shift
    if swap.offset_inverted:
        stored ^= offset_mask
    return kind << swap.type_shift | stored | rest | int(swap.always_set)


def _swap_masks(layout: Layout) -> tuple[int, int]:
    swap = layout.swap
    type_mask = ((1 << swap.type_bits) - 1) << swap.type_shift
    offset_mask = ((1 << swap.offset_bits) - 1) << swap.offset_shift
    return type_mask, offset_mask
