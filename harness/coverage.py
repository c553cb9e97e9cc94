"""What the logs say: which entries each side flushed, and what is wrong with a case as a whole.

The first part of the relation (docs/relation.md); `harness.relation` judges the entries.
"""

import numpy as np

from mm.jit import rule
from mm.state import BAD_MAP, FLUSH, LIVE, NMMU, NO_VM_WRITE, NR_FLUSHES, NR_STAMPS

from . import classes
from .workspace import FLUSHED, TOLD

ZERO = np.uint64(0)
ONE = np.uint64(1)

INVALIDATION_WRONG = classes.bit("invalidation-wrong")
FLUSH_OUTSIDE = classes.bit("flush-outside")
PAGES_WRONG = classes.bit("pages-wrong")
BAD_MAP_WRONG = classes.bit("bad-map-wrong")
WARN_WRONG = classes.bit("warn-wrong")
ACCESS_TIME_WRONG = classes.bit("access-time-wrong")
LOG_OVERFLOW = classes.bit("log-overflow")


@rule
def find_coverage(state, covered, blocks):
    """Mark the entries whose page lies inside a row of the log of `state`; class bits of bad rows.

    FLUSHED by a request, TOLD by an invalidation for the coprocessors. Folds and
    unfolds are wrong unless the architecture has `blocks` (harness.contpte
    judges them).
    """
    facts = state.facts[0]
    for i in range(facts.nr_ptes):
        covered[i] = 0
    rows = state.counts[NR_FLUSHES]
    found = ZERO
    if rows > state.flushes.shape[0]:
        found = found | LOG_OVERFLOW
        rows = state.flushes.shape[0]
    page_size = ONE << facts.page_shift
    low = facts.table_addr + (np.uint64(facts.start) << facts.page_shift)
    high = facts.table_addr + (np.uint64(facts.end) << facts.page_shift)
    for row in range(rows):
        kind = state.flushes[row, 0]
        if kind != FLUSH and kind != NMMU:
            if not blocks:
                found = found | INVALIDATION_WRONG
            continue
        mark = FLUSHED if kind == FLUSH else TOLD
        address, pages = state.flushes[row, 1], state.flushes[row, 2]
        if (
            pages == ZERO
            or address < low
            or address >= high
            or (address & (page_size - ONE)) != ZERO
            or pages > (high - address) >> facts.page_shift
        ):
            found = found | (FLUSH_OUTSIDE if kind == FLUSH else INVALIDATION_WRONG)
        if address < low or address >= high:
            continue
        index = np.int64((address - facts.table_addr) >> facts.page_shift)
        if pages == ONE:
            covered[index] = covered[index] | mark
            continue
        # Compared before it is converted: a wild length must not wrap.
        room = facts.end - index
        length = np.int64(pages) if pages < np.uint64(room) else room
        for i in range(index, index + length):
            covered[i] = covered[i] | mark
    return found


@rule
def same_stamps(ours, nr_ours, theirs, nr_theirs):
    """Whether two lists of access-time stamps are equal as sets."""
    return _all_in(ours, nr_ours, theirs, nr_theirs) and _all_in(theirs, nr_theirs, ours, nr_ours)


@rule
def _all_in(stamps, nr, others, nr_others):
    for i in range(nr):
        if i > 0 and stamps[i] == stamps[i - 1]:
            continue
        found = False
        for j in range(nr_others):
            if others[j] == stamps[i]:
                found = True
                break
        if not found:
            return False
    return True


@rule
def judge_case(workspace, our_pages, their_pages, blocks):
    """Class bits of the case as a whole; fills `needed` and `covered`. Both runs are done.

    Comes before anything that applies the reference's rules, which may report
    into `ours` again.
    """
    ours, theirs = workspace.ours, workspace.theirs
    find_coverage(ours, workspace.needed, blocks)
    found = find_coverage(theirs, workspace.covered, blocks)
    # Break before make: what is invalidated at once is taken, and not stored yet.
    if theirs.counts[LIVE] != 0:
        found = found | INVALIDATION_WRONG
    if our_pages != their_pages:
        found = found | PAGES_WRONG
    if ours.counts[BAD_MAP] != theirs.counts[BAD_MAP]:
        found = found | BAD_MAP_WRONG
    if (ours.counts[NO_VM_WRITE] != 0) != (theirs.counts[NO_VM_WRITE] != 0):
        found = found | WARN_WRONG
    our_stamps, their_stamps = ours.counts[NR_STAMPS], theirs.counts[NR_STAMPS]
    if their_stamps > theirs.stamps.shape[0]:
        found = found | LOG_OVERFLOW
        their_stamps = theirs.stamps.shape[0]
    if (our_stamps != 0 or their_stamps != 0) and not same_stamps(
        ours.stamps, our_stamps, theirs.stamps, their_stamps
    ):
        found = found | ACCESS_TIME_WRONG
    return found
