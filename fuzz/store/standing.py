"""What a campaign has come to: everything that a resumed one must know."""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from harness import classes
from harness.census import CASES, empty_tally

from .ranges import Ranges


class Kept(NamedTuple):
    """A finding that was written: its class, its file, the number of its case."""

    name: str
    path: Path
    number: str


@dataclass
class Standing:
    """Counts, findings and case numbers of a campaign, over all its runs."""

    tally: Any = field(default_factory=empty_tally)
    # Per class, the cases that are counted as one of it.
    seen: Any = field(default_factory=lambda: np.zeros(classes.NR_CLASSES, np.int64))
    done: Ranges = field(default_factory=Ranges)
    seconds: float = 0.0
    first_finding: float | None = None
    kept: list[Kept] = field(default_factory=list)
    flaky: list[str] = field(default_factory=list)

    @property
    def cases(self) -> int:
        """How many cases were judged."""
        return int(self.tally[CASES])

    def kept_of(self, name: str) -> int:
        """How many findings of class `name` were written."""
        return Counter(kept.name for kept in self.kept)[name]

    def diverging(self) -> dict[str, int]:
        """How many cases diverged, by class, the most frequent first."""
        counts = {c.name: int(n) for c, n in zip(classes.CLASSES, self.seen, strict=True) if n}
        return dict(sorted(counts.items(), key=lambda item: -item[1]))
