"""Cases judged one by one, as values: what engines do that are handed a case at a time.

The counts are those of the compiled loop (`fuzz.campaign`), so that a campaign of
any engine sums up and reports the same.
"""

from typing import Any

import numpy as np

from harness import classes
from harness.canaries import canaries_of, number_of
from harness.case import Case
from harness.census import CASES, DESCRIBE_EVERY, empty_tally
from harness.conform import HISTORICAL
from harness.differences import red
from harness.judge import judges_of
from harness.relation import EXACT, NONE
from harness.run import Judgement, judge_case, judge_outcome, judge_prepared, prepare
from harness.targets import Target, load, trusted

from ..campaign import tally_case
from ..hunter import count_lost, primary_number


class Counted:
    """Judges cases on one target; `tally` (harness.census) and `seen`, by class, count them."""

    def __init__(self, target: Target, batching: int = EXACT, denied: int = 0) -> None:
        """Count from zero; the classes of `denied` are findings besides."""
        self.target, self.batching, self.denied = trusted(target), batching, denied
        self.tally: Any = empty_tally()
        self.seen: Any = np.zeros(classes.NR_CLASSES, np.int64)

    def judge(self, case: Case) -> Judgement:
        """The judgement of `case`, which is counted."""
        workspace, ours = prepare(case, contained=self.target.contained)
        judgement = judge_prepared(case, self.target, workspace, ours, self.batching)
        if judgement.how:
            for name in classes.names(judgement.union):
                count_lost(self.tally, self.seen, name)
            return judgement
        # Its rule, `is_described`, can be called from compiled code only.
        described = int(self.tally[CASES]) % DESCRIBE_EVERY == 0
        with np.errstate(over="ignore"):
            tally_case(workspace, np.uint64(judgement.union), self.tally)
            if described:
                judges_of(case.arch).describe(workspace, self.tally, not judgement.sane)
        bits = red(judgement, self.denied)
        if bits:
            self.seen[primary_number(bits)] += 1
        return judgement

    def taken(self) -> tuple[Any, Any]:
        """Tally and counts by class since the last call; they restart."""
        counted = self.tally.copy(), self.seen.copy()
        self.tally[:] = 0
        self.seen[:] = 0
        return counted


class Alarm:
    """The canaries of an architecture, each waiting for a case of the engine that shows it.

    An engine feeds it cases that it made as it makes all others: a canary that none
    of them shows is missed, be it for a mute judge or for an engine that is blind.
    """

    def __init__(self, arch: str) -> None:
        """Every canary waits, the historical bug too, which only a mid-folio start shows."""
        self.waiting = [(c.name, number_of(c), c.shows) for c in canaries_of(arch)]
        self.sound = load("reference", arch)
        self.historical: Target | None = trusted(load(HISTORICAL, arch))
        self.total = len(self.waiting) + 1

    def hear(self, case: Case) -> None:
        """Take away the canaries that `case` shows."""
        if self.historical is not None and red(judge_case(case, self.historical)):
            self.historical = None
        self.waiting = [c for c in self.waiting if not self._shows(case, c[1], c[2])]

    def _shows(self, case: Case, number: int, shows: str) -> bool:
        workspace, ours = prepare(case)
        with np.errstate(over="ignore"):
            pages = int(self.sound.function(workspace.theirs))
            pages += int(judges_of(case.arch).spoil(workspace, number))
        judgement = judge_outcome(case, "canary", workspace, ours, pages, NONE)
        return bool(judgement.union >> classes.NUMBER[shows] & 1)

    def missed(self) -> list[str]:
        """What no case has shown so far."""
        names = [f"{name} ({shows})" for name, _, shows in self.waiting]
        return names if self.historical is None else [*names, HISTORICAL]
