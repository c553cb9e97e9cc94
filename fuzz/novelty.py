"""Whether a campaign still sees anything new: what stops one at a plateau."""

import time
from typing import Any

from harness.census import CASES, CLASS_CASES, KIND_CASES
from harness.classes import NR_CLASSES

# Classes, kinds of entries and traits: what a campaign can see.
SIGHTS = (slice(CLASS_CASES, CLASS_CASES + NR_CLASSES), slice(KIND_CASES, CASES))
NR_SIGHTS = NR_CLASSES + CASES - KIND_CASES


def sights(tally: Any) -> int:
    """How many classes, kinds of entries and traits were seen at least once."""
    return sum(int((tally[part] > 0).sum()) for part in SIGHTS)


class Novelty:
    """Since when nothing new was seen."""

    def __init__(self, tally: Any) -> None:
        """What `tally` has is known; the clock starts."""
        self._known = sights(tally)
        self._since = time.monotonic()

    def look(self, tally: Any, *, other: bool = False) -> None:
        """Start the clock again if `tally` has something new, or if there is any `other` news."""
        known = sights(tally)
        if other or known > self._known:
            self._since = time.monotonic()
        self._known = known

    def seconds(self) -> float:
        """How long nothing new was seen."""
        return time.monotonic() - self._since
