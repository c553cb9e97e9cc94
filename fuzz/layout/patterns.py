"""Patterns along the entries of a run or the pages of a block: one bit for each, 64 at a time."""

import numpy as np

from mm.jit import rule

from ..choices import mix

NONE = np.uint64(0)
ONE = np.uint64(1)
ALL = np.uint64(0xFFFF_FFFF_FFFF_FFFF)
_ALTERNATING = np.uint64(0xAAAA_AAAA_AAAA_AAAA)

# `place` is the turning point of those in the middle.
NO, YES, ONLY, BUT, FROM, BEFORE, TURNS, RANDOM = range(8)

# The part of each kind; without a branch, which no branch predictor could foresee.
_FIXED = np.array([NONE, ALL, NONE, ALL, NONE, ALL, _ALTERNATING, NONE], np.uint64)
_WITH_ONE = np.array([NONE, NONE, ALL, ALL, NONE, NONE, NONE, NONE], np.uint64)
_WITH_FROM = np.array([NONE, NONE, NONE, NONE, ALL, ALL, NONE, NONE], np.uint64)
_WITH_NOISE = np.array([NONE] * 7 + [ALL], np.uint64)


@rule
def pattern(kind, place, noise, first):
    """Bits `first`..`first` + 63 of a pattern (uint64), `place` being its turning point."""
    at = place - first
    shift = np.uint64(min(max(at, 0), 63))
    one = ONE << shift if 0 <= at < 64 else NONE
    from_place = ALL << shift if at < 64 else NONE
    word = _FIXED[kind] ^ (one & _WITH_ONE[kind]) ^ (from_place & _WITH_FROM[kind])
    return word ^ (mix(noise + np.uint64(first)) & _WITH_NOISE[kind])


@rule
def mask(word):
    """All bits set where bit 0 of `word` is, else none."""
    return NONE - (word & ONE)
