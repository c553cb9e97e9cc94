"""Entries of a random case: each function writes one run into the window.

Accessed and dirty follow a pattern along a run; what a batch must respect is
the same along the run but for one deviation.
"""

from typing import Any, NamedTuple

import numpy as np

from mm.jit import rule
from mm.layout import PTE_MARKER_GUARD, PTE_MARKER_POISONED, PTE_MARKER_UFFD_WP

from ..choices import bits, draw, mix, parts, scaled
from ..words.table import (
    PROTNONE,
    SOFT_DIRTY,
    SPECIAL,
    SWAP_EXCLUSIVE,
    SWAP_SOFT_DIRTY,
    SWAP_UFFD,
    UFFD,
    WRITE,
)
from .kinds import (
    DEVICE_EXCLUSIVE_WRITE,
    DEVICE_READ,
    DEVICE_WRITE,
    HWPOISON,
    KSM,
    MARKER_GUARD,
    MARKER_POISON,
    MARKER_UFFD_WP,
    MIGRATION_READ,
    MIGRATION_READ_EXCLUSIVE,
    MIGRATION_WRITE,
    SWAP,
    UNLISTED,
    ZERO,
)
from .patterns import BEFORE, BUT, FROM, NO, ONLY, RANDOM, TURNS, YES, mask, pattern

NONE = np.uint64(0)
ONE = np.uint64(1)

# Patterns out of 16.
_ACCESSED_OR_DIRTY = np.array(
    [NO] * 4 + [YES] * 5 + [ONLY] * 2 + [BUT, FROM, BEFORE] + [RANDOM] * 2, np.int64
)
_DEVIATING = np.array([NO] * 9 + [ONLY] * 2 + [BUT, FROM, BEFORE, TURNS, RANDOM], np.int64)
# What a deviation flips, out of 8.
_DEVIATIONS = np.array(
    [SOFT_DIRTY, SOFT_DIRTY, SOFT_DIRTY, WRITE, WRITE, UFFD, UFFD, PROTNONE], np.uint64
)

# Offsets in the swap file: as wide as this many bits, out of 8.
_SWAP_OFFSET_BITS = np.array([4, 10, 10, 20, 20, 30, 34, 49], np.int64)

_MARKER_PAYLOAD = np.array([PTE_MARKER_UFFD_WP, PTE_MARKER_POISONED, PTE_MARKER_GUARD], np.uint64)

# The shape of a run without folio; its kind and length are `layout`'s to choose.
_, _ABOVE, _NEAR, _, _DISTANCE, _CACHE = parts(11, 1, 2, 17, 16, 17)
# Details of a run that maps folios.
DETAIL_CHOICE = parts(4, 4, 3, 1, 1, 4, 3, 3, 4, 9, 9, 9)
(
    _ACCESSED_KIND,
    _DIRTY_KIND,
    _SOFT_DIRTY,
    _WRITE,
    _UFFD,
    _PROTNONE,
    _DEVIATION,
    _NOT_ARMED,
    _DEVIATING_KIND,
    _ACCESSED_PLACE,
    _DIRTY_PLACE,
    _DEVIATING_PLACE,
) = DETAIL_CHOICE
# Accessed and dirty, two bits an entry, of a run without folio.
_EACH_SHIFT = np.uint64(20)
_EACH_BITS = np.uint64(2)
_ONLY_ACCESSED = np.uint64(0x5555_5555_5555_5555)
# Details of swap-like entries.
_SWAP_BITS, _EXCLUSIVE_BIT, _TYPE, _OFFSET_WIDTH, _POISONED = parts(2, 1, 5, 3, 16)
_, _YOUNG_BIT, _DIRTY_BIT = parts(2, 1, 1)


class _Words(NamedTuple):
    """The entries of a run, clean, old and without PFN: a word, and what to flip in it."""

    word: Any
    deviation: Any  # where the run deviates
    shared: Any  # where the page is not exclusive
    shared_deviation: Any  # besides, where both


@rule
def _detail_state(detail, allowed):
    """The properties that are the same along a run."""
    state = NONE
    if bits(detail, _SOFT_DIRTY) >= 2:
        state |= SOFT_DIRTY
    if bits(detail, _WRITE):
        state |= WRITE
    if bits(detail, _UFFD):
        state |= UFFD
    if bits(detail, _PROTNONE) == 15:
        state |= PROTNONE
    return state & allowed


@rule
def _legal(state, armed_none):
    """`state` without combinations that no kernel makes."""
    if state & UFFD and armed_none:
        state |= PROTNONE
    # pte_mkuffd_wp() and PAGE_NONE both take the write bit away.
    return state & ~WRITE if state & (UFFD | PROTNONE) else state


@rule
def write_present(arch, choices, state, scene, at, length, row, page, step, kind):
    """Write `length` entries that map pages `page`, `page` + `step`, ... of a block."""
    detail = draw(choices)
    noise = mix(detail)
    folio = state.folios[row]
    shift = state.facts[0].page_shift
    field = (folio.pfn + np.uint64(page)) << shift
    exclusive_at = np.int64(folio.first_page) + page
    advance = np.uint64(step) << shift
    allowed = scene.allowed
    accessed_kind = _ACCESSED_OR_DIRTY[bits(detail, _ACCESSED_KIND)]
    dirty_kind = _ACCESSED_OR_DIRTY[bits(detail, _DIRTY_KIND)]
    deviating_kind = _DEVIATING[bits(detail, _DEVIATING_KIND)]
    if kind == KSM:
        # ksm write-protects and cleans before it merges: write_protect_page().
        allowed = allowed & ~WRITE
        dirty_kind = np.int64(NO)
    common = _detail_state(detail, allowed)
    deviating_state = common ^ (_DEVIATIONS[bits(detail, _DEVIATION)] & allowed)
    # mprotect() of a VM_UFFD_RWP VMA can leave the uffd bit without PAGE_NONE.
    armed_none = scene.armed_none == 1 and bits(detail, _NOT_ARMED) < 7
    accessed_place = scaled(detail, _ACCESSED_PLACE, length)
    dirty_place = scaled(detail, _DIRTY_PLACE, length)
    deviating_place = scaled(detail, _DEVIATING_PLACE, length)

    word = arch.present(scene.prot, _legal(common, armed_none))
    deviation = word ^ arch.present(scene.prot, _legal(deviating_state, armed_none))
    lesser = arch.present(scene.prot, _legal(common & ~WRITE, armed_none))
    lesser_deviation = lesser ^ arch.present(
        scene.prot, _legal(deviating_state & ~WRITE, armed_none)
    )
    words = _Words(word, deviation, word ^ lesser, deviation ^ lesser_deviation)
    needs_exclusive = scene.private == 1 and (common | deviating_state) & WRITE != NONE
    for first in range(0, length, 64):
        last = min(first + 64, length)
        accessed = pattern(accessed_kind, accessed_place, noise, first)
        dirty = pattern(dirty_kind, dirty_place, ~noise, first)
        deviating = pattern(deviating_kind, deviating_place, noise >> ONE, first)
        form = mix(noise ^ np.uint64(first))
        shared = NONE
        if needs_exclusive:
            for i in range(first, last):
                bit = np.uint64(state.exclusive[np.uint64(exclusive_at + i * step)]) ^ ONE
                shared |= bit << np.uint64(i - first)
        # Nothing goes from one turn to the next: the compiler makes vectors of it.
        begin = at + first
        for i in range(last - first):
            bit = np.uint64(i)
            entry = _entry(
                arch,
                words,
                accessed >> bit,
                dirty >> bit,
                form >> bit,
                deviating >> bit,
                shared >> bit,
            )
            state.ptes[np.uint64(begin + i)] = arch.place(entry, field + bit * advance)
        field += advance << np.uint64(6)


@rule
def _entry(arch, words, accessed, dirty, form, deviating, shared):
    """The entry of bit 0 of the patterns, without its PFN; no branch, as nothing foresees it."""
    deviates = mask(deviating)
    word = words.word ^ (deviates & words.deviation)
    word ^= mask(shared) & (words.shared ^ (deviates & words.shared_deviation))
    flips = (mask(dirty) & arch.dirty_flip(word, form)) | (
        mask(accessed) & arch.accessed_flip(word)
    )
    return word ^ flips


@rule
def write_bare(arch, choices, state, scene, at, length, shape, kind):
    """Write `length` entries without a listed folio: zero page, special, unlisted."""
    facts = state.facts[0]
    detail = draw(choices)
    prot = scene.prot
    allowed = scene.allowed if scene.private == 0 else scene.allowed & ~WRITE
    common = SPECIAL
    advance = ONE
    each = detail >> _EACH_SHIFT
    if kind == ZERO:
        pfn = facts.zero_pfn
        advance = NONE
        allowed &= ~WRITE
        each &= _ONLY_ACCESSED
    elif kind == UNLISTED:
        # Small pages up to the very last one of the memory map.
        pfn = facts.highest_memmap_pfn - np.uint64(length - 1)
        if bits(shape, _NEAR) < 3:
            pfn -= np.uint64(bits(shape, _DISTANCE) >> 4)
        common = NONE
    else:
        prot = arch.cached(prot, shape >> _CACHE.shift)
        # Device memory may lie above the memory map.
        pfn = np.uint64(bits(shape, _DISTANCE)) + ONE
        if bits(shape, _ABOVE):
            pfn += facts.highest_memmap_pfn
    common |= _detail_state(detail, allowed)
    word = arch.present(prot, _legal(common, scene.armed_none == 1))
    for i in range(length):
        accessed = mask(each) & arch.accessed_flip(word)
        dirty = mask(each >> ONE) & arch.dirty_flip(word, each)
        state.ptes[at + i] = arch.place(word ^ (accessed | dirty), pfn << facts.page_shift)
        each >>= _EACH_BITS
        pfn += advance


@rule
def write_hole(state, at, length):
    """Write `length` none entries."""
    for i in range(length):
        state.ptes[at + i] = NONE


@rule
def _swap_state(detail, scene):
    """Soft-dirty and uffd bits of a swap-like entry that its VMA can have."""
    possible = NONE
    if scene.allowed & SOFT_DIRTY:
        possible |= SWAP_SOFT_DIRTY
    if scene.allowed & UFFD:
        possible |= SWAP_UFFD
    return np.uint64(bits(detail, _SWAP_BITS)) & possible


@rule
def write_swap(arch, choices, state, scene, at, length, kind):
    """Write `length` swap, hwpoison or marker entries."""
    facts = state.facts[0]
    detail = draw(choices)
    swap_state = NONE
    offset = NONE
    advance = ONE
    type_ = np.int64(facts.swp_marker)
    if kind == SWAP:
        type_ = scaled(detail, _TYPE, np.int64(facts.swp_hwpoison))
        width = np.uint64(
            min(_SWAP_OFFSET_BITS[bits(detail, _OFFSET_WIDTH)], arch.swap_width(facts))
        )
        offset = ONE + (mix(detail) & ((ONE << width) - ONE))
        swap_state = _swap_state(detail, scene)
        if bits(detail, _EXCLUSIVE_BIT):
            swap_state |= SWAP_EXCLUSIVE
    elif kind == HWPOISON:
        type_ = np.int64(facts.swp_hwpoison)
        offset = scene.first_pfn + np.uint64(bits(detail, _POISONED))
    else:
        marker = kind - MARKER_UFFD_WP
        if kind == MARKER_GUARD and facts.guard_marker == 0:
            marker = np.int64(MARKER_POISON - MARKER_UFFD_WP)
        offset = _MARKER_PAYLOAD[marker]
        advance = NONE
    for i in range(length):
        state.ptes[at + i] = arch.swap(facts, np.uint64(type_), offset, swap_state)
        offset += advance


@rule
def _pointer_type(facts, kind):
    """The swap type of an entry that points to a page."""
    if kind == MIGRATION_READ:
        return np.int64(facts.swp_migration_read)
    if kind == MIGRATION_READ_EXCLUSIVE:
        return np.int64(facts.swp_migration_read_exclusive)
    if kind == MIGRATION_WRITE:
        return np.int64(facts.swp_migration_write)
    if kind == DEVICE_READ:
        return np.int64(facts.swp_device_read)
    if kind == DEVICE_WRITE:
        return np.int64(facts.swp_device_write)
    if kind == DEVICE_EXCLUSIVE_WRITE and facts.swp_device_exclusive_write >= 0:
        return np.int64(facts.swp_device_exclusive_write)
    return np.int64(facts.swp_device_exclusive)


@rule
def write_pointers(arch, choices, state, scene, at, length, row, page, step, kind):
    """Write `length` migration or device entries that point to pages of a block."""
    facts = state.facts[0]
    detail = draw(choices)
    type_ = np.uint64(_pointer_type(facts, kind))
    pfn = state.folios[row].pfn + np.uint64(page)
    swap_state = _swap_state(detail, scene)
    migration = kind <= MIGRATION_WRITE
    young = migration and bits(detail, _YOUNG_BIT) == 1
    dirty = migration and bits(detail, _DIRTY_BIT) == 1
    for i in range(length):
        offset = arch.pfn_offset(facts, pfn, young, dirty)
        state.ptes[at + i] = arch.swap(facts, type_, offset, swap_state)
        pfn += np.uint64(step)
