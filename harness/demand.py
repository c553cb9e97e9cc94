"""What becomes of the demand that an entry be flushed, or told to the coprocessors.

A missing flush is a bug, one that only the merge needs is a cost, one that
nothing needs is a bug again. Worded in docs/relation.md.
"""

import numpy as np

from mm.jit import rule

from . import classes

ZERO = np.uint64(0)

EXTRA_NMMU = classes.bit("extra-nmmu")
EXTRA_FLUSH = classes.bit("extra-flush")
FLUSH_ELIDED = classes.bit("flush-elided")
FLUSH_MISSING = classes.bit("flush-missing")
FLUSH_UNNEEDED = classes.bit("flush-unneeded")
NMMU_MISSING = classes.bit("nmmu-missing")
NMMU_UNNEEDED = classes.bit("nmmu-unneeded")

MET, MISSING, ELIDED, EXTRA, UNNEEDED = range(5)


@rule
def judge_demand(own_needs, merged_needs, by_own, by_merged, tolerated, done):
    """What becomes of a demand on one entry: MET, MISSING, ELIDED, EXTRA or UNNEEDED.

    `own_needs`, `merged_needs`: each variant's transition demands it; `by_own`,
    `by_merged`: which of them explain the word; `tolerated`: a tolerant variant
    explains it and demands; `done`: the target did it.
    """
    # Own and merged word give one result and yet disagree about the flush only if
    # a read-only entry has the hardware's dirty bit, which the merge moves first
    # (wild; no right is at stake): then the kernel flushes as it batches.
    needs = own_needs and by_own
    if by_merged:
        needs = merged_needs and (needs or not by_own)
    needs = needs or tolerated
    if done:
        if not own_needs and not merged_needs and not needs:
            return UNNEEDED
        return MET if own_needs else EXTRA
    if needs:
        return MISSING
    return ELIDED if own_needs else MET


@rule
def flush_classes(verdict, explained):
    """The classes of `judge_demand` for a flush request."""
    if verdict == MISSING:
        return FLUSH_MISSING
    if verdict == ELIDED and explained:
        return FLUSH_ELIDED
    if verdict == EXTRA:
        return EXTRA_FLUSH
    return FLUSH_UNNEEDED if verdict == UNNEEDED else ZERO


@rule
def nmmu_classes(verdict):
    """The classes of `judge_demand` for what the coprocessors must be told."""
    if verdict == MISSING:
        return NMMU_MISSING
    if verdict == EXTRA:
        return EXTRA_NMMU
    return NMMU_UNNEEDED if verdict == UNNEEDED else ZERO
