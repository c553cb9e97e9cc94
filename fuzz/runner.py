"""A campaign: canaries first, then chunks of random cases over one or more processes.

Each chunk is a range of case numbers; tallies are sums, so results merge to the
same whatever the order. In a work directory it goes on where an earlier run ended.
"""

import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from harness import classes
from harness.findings import replay_lines, save
from harness.relation import EXACT
from harness.render import finding
from harness.targets import load

from . import alarm, exits
from .baseline import AddedHunter
from .chunks import Chunk, run_chunk, run_in_jobs
from .hunter import RED, Found, Growth, Hunter
from .novelty import NR_SIGHTS, Novelty, sights
from .store.journal import Journal
from .store.ranges import Ranges
from .store.standing import Kept, Standing
from .store.store import Entry
from .terminal import Progress, print_lines
from .workers import Workers

# Each case that diverges is judged once more, by Python.
BASELINE_CHUNK = 500


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
    cases: int | None = None  # in all, over all runs
    seconds: float | None = None  # of this run
    plateau: float | None = None  # seconds of this run in which nothing new is seen
    jobs: int = 1
    window: int = 0
    hang: float = 10.0  # seconds until a target that can take its process down is given up
    engine: str = "random"
    baseline: str = ""  # a target whose own divergences are no findings

    def hunter(self, target: str | None = None) -> Hunter:
        """A hunter for this plan, or for another target under the same plan."""
        loaded = load(target or self.target, self.arch)
        facts = (self.kernel, self.seed, self.batching, self.denied, self.cap, self.window)
        if self.baseline:
            return AddedHunter(loaded, *facts, baseline=load(self.baseline, self.arch))
        return hunter_of(self.engine)(loaded, *facts)


def hunter_of(engine: str) -> type[Hunter]:
    """The class of hunters of `engine`; those without one get random cases elsewhere only.

    Importing that of guided compiles.
    """
    if engine != "guided":
        return Hunter
    from .guided.engine import Guided

    return Guided


class Campaign:
    """One campaign and what it found so far."""

    def __init__(self, plan: Plan, *, quiet: bool, journal: Journal | None = None) -> None:
        """Prepare; nothing runs yet. `quiet`: results only. `journal`: what is known, and kept."""
        self.plan = plan
        self.quiet = quiet
        self.journal = journal
        self.standing = journal.standing if journal else Standing()
        self.before = self.standing.cases  # cases of earlier runs
        self.seconds_before = self.standing.seconds
        self.interrupted = False
        self.cpu = 0.0
        self.canary_line = ""
        self.stopped = ""  # why a campaign ended before its budget was used up
        self.hunter = plan.hunter()
        # The corpus of a guided engine, as far as it outlives this process.
        entries = journal.entries() if journal else []
        self.hunter.load(entries)
        self.taken_up = len(entries)
        self._known = {int(feature) for entry in entries for feature in entry.features}
        self.novelty = Novelty(self.tally)

    @property
    def tally(self) -> Any:
        """The counts, of earlier runs too, as in `harness.census`."""
        return self.standing.tally

    @property
    def seen(self) -> Any:
        """Per class, the cases that diverged by it."""
        return self.standing.seen

    @property
    def flaky(self) -> list[str]:
        """The cases that diverged only sometimes."""
        return self.standing.flaky

    @property
    def paths(self) -> list[Path]:
        """The files of the findings."""
        return [kept.path for kept in self.standing.kept]

    @property
    def first_finding(self) -> float | None:
        """After how many seconds the first finding came."""
        return self.standing.first_finding

    @property
    def elapsed(self) -> float:
        """How many seconds the campaign has run, earlier runs included."""
        return self.standing.seconds

    # Canaries.

    def missed_canaries(self) -> list[str]:
        """The names of canaries that the loop did not catch; empty if the alarm works."""
        started = time.perf_counter()
        plan = self.plan
        missed = alarm.missed_canaries(plan.arch, plan.kernel, plan.window, hunter_of(plan.engine))
        took = time.perf_counter() - started
        count = alarm.nr_canaries(self.plan.arch)
        self.canary_line = f"canaries: {count} of {count} caught in {took:.2f} s"
        return missed

    # The campaign itself.

    def resume_line(self) -> str:
        """What is skipped, in one line; empty if nothing is."""
        if not self.before:
            return ""
        first, last = self.standing.done.next_missing(0)
        done = f"{self.before} cases done before"
        if self.plan.cases is not None and first >= self.plan.cases:
            return f"{self.plan.arch}: nothing left to do; {done}"
        later = "" if last is None else ", some behind it, too"
        found = f", {self.diverging()} diverged" if self.diverging() else ""
        corpus = f"; {self.taken_up} cases of its corpus are taken up" if self.taken_up else ""
        return f"{self.plan.arch}: goes on at case {first}; {done}{later}{found}{corpus}"

    def run(self) -> None:
        """Run until the plan's budget is used up or a first Ctrl-C."""
        progress = Progress(quiet=self.quiet)
        started, cpu = time.perf_counter(), time.process_time()
        before = signal.signal(signal.SIGINT, self._interrupt)
        self.novelty = Novelty(self.tally)
        try:
            for chunk in self._chunks(started):
                self._merge(chunk, progress, started)
        finally:
            signal.signal(signal.SIGINT, before)
            progress.clear()
            took = time.perf_counter() - started
            self.standing.seconds = self.seconds_before + took
            if self.journal:
                self.journal.close(took)
        self.cpu = time.process_time() - cpu

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        """End after the chunks under way; a second Ctrl-C ends at once."""
        if self.interrupted:
            raise KeyboardInterrupt
        self.interrupted = True

    def _bounds(self, started: float) -> Iterator[tuple[int, int]]:
        hunter = self.hunter
        size = hunter.chunk if hunter.target.compiled else hunter.python_chunk
        if self.plan.baseline:
            size = min(size, BASELINE_CHUNK)
        # A first small chunk shows a shallow bug at once.
        step = min(size, 500)
        done, first, any_yet = Ranges(self.standing.done), 0, False
        while not self.interrupted:
            first, known = done.next_missing(first)
            ends = (first + step, known, self.plan.cases)
            last = min(end for end in ends if end is not None)
            if first >= last or (any_yet and self._is_over(started)):
                return
            yield first, last
            first, step, any_yet = last, size, True

    def _is_over(self, started: float) -> bool:
        """Whether time is up, or nothing new comes."""
        plan = self.plan
        if plan.seconds is not None and time.perf_counter() - started >= plan.seconds:
            return True
        if plan.plateau is not None and self.novelty.seconds() >= plan.plateau:
            self.stopped = f"plateau: nothing new for {plan.plateau:g} s"
            return True
        return False

    def _chunks(self, started: float) -> Iterator[Chunk]:
        bounds = self._bounds(started)
        if self.hunter.target.contained:
            self.hunter.start()
            workers = Workers(self._another, self.plan.jobs, self.plan.hang)
            for part in workers.run(bounds):
                yield Chunk(part.first, part.last, part.tally, part.seen, part.found, part.growth)
            self.stopped = workers.why or self.stopped
        elif self.plan.jobs == 1:
            for first, last in bounds:
                yield run_chunk(self.hunter, first, last)
        else:
            self.hunter.start()
            yield from run_in_jobs(self._another, self.plan.jobs, bounds)

    def _another(self) -> Hunter:
        """A hunter for another process, which begins as the one of this does."""
        hunter = self.plan.hunter()
        hunter.begin_as(self.hunter)
        return hunter

    def _merge(self, chunk: Chunk, progress: Progress, started: float) -> None:
        standing = self.standing
        standing.tally += chunk.tally
        standing.seen += chunk.seen
        standing.done.add(chunk.first, chunk.last)
        took = time.perf_counter() - started
        standing.seconds = self.seconds_before + took
        kept = [(found, file) for found in chunk.found if (file := self._keep(found))]
        self.novelty.look(standing.tally, other=bool(kept))
        entries = self._news(chunk.growth)
        # Before it is shown: what a user has seen must not be lost.
        if self.journal:
            self.journal.note(took, at_once=bool(kept), entries=entries)
        for found, file in kept:
            self._show(found, file, progress)
        progress.update(self._progress_line(took))

    @property
    def corpus(self) -> int:
        """How many cases of a guided engine's corpus outlive this process."""
        return self.journal.corpus if self.journal else 0

    def _news(self, growth: Growth) -> list[Entry]:
        """The entries for whose features no range before had a case, in whichever process."""
        news = [e for e in growth.entries if not self._known.issuperset(map(int, e.features))]
        self._known.update(map(int, growth.features))
        return news

    def _keep(self, found: Found) -> Kept | None:
        """Save a finding, unless its class has had its share."""
        bits = found.judgement.union & (RED | self.plan.denied)
        if not bits:
            # The loop saw a divergence that a second run of the same case does not show.
            self.flaky.append(str(found))
            return None
        name = classes.names(bits)[0]
        if self.standing.kept_of(name) >= self.plan.cap:
            return None
        if self.journal:
            kept = self.journal.keep(found, name)
        else:
            path = save(found.judgement, found.number, self.plan.denied)
            kept = Kept(name, path, str(found))
        if any(kept.path == known.path for known in self.standing.kept):
            return None  # two numbers of one case
        self.standing.kept.append(kept)
        if self.standing.first_finding is None:
            self.standing.first_finding = self.standing.seconds
        return kept

    def _show(self, found: Found, kept: Kept, progress: Progress) -> None:
        if self.quiet:
            return
        progress.clear()
        print()
        print_lines(finding(found.judgement, self.plan.denied))
        print()
        case, target = found.judgement.case, found.judgement.target
        for line in replay_lines(case, target, kept.path, found.number):
            print(f"    replay:  {line}")
        print(flush=True)

    def _progress_line(self, took: float) -> str:
        cases = self.standing.cases
        rate = (cases - self.before) / max(took, 1e-9)
        line = (
            f"fuzz: {self.plan.arch}: {cases} cases, {rate:.0f} cases/s, "
            f"{sights(self.tally)} of {NR_SIGHTS} sights"
        )
        if self.corpus:
            line += f", corpus {self.corpus}"
        if not self.diverging():
            return f"{line}, nothing diverges"
        by_class = (f"{count} {name}" for name, count in self.standing.diverging().items())
        return f"{line}, {self.diverging()} diverge: {', '.join(by_class)}"

    # The end.

    def diverging(self) -> int:
        """How many cases diverged, shown or not."""
        return int(self.seen.sum())

    def is_complete(self) -> bool:
        """Whether every case of a budget of cases is done."""
        return self.plan.cases is not None and self.standing.done.has(0, self.plan.cases)

    def exit_code(self) -> int:
        """The exit code of the campaign, over all its runs."""
        codes = [exits.OK]
        if self.flaky:
            codes.append(exits.FLAKY)
        if self.diverging():
            codes.append(exits.DIVERGENCE)
        if self.standing.cases == self.before and not self.is_complete():
            codes.append(exits.TOO_LITTLE)
        return exits.worst(codes)

    def why(self) -> str:
        """What ended the campaign."""
        if self.interrupted:
            return "interrupted"
        if self.stopped:
            return self.stopped
        return "case budget reached" if self.is_complete() else "time budget reached"

    def ending(self) -> str:
        """What the campaign ended with, and why, in one line."""
        found = self.diverging()
        what = f"{found} cases diverge" if found else "nothing unexplained"
        if self.plan.baseline:
            # What both show was judged, too, and is not nothing.
            what += f" that {self.plan.baseline} does not show, too"
        if self.flaky:
            what += f", {len(self.flaky)} do so only sometimes ({self.flaky[0]})"
        before = f" ({self.before} of them before)" if self.before else ""
        return f"{self.standing.cases} cases{before}, {what}; {self.why()}"
