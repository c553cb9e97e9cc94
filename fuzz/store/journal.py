"""The journal of a campaign: what it comes to, written down while it runs.

What a user has been shown was committed before; of counts, the last second may be lost, and
the cases that they count are run again.
"""

import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from harness import classes
from harness.findings import save
from harness.relation import ANY, EXACT, NONE

from ..choices import GENERATOR_VERSION
from ..content import content_of
from .standing import Kept, Standing
from .stats import stats, write_stats
from .store import Entry, Key
from .work import WorkDirectory, writing

if TYPE_CHECKING:
    from ..hunter import Found
    from ..runner import Plan

SAVE_EVERY = 0.5  # seconds
STATS_EVERY = 1.0
_BATCHING = {EXACT: "exact", ANY: "any", NONE: "none"}


def key_of(plan: "Plan") -> Key:
    """What makes a run of `plan` the same campaign as an earlier one."""
    return Key(
        arch=plan.arch,
        kernel=plan.kernel,
        target=plan.target,
        content=content_of(plan.target, plan.arch),
        batching=_BATCHING[plan.batching],
        denied=",".join(classes.names(plan.denied)),
        engine=plan.engine,
        seed=str(plan.seed),
        version=GENERATOR_VERSION,
        window=plan.window,
    )


def is_complete(work: WorkDirectory, plan: "Plan") -> bool:
    """Whether the cases that `plan` asks for are all done."""
    campaign = work.store.find(key_of(plan))
    if campaign is None or plan.cases is None:
        return False
    return work.store.standing(campaign).done.has(0, plan.cases)


class Journal:
    """The record of one campaign in a work directory."""

    def __init__(self, work: WorkDirectory, plan: "Plan", *, fresh: bool, repeat: bool) -> None:
        """Begin, or go on with what earlier runs left.

        `fresh` forgets that. `repeat` runs cases of it again, and leaves it alone.
        """
        self.work, self.plan = work, plan
        self.standing = Standing()
        self.campaign: int | None = None
        if not repeat:
            self.campaign = work.store.begin(key_of(plan), fresh=fresh)
            self.standing = work.store.standing(self.campaign)
        self.before = self.standing.cases
        # How many entries the corpus of a guided engine has.
        self.corpus = 0 if self.campaign is None else work.store.nr_entries(self.campaign)
        self._saved = self._stats = 0.0

    def keep(self, found: "Found", name: str) -> Kept:
        """Write the finding, of class `name`, to its file."""
        with writing(f"finding {name} of case {found}"):
            path = save(found.judgement, found.number, self.plan.denied, self.work.findings)
        return Kept(name, path, str(found))

    def entries(self) -> list[Entry]:
        """The corpus that earlier runs left."""
        return [] if self.campaign is None else list(self.work.store.entries(self.campaign))

    def note(self, seconds: float, *, at_once: bool, entries: Iterable[Entry] = ()) -> None:
        """Write the standing down if it is time to, or if it must be `at_once`, with new entries.

        `seconds`: since this run began.
        """
        now = time.monotonic()
        entries = list(entries)
        if at_once or entries or now - self._saved >= SAVE_EVERY:
            self._saved = now
            if self.campaign is not None:
                self.work.store.save(self.campaign, self.standing, entries)
                if entries:
                    self.corpus = self.work.store.nr_entries(self.campaign)
        if now - self._stats >= STATS_EVERY:
            self._stats = now
            self._write_stats(seconds)

    def close(self, seconds: float) -> None:
        """Write everything down."""
        self.note(seconds, at_once=True)
        self._write_stats(seconds)

    def _write_stats(self, seconds: float) -> None:
        path: Path = self.work.stats
        cases = self.standing.cases - self.before
        with writing(str(path)):
            write_stats(path, stats(self.plan, self.standing, cases, seconds, self.corpus))
