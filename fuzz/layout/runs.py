"""Which runs a window is made of, and what they map.

A run is a stretch of entries of one kind: pages of one block of folios, a hole,
swap-like entries. It takes one choice for its shape, one for a new block, one
for its details, so that a shrinker can delete runs as groups of words.
"""

import numpy as np

from mm.jit import rule

from ..choices import bits, draw, parts, scaled
from .entries import write_bare, write_hole, write_pointers, write_present, write_swap
from .folios import add_block, fits
from .kinds import DEVICE_EXCLUSIVE_WRITE, HOLE, KSM, MIGRATION_READ, RUNS, SWAP

# Where the pages of a run come from, out of 16.
_NEW, _NEXT, _AGAIN = 0, 1, 2
_SOURCES = np.array([_NEW] * 9 + [_NEXT] * 4 + [_AGAIN] * 3, np.int64)

_HOLE_LENGTHS = np.array([1, 1, 2, 3, 4, 6, 8, 12], np.int64)
_SWAP_LENGTHS = np.array([1, 1, 1, 1, 1, 2, 2, 4], np.int64)

# The shape of a run.
SHAPE_CHOICE = parts(7, 4, 1, 2, 9, 4, 1, 3, 10, 10, 3, 3)
(
    _KIND,
    _SOURCE,
    _MID_BLOCK,
    _SHORTER,
    _LENGTH,
    _STEPS,
    _DOWNWARDS,
    _FEW,
    _OLD_FOLIO,
    _PAGE,
    _OUT_OF_STEP,
    _WHOLE,
) = SHAPE_CHOICE
# One window in eight that is a whole table of 512 entries maps one folio, if it begins with a
# page of one: lengths and counts that are kept in nine bits do not show otherwise.
_TABLE = 512
_TABLE_ORDER = np.int64(9)
_ANY_ORDER = np.int64(0)


@rule
def lay_out(arch, choices, state, scene):
    """Fill the window with runs; folios and exclusivity are made as they are needed."""
    facts = state.facts[0]
    facts.nr_folios = 0
    nr_ptes = np.int64(facts.nr_ptes)
    # The block that the last run mapped: first folio, folios, page after the run.
    row = np.int64(0)
    nr_rows = np.int64(0)
    next_page = np.int64(0)
    at = np.int64(0)
    while at < nr_ptes:
        shape = draw(choices)
        kind = RUNS[scene.contents, bits(shape, _KIND)]
        room = nr_ptes - at
        if kind > DEVICE_EXCLUSIVE_WRITE:
            at += _write_without_folio(arch, choices, state, scene, at, room, shape, kind)
            continue
        whole = room == _TABLE and bits(shape, _WHOLE) == 7 and kind < KSM
        source = _NEW if whole else _SOURCES[bits(shape, _SOURCE)]
        page = next_page
        if source == _AGAIN and facts.nr_folios > 0:
            row = scaled(shape, _OLD_FOLIO, np.int64(facts.nr_folios))
            nr_rows = np.int64(1)
            nr_pages = np.int64(state.folios[row].nr_pages)
            page = _in_step(arch, shape, scaled(shape, _PAGE, nr_pages), at, nr_pages)
            page -= arch.block if page >= nr_pages else 0
        elif nr_rows > 0:
            page = _in_step(arch, shape, page, at, np.int64(state.folios[row].nr_pages))
        # _NEXT goes on behind a hole or a change of bits inside the block.
        if (
            source == _NEW
            or nr_rows == 0
            or page >= nr_rows * np.int64(state.folios[row].nr_pages)
            or not fits(kind, state.folios[row].folio_flags)
        ):
            row = np.int64(facts.nr_folios)
            least = _TABLE_ORDER if whole else _ANY_ORDER
            nr_rows = add_block(arch, choices, state, scene, kind, least)
            if nr_rows == 0:
                at += _write_without_folio(arch, choices, state, scene, at, room, shape, HOLE)
                continue
            nr_pages = np.int64(state.folios[row].nr_pages)
            page = np.int64(0)
            # Half of the runs on a new block begin in the middle of it.
            if bits(shape, _MID_BLOCK) and not whole:
                page = scaled(shape, _PAGE, nr_rows * nr_pages)
            page = _in_step(arch, shape, page, at, nr_pages)
            page -= arch.block if page >= nr_rows * nr_pages else 0
        rest = nr_rows * np.int64(state.folios[row].nr_pages) - page
        length = rest
        if bits(shape, _SHORTER) == 3 and not whole:
            length = 1 + scaled(shape, _LENGTH, rest)
        step = np.int64(1)
        if bits(shape, _STEPS) == 15 and not whole:
            # The same page again and again, or downwards.
            if bits(shape, _DOWNWARDS):
                length = 1 + (bits(shape, _FEW) >> 1)
                step = np.int64(0)
            else:
                length = min(length, page + 1)
                step = np.int64(-1)
        if kind >= MIGRATION_READ:
            length = min(length, _SWAP_LENGTHS[bits(shape, _FEW)])
        length = min(length, room)
        if kind >= MIGRATION_READ:
            write_pointers(arch, choices, state, scene, at, length, row, page, step, kind)
        else:
            write_present(arch, choices, state, scene, at, length, row, page, step, kind)
        next_page = page + length
        at += length


@rule
def _in_step(arch, shape, page, at, nr_pages):
    """`page`, or the first behind it that stands in its block of pages as entry `at` in its block.

    Large folios are mapped so wherever they can be: no block of entries could be
    translated as one otherwise.
    """
    if nr_pages < arch.block or bits(shape, _OUT_OF_STEP) == 7:
        return page
    return page + ((at - page) & (arch.block - 1))


@rule
def _write_without_folio(arch, choices, state, scene, at, room, shape, kind):
    """Write a run that needs no folio; returns its length, at most `room`."""
    few = bits(shape, _FEW)
    if kind == HOLE:
        length = min(room, _HOLE_LENGTHS[few])
        write_hole(state, at, length)
    elif kind >= SWAP:
        length = min(room, _SWAP_LENGTHS[few])
        write_swap(arch, choices, state, scene, at, length, kind)
    else:
        length = min(room, 1 + few)
        write_bare(arch, choices, state, scene, at, length, shape, kind)
    return length
