"""Exit codes, the same for every verb; README has the table for users."""

import errno

OK = 0
DIVERGENCE = 1
BAD_INPUT = 2
STALE = 3
LANE_MISSING = 4
TOO_LITTLE = 5
CANARY_MISSED = 6
FLAKY = 7
INTERNAL = 8
INTERRUPTED_TWICE = 130

# Where several apply, the first of these wins.
PRECEDENCE = (
    BAD_INPUT,
    INTERNAL,
    FLAKY,
    CANARY_MISSED,
    DIVERGENCE,
    STALE,
    TOO_LITTLE,
    LANE_MISSING,
    OK,
)


# Errors of the disk, not of the place that was given.
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


class NotWritten(Exception):
    """A result that could not be written; what was written before is whole."""


def worst(codes: list[int]) -> int:
    """The code that wins among `codes`; OK for none."""
    return min(codes, key=PRECEDENCE.index, default=OK)
