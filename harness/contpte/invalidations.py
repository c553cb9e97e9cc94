"""The log of folds and unfolds: which a call must send at once, and which it may not.

An unfold is due for each block that is cut, a fold for each that the commit of
its last entry alone has folded. CONT that changes without either is what the
7.3 code does for whole batches: counted as information.
"""

import numpy as np

from mm.arm64 import CONT_PTES
from mm.jit import rule
from mm.state import FOLD, NR_FLUSHES, UNFOLD

from .. import classes
from ..batches import ZERO
from ..coverage import INVALIDATION_WRONG
from ..relation import ANY, ONE, OUTSIDE_CHANGED
from ..workspace import FOLDED, NOTHING, UNFOLDED
from .blocks import is_folded

CONT_SET = classes.bit("cont-set-without-tlbi")
CONT_CLEARED = classes.bit("cont-cleared-without-tlbi")
UNFOLD_MISSING = classes.bit("unfold-missing")
UNFOLD_UNNEEDED = classes.bit("unfold-unneeded")
FOLD_MISSING = classes.bit("fold-missing")
FOLD_UNNEEDED = classes.bit("fold-unneeded")


@rule
def is_committed_alone(words, workspace, index, batching):
    """Whether `index`, the last entry of its block, is written by a commit of its own.

    Only such a commit tries to fold. As a part of a batch it is one if it begins
    the batch and the upgrade to writable stops behind it. (Where the batch
    reaches further to the left, a stop between makes the block uneven.)
    """
    facts = workspace.case.facts[0]
    if workspace.changed[index] == 0:
        return False
    # One entry at a time, each one begins and ends its batch: no case of its own.
    if batching == ANY:
        return True
    first = workspace.first[index]
    if first != index:
        return False
    if index + 1 >= facts.end or workspace.first[index + 1] != first:
        return True
    here, behind = workspace.result[index], workspace.result[index + 1]
    return words.writable(here) != words.writable(behind)


@rule
def read_log(workspace):
    """Fill `logged` from the target's folds and unfolds; class bits of wrong rows."""
    case, theirs = workspace.case, workspace.theirs
    facts = case.facts[0]
    for i in range(facts.nr_ptes):
        workspace.logged[i] = NOTHING
    found = ZERO
    last_unfold, last_fold = np.int64(-1), np.int64(-1)
    rows = min(theirs.counts[NR_FLUSHES], theirs.flushes.shape[0])
    for row in range(rows):
        kind = theirs.flushes[row, 0]
        if kind != UNFOLD and kind != FOLD:
            continue
        address, pages = theirs.flushes[row, 1], theirs.flushes[row, 2]
        offset = address - facts.table_addr
        block_size = np.uint64(CONT_PTES) << facts.page_shift
        if (
            address < facts.table_addr
            or offset >= np.uint64(facts.nr_ptes) << facts.page_shift
            or offset & (block_size - ONE) != ZERO
            or pages != np.uint64(CONT_PTES)
        ):
            found = found | INVALIDATION_WRONG
            continue
        base = np.int64(offset >> facts.page_shift)
        # The walk goes upwards, so each list does, and has each block once.
        if kind == UNFOLD:
            if base <= last_unfold:
                found = found | INVALIDATION_WRONG
            last_unfold = base
            workspace.logged[base] = workspace.logged[base] | UNFOLDED
        else:
            if base <= last_fold:
                found = found | INVALIDATION_WRONG
            last_fold = base
            workspace.logged[base] = workspace.logged[base] | FOLDED
    return found


@rule
def judge_invalidations(words, workspace, base, by_last_entry, batching):
    """Class bits of the log for the block at `base`; `by_last_entry`: folded by its last commit."""
    case, theirs = workspace.case, workspace.theirs
    facts = case.facts[0]
    unfolded = (workspace.logged[base] & UNFOLDED) != NOTHING
    folded = (workspace.logged[base] & FOLDED) != NOTHING
    # The elision for CPUs with BBML came with 6.17, as the early stop did.
    if facts.bbml3 != 0 and facts.contpte_early_stop != 0:
        found = UNFOLD_UNNEEDED if unfolded else ZERO
        return found | (FOLD_UNNEEDED if folded else ZERO)
    cut = workspace.cut[base] != 0
    was_folded = words.folded(case.ptes[base])
    is_now = is_folded(words, theirs, base)
    touched, was_valid, still_valid = False, False, False
    for i in range(base, base + CONT_PTES):
        touched = touched or workspace.changed[i] != 0
        was_valid = was_valid or words.hardware_valid(case.ptes[i])
        still_valid = still_valid or words.hardware_valid(theirs.ptes[i])
    # Of a block that the call leaves alone not even CONT may change.
    found = OUTSIDE_CHANGED if not touched and was_folded != is_now else ZERO
    if cut and not unfolded:
        found = found | UNFOLD_MISSING
    elif unfolded and not cut and not (batching == ANY and was_folded and touched):
        found = found | UNFOLD_UNNEEDED
    elif was_folded and not is_now and still_valid and not unfolded:
        found = found | CONT_CLEARED
    if by_last_entry and not folded and batching != ANY:
        found = found | FOLD_MISSING
    elif folded and not (by_last_entry and is_now):
        found = found | FOLD_UNNEEDED
    elif is_now and not folded and was_valid and (unfolded or not was_folded):
        found = found | CONT_SET
    return found
