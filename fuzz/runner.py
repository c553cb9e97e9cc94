"""A campaign: canaries first, then chunks of random cases over one or more processes.

Each chunk is a range of case numbers; tallies are sums, so results merge to the
same whatever the order, and one job or eight report the same.
"""

import multiprocessing
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np

from harness import classes
from harness.canaries import canaries_of, number_of
from harness.census import CASES, empty_tally
from harness.conform import HISTORICAL
from harness.findings import replay_lines, save
from harness.relation import EXACT, NONE
from harness.render import finding
from harness.targets import load

from . import exits
from .hunter import RED, Found, Hunter
from .terminal import Progress, print_lines
from .workers import Workers

# A canary is due within so many cases; each took fewer than ten when it was planted.
CANARY_CASES = 3_000
# Small enough that Ctrl-C and the progress line answer at once.
CHUNK = 10_000
PYTHON_CHUNK = 50


@dataclass(frozen=True)
class Plan:
    """What a campaign is to do."""

    arch: str
    kernel: str
    target: str
    seed: int
    batching: int = EXACT
    denied: int = 0
    cap: int = 3
    cases: int | None = None
    seconds: float | None = None
    jobs: int = 1
    window: int = 0
    hang: float = 10.0  # seconds until a target that can take its process down is given up

    def hunter(self, target: str | None = None) -> Hunter:
        """A hunter for this plan, or for another target under the same plan."""
        return Hunter(
            load(target or self.target, self.arch),
            self.kernel,
            self.seed,
            self.batching,
            self.denied,
            self.cap,
            self.window,
        )


@dataclass
class Chunk:
    """What one range of cases gave."""

    first: int
    last: int
    tally: Any
    seen: Any
    found: list[Found]


def run_chunk(hunter: Hunter, first: int, last: int) -> Chunk:
    """Run cases [first, last) and give what they added; the hunter's counts restart."""
    hunter.tally[:] = 0
    hunter.seen[:] = 0
    found = [hunter.found(index) for index in hunter.finds(first, last)]
    return Chunk(first, last, hunter.tally.copy(), hunter.seen.copy(), found)


_worker: Hunter | None = None


def _start_worker(plan: Plan) -> None:
    """Make this process's hunter; Ctrl-C is the parent's business."""
    global _worker
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _worker = plan.hunter()


def _work(bounds: tuple[int, int]) -> Chunk:
    assert _worker is not None
    return run_chunk(_worker, *bounds)


class Campaign:
    """One campaign and what it found so far."""

    def __init__(self, plan: Plan, *, quiet: bool) -> None:
        """Prepare; nothing runs yet. `quiet`: results only."""
        self.plan = plan
        self.quiet = quiet
        self.tally = empty_tally()
        self.seen = np.zeros(classes.NR_CLASSES, np.int64)
        self.paths: list[Path] = []
        self.shown: dict[str, int] = {}
        self.flaky: list[str] = []
        self.interrupted = False
        self.elapsed = 0.0
        self.cpu = 0.0
        self.first_finding: float | None = None
        self.canary_line = ""
        self.stopped = ""  # why a campaign ended before its budget was used up
        self.hunter = plan.hunter()

    # Canaries.

    def missed_canaries(self) -> list[str]:
        """The names of canaries that the loop did not catch; empty if the alarm works.

        Each goes through the loop that the campaign will run, with the reference
        as the sound target whose outcome is spoiled.
        """
        missed = []
        started = time.perf_counter()
        canaries = canaries_of(self.plan.arch)
        sound = load("reference", self.plan.arch)
        hunter = Hunter(sound, self.plan.kernel, seed=1, batching=NONE, cap=1)
        for canary in canaries:
            hunter.seen[:] = 0
            wanted = 1 << classes.NUMBER[canary.shows]
            if hunter.hunt(0, CANARY_CASES, number_of(canary), wanted) == CANARY_CASES:
                missed.append(f"{canary.name} ({canary.shows})")
        # The one that only a batch that starts in the middle of a folio can show.
        mid_folio = Hunter(load(HISTORICAL, self.plan.arch), self.plan.kernel, seed=1, cap=1)
        if mid_folio.hunt(0, CANARY_CASES) == CANARY_CASES:
            missed.append(HISTORICAL)
        took = time.perf_counter() - started
        self.canary_line = (
            f"canaries: {len(canaries) + 1} of {len(canaries) + 1} caught in {took:.2f} s"
        )
        return missed

    # The campaign itself.

    def run(self) -> None:
        """Run until the plan's budget is used up or a first Ctrl-C."""
        progress = Progress(quiet=self.quiet)
        started, cpu = time.perf_counter(), time.process_time()
        before = signal.signal(signal.SIGINT, self._interrupt)
        try:
            for chunk in self._chunks(started):
                self._merge(chunk, progress, started)
        finally:
            signal.signal(signal.SIGINT, before)
            progress.clear()
        self.elapsed = time.perf_counter() - started
        self.cpu = time.process_time() - cpu

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        """End after the chunks under way; a second Ctrl-C ends at once."""
        if self.interrupted:
            raise KeyboardInterrupt
        self.interrupted = True

    def _bounds(self, started: float) -> Iterator[tuple[int, int]]:
        size = CHUNK if self.hunter.target.compiled else PYTHON_CHUNK
        # A first small chunk shows a shallow bug at once.
        first, step = 0, min(size, 500)
        while not self.interrupted:
            last = first + step
            if self.plan.cases is not None:
                last = min(last, self.plan.cases)
            out_of_time = (
                self.plan.seconds is not None and time.perf_counter() - started >= self.plan.seconds
            )
            if first == last or (out_of_time and first > 0):
                return
            yield first, last
            first, step = last, size

    def _chunks(self, started: float) -> Iterator[Chunk]:
        if self.hunter.target.contained:
            workers = Workers(self.plan.hunter, self.plan.jobs, self.plan.hang)
            for part in workers.run(self._bounds(started)):
                yield Chunk(part.first, part.last, part.tally, part.seen, part.found)
            self.stopped = workers.why
            return
        if self.plan.jobs == 1:
            for first, last in self._bounds(started):
                yield run_chunk(self.hunter, first, last)
            return
        # Forked after everything is compiled and loaded.
        context = multiprocessing.get_context("fork")
        with context.Pool(self.plan.jobs, _start_worker, (self.plan,)) as pool:
            under_way: list[Any] = []
            for bounds in self._bounds(started):
                under_way.append(pool.apply_async(_work, (bounds,)))
                if len(under_way) > 2 * self.plan.jobs:
                    yield under_way.pop(0).get()
            for result in under_way:
                yield result.get()

    def _merge(self, chunk: Chunk, progress: Progress, started: float) -> None:
        self.tally += chunk.tally
        self.seen += chunk.seen
        for found in chunk.found:
            self._keep(found, progress, started)
        took = time.perf_counter() - started
        cases = int(self.tally[CASES])
        findings = int(self.seen.sum())
        progress.update(
            f"fuzz: {cases} cases, {cases / max(took, 1e-9):.0f} cases/s, {findings} diverge"
        )

    def _keep(self, found: Found, progress: Progress, started: float) -> None:
        """Save and show a finding, unless its class has had its share."""
        bits = found.judgement.union & (RED | self.plan.denied)
        if not bits:
            # The loop saw a divergence that a second run of the same case does not show.
            self.flaky.append(str(found.number))
            return
        name = classes.names(bits)[0]
        if self.shown.get(name, 0) >= self.plan.cap:
            return
        self.shown[name] = self.shown.get(name, 0) + 1
        path = save(found.judgement, found.number, self.plan.denied)
        self.paths.append(path)
        if self.first_finding is None:
            self.first_finding = time.perf_counter() - started
        if self.quiet:
            return
        progress.clear()
        print()
        print_lines(finding(found.judgement, self.plan.denied))
        print()
        case, target = found.judgement.case, found.judgement.target
        for line in replay_lines(case, target, path, found.number):
            print(f"    replay:  {line}")
        print(flush=True)

    # The end.

    def diverging(self) -> int:
        """How many cases diverged, shown or not."""
        return int(self.seen.sum())

    def exit_code(self) -> int:
        """The exit code of the campaign."""
        codes = [exits.OK]
        if self.flaky:
            codes.append(exits.FLAKY)
        if self.diverging():
            codes.append(exits.DIVERGENCE)
        if int(self.tally[CASES]) == 0:
            codes.append(exits.TOO_LITTLE)
        return exits.worst(codes)

    def why(self) -> str:
        """What ended the campaign."""
        why = "time budget reached" if self.plan.cases is None else "case budget reached"
        if (
            self.plan.cases is not None
            and self.plan.seconds is not None
            and int(self.tally[CASES]) < self.plan.cases
        ):
            why = "time budget reached"
        return "interrupted" if self.interrupted else self.stopped or why

    def ending(self) -> str:
        """What the campaign ended with, and why, in one line."""
        found = self.diverging()
        what = f"{found} cases diverge" if found else "nothing unexplained"
        if self.flaky:
            what += f", {len(self.flaky)} do so only sometimes ({self.flaky[0]})"
        return f"{int(self.tally[CASES])} cases, {what}; {self.why()}"
