"""Canaries: outcomes spoiled on purpose, one per judge, to prove that the alarm works.

A fuzzer that finds nothing because a judge is mute is the worst failure it can
have. Before each campaign every canary must be caught by the very loop that
runs the campaign. A canary spoils what a sound target left behind, so it needs
no build of its own; the mutants of the zoo spoil the target itself.
"""

from typing import Any, NamedTuple

import numpy as np

from mm import flags
from mm.arm64 import CONT_PTES
from mm.jit import rule
from mm.state import (
    BAD_MAP,
    FLUSH,
    FOLD,
    NMMU,
    NO_VM_WRITE,
    NR_FLUSHES,
    NR_STAMPS,
    UNFOLD,
)

from .batches import ZERO, page_is_exclusive
from .case import ARCHES
from .workspace import numba_workspace

ONE = np.uint64(1)
BLOCK = np.uint64(CONT_PTES)


class Canary(NamedTuple):
    """A way to spoil an outcome; its place in CANARIES, counted from 1, is its number."""

    name: str
    shows: str  # the class that must be found
    arches: tuple[str, ...] = ARCHES


BLOCKS = ("arm64",)
COPROCESSORS = ("powerpc",)

CANARIES = (
    Canary("write-on-shared-page", "cow-write"),
    Canary("lost-write", "write-lost"),
    Canary("swap-word", "swap-changed"),
    Canary("outside", "outside-changed"),
    Canary("no-flush", "flush-missing"),
    Canary("flush-all", "flush-unneeded"),
    Canary("flush-outside", "flush-outside"),
    Canary("pages", "pages-wrong"),
    Canary("bad-map", "bad-map-wrong"),
    Canary("warn", "warn-wrong"),
    Canary("access-time", "access-time-wrong"),
    Canary("input", "input-changed"),
    Canary("outside", "invariant-N"),
    Canary("write-on-shared-page", "invariant-W"),
    Canary("write-without-vm-write", "invariant-V"),
    Canary("write-with-uffd", "invariant-U", ("x86_64", "arm64")),
    Canary("lost-dirty", "invariant-D"),
    Canary("lost-accessed", "invariant-D"),
    Canary("lost-soft-dirty", "invariant-S", ("x86_64", "powerpc")),
    Canary("other-page", "invariant-F"),
    Canary("no-flush", "invariant-T"),
    Canary("impossible", "invariant-X"),
    Canary("no-unfold", "unfold-missing", BLOCKS),
    Canary("extra-unfold", "unfold-unneeded", BLOCKS),
    Canary("no-fold", "fold-missing", BLOCKS),
    Canary("extra-fold", "fold-unneeded", BLOCKS),
    Canary("torn-block", "invariant-B", BLOCKS),
    Canary("no-nmmu", "nmmu-missing", COPROCESSORS),
    Canary("extra-nmmu", "nmmu-unneeded"),
    Canary("short-unfold", "invalidation-wrong"),
)
NO_CANARY = 0
_NAMES = [canary.name for canary in CANARIES]


def _number(name: str) -> int:
    return _NAMES.index(name) + 1


WRITE_SHARED = _number("write-on-shared-page")
LOST_WRITE = _number("lost-write")
SWAP_WORD = _number("swap-word")
OUTSIDE = _number("outside")
NO_FLUSH = _number("no-flush")
FLUSH_ALL = _number("flush-all")
FLUSH_OUTSIDE = _number("flush-outside")
PAGES = _number("pages")
BAD_MAP_CANARY = _number("bad-map")
WARN = _number("warn")
ACCESS_TIME = _number("access-time")
INPUT = _number("input")
WRITE_NO_VM_WRITE = _number("write-without-vm-write")
WRITE_UFFD = _number("write-with-uffd")
LOST_DIRTY = _number("lost-dirty")
LOST_ACCESSED = _number("lost-accessed")
LOST_SOFT_DIRTY = _number("lost-soft-dirty")
OTHER_PAGE = _number("other-page")
IMPOSSIBLE = _number("impossible")


NO_UNFOLD = _number("no-unfold")
EXTRA_UNFOLD = _number("extra-unfold")
NO_FOLD = _number("no-fold")
EXTRA_FOLD = _number("extra-fold")
TORN_BLOCK = _number("torn-block")
NO_NMMU = _number("no-nmmu")
EXTRA_NMMU = _number("extra-nmmu")
SHORT_UNFOLD = _number("short-unfold")


def canaries_of(arch: str) -> tuple[Canary, ...]:
    """The canaries that `arch` can show."""
    return tuple(canary for canary in CANARIES if arch in canary.arches)


def number_of(canary: Canary) -> int:
    """The number by which the hot loop knows `canary`."""
    return _number(canary.name)


@rule
def spoil_present(words, state, word, canary):
    """Present `word` of the outcome, spoiled by `canary` where it applies, else as it is."""
    facts = state.facts[0]
    if canary == WRITE_SHARED:
        private = (facts.vma_flags & flags.VM_SHARED) == ZERO
        if private and not page_is_exclusive(words, state, word):
            return words.set_writable(word)
    if canary == LOST_WRITE and words.writable(word):
        return word & ~words.set_writable(ZERO)
    if canary == WRITE_NO_VM_WRITE and (facts.vma_flags & flags.VM_WRITE) == ZERO:
        return words.set_writable(word)
    if canary == WRITE_UFFD:
        return words.set_uffd_writable(word)
    if canary == LOST_DIRTY:
        return words.clear_dirty(word)
    if canary == LOST_ACCESSED:
        return words.clear_accessed(word)
    if canary == LOST_SOFT_DIRTY:
        return words.clear_soft_dirty(word)
    if canary == OTHER_PAGE:
        return words.advance(state, word, ONE)
    if canary == IMPOSSIBLE:
        return words.make_impossible(word)
    if canary == TORN_BLOCK and words.folded(word):
        return words.advance(state, word, ONE)
    return word


@rule
def append(state, kind, address, pages):
    """Add a row to the log."""
    row = state.counts[NR_FLUSHES]
    state.flushes[row, 0] = kind
    state.flushes[row, 1] = address
    state.flushes[row, 2] = pages
    state.counts[NR_FLUSHES] = row + 1


@rule
def forget(state, kind):
    """Take the rows of `kind` out of the log."""
    kept = 0
    for row in range(state.counts[NR_FLUSHES]):
        if state.flushes[row, 0] != kind:
            state.flushes[kept, 0] = state.flushes[row, 0]
            state.flushes[kept, 1] = state.flushes[row, 1]
            state.flushes[kept, 2] = state.flushes[row, 2]
            kept += 1
    state.counts[NR_FLUSHES] = kept


@rule
def spoil_invalidations(state, canary):
    """Spoil what is sent at once: rows left out, or one too many."""
    facts = state.facts[0]
    if canary == NO_UNFOLD:
        forget(state, UNFOLD)
    if canary == NO_FOLD:
        forget(state, FOLD)
    if canary == NO_NMMU:
        forget(state, NMMU)
    last = np.uint64(facts.nr_ptes) - BLOCK
    block = facts.table_addr + (last << facts.page_shift)
    if canary == EXTRA_UNFOLD:
        append(state, UNFOLD, block, BLOCK)
    if canary == EXTRA_FOLD:
        append(state, FOLD, block, BLOCK)
    if canary == SHORT_UNFOLD:
        append(state, UNFOLD, facts.table_addr, ONE)
    if canary == EXTRA_NMMU:
        append(state, NMMU, facts.table_addr + (np.uint64(facts.start) << facts.page_shift), ONE)


@rule
def spoil_logs(state, canary):
    """Spoil the logs of `state`; what to add to the return value."""
    facts = state.facts[0]
    pages = np.uint64(facts.end - facts.start)
    start = facts.table_addr + (np.uint64(facts.start) << facts.page_shift)
    if canary == NO_FLUSH:
        state.counts[NR_FLUSHES] = 0
    if canary == FLUSH_ALL:
        append(state, FLUSH, start, pages)
    if canary == FLUSH_OUTSIDE:
        append(state, FLUSH, start, pages + ONE)
    if canary == BAD_MAP_CANARY:
        state.counts[BAD_MAP] += 1
    if canary == WARN:
        state.counts[NO_VM_WRITE] = 1 if state.counts[NO_VM_WRITE] == 0 else 0
    if canary == ACCESS_TIME:
        state.stamps[state.counts[NR_STAMPS]] = facts.zero_pfn
        state.counts[NR_STAMPS] += 1
    if canary == INPUT and facts.nr_folios > 0:
        state.exclusive[0] = 1 - state.exclusive[0]
    spoil_invalidations(state, canary)
    return 1 if canary == PAGES else 0


@rule
def spoil(words, workspace, canary):
    """Spoil the target's outcome; what to add to its return value."""
    case, theirs = workspace.case, workspace.theirs
    facts = case.facts[0]
    for i in range(facts.nr_ptes):
        word = theirs.ptes[i]
        inside = i >= facts.start and i < facts.end
        if not inside:
            if canary == OUTSIDE:
                theirs.ptes[i] = ~word
        elif words.present(word):
            theirs.ptes[i] = spoil_present(words, case, word, canary)
        elif canary == SWAP_WORD and not words.none(word):
            theirs.ptes[i] = ZERO
    return spoil_logs(theirs, canary)


def numba_spoil() -> Any:
    """The numba signature of `spoil` for one architecture."""
    from numba import int64

    return int64(numba_workspace(), int64)
