"""A hunter that compares two targets: only what the candidate adds to the baseline is a finding.

What a class of divergence is worth is a matter of the case: where the baseline
shows the class too, on the same case, it is known there, and it is new on any
other. Both are judged by the same relation.
"""

from dataclasses import dataclass, replace

import numpy as np

from harness import classes
from harness.canaries import NO_CANARY
from harness.differences import red
from harness.run import Judgement, judge_case
from harness.targets import Target

from .hunter import Found, Hunter, primary_number

NO_CAP = 1 << 62


def without(judgement: Judgement, bits: int) -> Judgement:
    """`judgement` with the classes `bits` taken out of it."""
    return replace(
        judgement,
        found=tuple(found & ~bits for found in judgement.found),
        found_case=judgement.found_case & ~bits,
        union=judgement.union & ~bits,
    )


def known_bits(judgement: Judgement, baseline: Target, batching: int, denied: int = 0) -> int:
    """The red classes that `baseline` shows on the case of `judgement`."""
    return red(judge_case(judgement.case, baseline, batching), denied)


@dataclass
class AddedHunter(Hunter):
    """Hunts the cases on which `target` shows a class that `baseline` does not."""

    baseline: Target | None = None
    last_known: int = (
        0  # red classes of the baseline on the case last judged; -1: none of the target
    )

    def hunt(self, first: int, last: int, canary: int = NO_CANARY, red: int | None = None) -> int:
        """As of Hunter; `seen` counts what is added only, `tally` all that the target did."""
        shown, cap = self.seen, self.cap
        index = first
        while True:
            self.seen, self.cap = np.zeros(classes.NR_CLASSES, np.int64), NO_CAP
            try:
                index = super().hunt(index, last, canary, red)
            finally:
                self.seen, self.cap = shown, cap
            if index >= last:
                return last
            if self._counts(self.found(index).judgement):
                return index
            index += 1

    def _counts(self, judgement: Judgement) -> bool:
        """Whether the case in the workspace is to be shown; it is counted if anything is added."""
        if self.last_known < 0:
            # It diverged in the loop and not when judged again: whoever shows it says so.
            return True
        added = red(judgement, self.denied)
        if not added:
            return False
        number = primary_number(added)
        self.seen[number] += 1
        return int(self.seen[number]) <= self.cap

    def found(self, index: int) -> Found:
        """Case `index`, with what the baseline does not show."""
        found = super().found(index)
        return Found(found.number, self._strip(found.judgement))

    def _strip(self, judgement: Judgement) -> Judgement:
        assert self.baseline is not None
        if not red(judgement, self.denied):
            self.last_known = -1
            return judgement
        self.last_known = known_bits(judgement, self.baseline, self.batching, self.denied)
        return without(judgement, self.last_known)

    def loses_too(self, index: int, name: str) -> bool:
        """Whether the baseline does not come back from case `index` either, by the same class."""
        assert self.baseline is not None
        lost = self.lost(index, name, "").judgement
        return bool(red(judge_case(lost.case, self.baseline, self.batching)) & lost.union)
