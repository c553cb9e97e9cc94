"""Folios of a random case: blocks of one folio, or a few of the same size side by side."""

import numpy as np

from mm.flags import (
    FOLIO_ACCESS_TIME,
    FOLIO_ANON,
    FOLIO_DIRTY,
    FOLIO_FILE_LRU,
    FOLIO_KSM,
    FOLIO_MAPPED_SHARED,
    FOLIO_PINNED,
    FOLIO_ZONE_DEVICE,
    NUMA_BALANCING_MEMORY_TIERING,
)
from mm.jit import rule

from ..choices import bits, draw, mix, parts, scaled
from .kinds import (
    ANON,
    DEVICE_EXCLUSIVE,
    DEVICE_READ,
    DEVICE_WRITE,
    FILE,
    KSM,
    MIGRATION_READ,
    MIGRATION_WRITE,
    ZONE_DEVICE,
)
from .patterns import BEFORE, BUT, FROM, NO, ONLY, RANDOM, TURNS, YES, pattern

NONE = np.uint64(0)
ONE = np.uint64(1)

# Pages are written so many at a time.
_CHUNK = 8

# Folios of a block out of 8; large ones stand alone.
_ALONE = 6
_BLOCKS = np.array([1, 1, 1, 1, 1, 2, 2, 4], np.int64)
# Exclusive pages of a block, out of 16.
_EXCLUSIVE = np.array(
    [NO] * 2 + [YES] * 4 + [ONLY, BUT, FROM, BEFORE] * 2 + [TURNS, RANDOM], np.int64
)

# A new block.
BLOCK_CHOICE = parts(6, 3, 2, 8, 2, 2, 2, 2, 3, 1, 4, 12, 3)
(
    _ORDER,
    _BLOCK,
    _APART,
    _GAP,
    _NID,
    _SHMEM,
    _CLEAN,
    _MAPPED,
    _PINS,
    _FILE_PAGE,
    _EXCLUSIVE_KIND,
    _EXCLUSIVE_PLACE,
    _FAR,
) = BLOCK_CHOICE
# One block in eight is on a node whose number tells one in few bits from one in many.
FAR_NODES = 48


@rule
def fits(kind, folio_flags):
    """Whether a folio made for another run may be used by a run of `kind`."""
    if kind == ANON or kind >= DEVICE_EXCLUSIVE:
        return folio_flags & (FOLIO_ANON | FOLIO_ZONE_DEVICE) == FOLIO_ANON
    if kind == FILE:
        return folio_flags & (FOLIO_ANON | FOLIO_ZONE_DEVICE) == NONE
    if kind == MIGRATION_READ or kind == MIGRATION_WRITE:
        return folio_flags & FOLIO_ZONE_DEVICE == NONE
    return False


@rule
def add_block(arch, choices, state, scene, kind, least):
    """Append a block of folios for a run of `kind`; returns their number, 0 without room.

    `least`: the order that it has at least.
    """
    facts = state.facts[0]
    choice = draw(choices)
    noise = mix(choice)
    order = max(arch.order(facts, bits(choice, _ORDER)), least)
    nr_rows = _BLOCKS[bits(choice, _BLOCK)]
    if order >= _ALONE:
        nr_rows = np.int64(1)
    if kind >= KSM:
        # KSM has small pages only; so have nearly all others of these.
        nr_rows = np.int64(1)
        if kind == KSM or bits(choice, _BLOCK) < 6:
            order = np.int64(0)

    row = np.int64(facts.nr_folios)
    pfn = scene.first_pfn
    first_page = np.int64(0)
    if row > 0:
        last = state.folios[row - 1]
        first_page = np.int64(last.first_page + last.nr_pages)
        # Physically side by side, more often than not.
        pfn = last.pfn + np.uint64(last.nr_pages)
        if bits(choice, _APART) == 3:
            pfn += np.uint64(bits(choice, _GAP))
    nr_rows = min(nr_rows, np.int64(state.folios.shape[0]) - row)
    if first_page + (nr_rows << order) + _CHUNK > state.exclusive.shape[0]:
        nr_rows = np.int64(1)
        order = np.int64(0)
    nr_pages = np.int64(1) << order
    total = nr_pages * nr_rows
    pfn = _aligned(pfn, nr_pages)
    if pfn <= facts.zero_pfn < pfn + np.uint64(total):
        pfn = _aligned(facts.zero_pfn + ONE, nr_pages)
    if (
        nr_rows <= 0
        or first_page + total + _CHUNK > state.exclusive.shape[0]
        or pfn + np.uint64(total) > facts.highest_memmap_pfn + ONE
    ):
        return np.int64(0)

    nid = bits(choice, _NID) + (FAR_NODES if bits(choice, _FAR) == 7 else 0)
    folio_flags = _folio_flags(choice, facts, scene, kind, nid)
    for i in range(nr_rows):
        folio = state.folios[row + i]
        folio.pfn = pfn + np.uint64(i * nr_pages)
        folio.nr_pages = nr_pages
        folio.folio_flags = folio_flags
        folio.nid = nid
        folio.first_page = first_page + i * nr_pages
    facts.nr_folios = row + nr_rows

    exclusive = _EXCLUSIVE[bits(choice, _EXCLUSIVE_KIND)]
    if folio_flags & (FOLIO_ANON | FOLIO_KSM) != FOLIO_ANON:
        exclusive = np.int64(NO)
    _set_exclusive(
        state, first_page, total, exclusive, scaled(choice, _EXCLUSIVE_PLACE, total), noise
    )
    return nr_rows


@rule
def _aligned(pfn, nr_pages):
    below = np.uint64(nr_pages) - ONE
    return (pfn + below) & ~below


@rule
def _folio_flags(choice, facts, scene, kind, nid):
    """FOLIO_ flags that go with each other and with `kind`."""
    folio_flags = NONE
    if kind == KSM:
        folio_flags = FOLIO_ANON | FOLIO_KSM
    elif kind == FILE or (
        (kind == MIGRATION_READ or kind == MIGRATION_WRITE)
        and (scene.private == 0 or (facts.vma_anon == 0 and bits(choice, _FILE_PAGE) == 1))
    ):
        # One file folio in four is shmem, which is on the anon lists.
        folio_flags = FOLIO_FILE_LRU if bits(choice, _SHMEM) < 3 else NONE
    elif kind == ZONE_DEVICE and facts.vma_anon == 0:
        folio_flags = FOLIO_ZONE_DEVICE
    else:
        folio_flags = FOLIO_ANON
        if kind == ZONE_DEVICE or kind == DEVICE_READ or kind == DEVICE_WRITE:
            folio_flags |= FOLIO_ZONE_DEVICE
    if bits(choice, _CLEAN) >= (1 if folio_flags & FOLIO_ANON else 3):
        folio_flags |= FOLIO_DIRTY
    if bits(choice, _MAPPED) == 3:
        folio_flags |= FOLIO_MAPPED_SHARED
    if bits(choice, _PINS) == 7:
        folio_flags |= FOLIO_PINNED
    # folio_use_access_time(): tiering, and the node is no top tier.
    if (
        facts.numa_balancing_mode & NUMA_BALANCING_MEMORY_TIERING
        and (facts.toptier_nodes >> np.uint64(nid)) & ONE == NONE
    ):
        folio_flags |= FOLIO_ACCESS_TIME
    return folio_flags


@rule
def _set_exclusive(state, first_page, nr_pages, kind, place, noise):
    """Write the exclusive bits of a block, and up to _CHUNK - 1 behind it that are no part of it."""
    for first in range(0, nr_pages, 64):
        word = pattern(kind, place, noise, first)
        for chunk in range(first, min(first + 64, nr_pages), _CHUNK):
            for i in range(_CHUNK):
                state.exclusive[np.uint64(first_page + chunk + i)] = (word >> np.uint64(i)) & ONE
            word >>= np.uint64(_CHUNK)
