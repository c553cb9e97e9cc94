"""A run: the control first, then layouts until the budget is used up; noise told from difference."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from harness import classes

from .judging import RED
from .oracle import Observed, Oracle
from .plans import GROUP

OF_FLUSHES = ("flush-missing", "flush-unneeded", "flush-outside", "extra-flush", "flush-elided")
# Within so many operations and seconds the control must be caught. It took fewer than a hundred
# operations: 0.2 s compiled, 0.5 s interpreted, and a minute or two interpreted in a guest.
CONTROL_OPERATIONS = 5_000
CONTROL_SECONDS, CONTROL_SECONDS_INTERPRETED = 10.0, 300.0
# Accessed bits that something else of the machine clears: measured 5 in 100,000 operations.
NOISE_EVERY = 5_000
NOISE_ALWAYS = 3  # in a run too short to tell a rate
RERUNS = 2
CAP = 3  # findings kept of each sort
FLUSH_BITS = sum(1 << number for number, c in enumerate(classes.CLASSES) if c.name in OF_FLUSHES)


@dataclass
class Finding:
    """A contradiction that is none of the machine's noise."""

    observed: Observed
    name: str  # what it is counted as
    repeats: bool  # the same step on the same layout, made anew, shows it again


@dataclass
class Budget:
    """When to end: after so many operations, or so many seconds."""

    operations: int | None
    seconds: float | None

    def is_used_up(self, operations: int, elapsed: float) -> bool:
        """Whether a run ends here."""
        if self.operations is not None and operations >= self.operations:
            return True
        return self.seconds is not None and elapsed >= self.seconds


def name_of(observed: Observed) -> str:
    """What an observation is counted as: its first red class, or what differs from the model."""
    red = observed.verdict.union & RED
    if observed.why == "words":
        # The flushes are the model's, which is wrong about the words already.
        red &= ~FLUSH_BITS
    if observed.why in ("words", "relation") and red:
        return classes.names(red)[0]
    if observed.why == "words":
        return "unlike-model"
    return observed.why.split(":")[0].replace(" ", "-")


@dataclass
class Session:
    """One run of an oracle."""

    oracle: Oracle
    budget: Budget
    show: Callable[[Finding], None]
    progress: Callable[[str], None]
    findings: list[Finding] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    elapsed: float = 0.0
    first_mismatch: float | None = None
    interrupted: bool = False
    _started: float = 0.0

    def run(self, first: int = 0, last: int | None = None) -> None:
        """Run layouts from `first` on, below `last`, until the budget is used up or it is interrupted."""
        self._started = time.perf_counter()
        if self.budget.seconds is not None:
            # A guest takes half a minute for one layout.
            self.oracle.deadline = self._started + self.budget.seconds
        tally = self.oracle.tally
        index = first
        while not self._is_over() and (last is None or index < last):
            # A group shares a fork and the arming of soft-dirty tracking.
            end = (index // GROUP + 1) * GROUP
            self._group(list(range(index, end if last is None else min(end, last))))
            index = end
            self.elapsed = time.perf_counter() - self._started
            speed = tally.operations / max(self.elapsed, 1e-9)
            self.progress(
                f"live: {tally.operations} operations, {speed:.0f}/s, {tally.mismatches} mismatches"
            )
        self.elapsed = time.perf_counter() - self._started

    def _is_over(self) -> bool:
        elapsed = time.perf_counter() - self._started
        return self.interrupted or self.budget.is_used_up(self.oracle.tally.operations, elapsed)

    def _group(self, indices: list[int]) -> None:
        found: list[Observed] = []
        slots = self.oracle.make(indices)
        for slot in slots:
            self.oracle.count_folios(slot)
        for slot in slots:
            if self._is_over():
                break
            for observed in self.oracle.run(slot):
                if self.first_mismatch is None:
                    self.first_mismatch = time.perf_counter() - self._started
                found.append(observed)
        # Not before: a re-run takes the place of a layout.
        for observed in found:
            self._settle(observed)

    def _settle(self, observed: Observed) -> None:
        """Count an observation as noise, or as a mismatch; keep the first few."""
        name = name_of(observed)
        if self.counts.get(name, 0) >= CAP:
            self._count(name)
            return
        repeats = [self._shows_again(observed) for _ in range(RERUNS)]
        if is_quiet(observed, self.oracle) and not all(repeats):
            tally = self.oracle.tally
            # Neither bears on what the call did: it touches nothing outside its range.
            apart = observed.preempted or observed.why == "outside"
            counts = tally.apart if apart else tally.noise
            name = "preempted" if observed.preempted else name
            counts[name] = counts.get(name, 0) + 1
            return
        self._count(name)
        finding = Finding(observed, name, all(repeats))
        self.findings.append(finding)
        self.show(finding)

    def _count(self, name: str) -> None:
        self.counts[name] = self.counts.get(name, 0) + 1
        self.oracle.tally.mismatches += 1

    def _shows_again(self, observed: Observed) -> bool:
        oracle = self.oracle
        kept, deadline = oracle.tally, oracle.deadline
        oracle.tally, oracle.deadline = type(kept)(), math.inf
        # Even a run that ends is told noise from difference.
        stopped, oracle.stopped = oracle.stopped, False
        try:
            again = oracle.again(observed.layout, observed.step)
        finally:
            oracle.tally, oracle.deadline = kept, deadline
            oracle.stopped = oracle.stopped or stopped
        return any(name_of(other) == name_of(observed) for other in again)

    @property
    def is_noisy(self) -> bool:
        """Whether there was more noise than a run may have: one in NOISE_EVERY operations."""
        tally = self.oracle.tally
        return sum(tally.noise.values()) > max(NOISE_ALWAYS, tally.operations // NOISE_EVERY)


def is_quiet(observed: Observed, oracle: Oracle) -> bool:
    """Whether something else of the machine could have done it: accessed bits alone, or a flush."""
    if observed.why == "flush":
        return True
    accessed = oracle.live.machine.paging.accessed
    return observed.verdict.differing != 0 and not observed.verdict.differing & ~accessed


def catches(
    oracle: Oracle, operations: int = CONTROL_OPERATIONS, seconds: float | None = None
) -> bool:
    """Whether the oracle's model, a known bug, is contradicted within so many operations and seconds.

    Without `seconds`, as many as its model needs by far: CONTROL_SECONDS.
    """
    if seconds is None:
        compiled = oracle.model.target.compiled
        seconds = CONTROL_SECONDS if compiled else CONTROL_SECONDS_INTERPRETED
    oracle.deadline = time.perf_counter() + seconds
    index = 0
    while oracle.tally.operations < operations and not oracle.is_over:
        for slot in oracle.make(list(range(index, index + GROUP))):
            for observed in oracle.run(slot):
                if not is_quiet(observed, oracle):
                    return True
        index += GROUP
    return False
