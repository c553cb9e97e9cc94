"""One run of `midfolio live`: the control first, then one model, or both sides on the same layouts."""

import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from harness.live import session
from harness.live.oracle import PAGES, PAGES_INTERPRETED, Oracle
from harness.live.session import Budget, Finding, Session

from .. import exits
from ..terminal import Progress

if TYPE_CHECKING:
    from harness.live.probes import Live
    from harness.targets import Target

SECONDS = 10.0
# Fewer operations than this prove nothing, unless --ops asked for fewer.
FLOOR = 100
# Signals that end a run cleanly: a terminal that goes away sends the last one.
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Asked(NamedTuple):
    """What the command line asks of a run."""

    kinds: tuple[str, ...]
    seed: int
    layout: int | None
    pages: int | None
    ops: int | None
    seconds: float | None

    @property
    def budget(self) -> Budget:
        """When one run ends."""
        bounded = self.ops is not None or self.seconds is not None or self.layout is not None
        return Budget(self.ops, self.seconds if bounded else SECONDS)


class Run:
    """What several runs on one machine share."""

    def __init__(
        self, live: "Live", asked: Asked, directory: Path, *, quiet: bool, progress: Progress
    ) -> None:
        """Nothing runs yet. `directory`: for files that are mapped."""
        self.live, self.asked, self.directory = live, asked, directory
        self.quiet, self.progress = quiet, progress
        self.control = ""
        self.interrupted = False
        self._running: Session | None = None

    def oracle(self, model: "Target", kinds: tuple[str, ...], seed: int) -> Oracle:
        """An oracle with `model` as its model."""
        pages = self.asked.pages or (PAGES if model.compiled else PAGES_INTERPRETED)
        return Oracle(self.live, model, seed, kinds, self.directory, pages)

    def catches(self, mutant: "Target", kinds: tuple[str, ...]) -> bool:
        """Whether the control, a known bug as the model, is contradicted in time."""
        started = time.perf_counter()
        oracle = self.oracle(mutant, kinds, 1)
        caught = session.catches(oracle)
        did = "contradicted" if caught else "not contradicted"
        self.control = (
            f"control: {mutant.name} {did} after {oracle.tally.operations} operations, "
            f"{time.perf_counter() - started:.2f} s"
        )
        return caught

    def machine(self, models: str) -> str:
        """The first line of a report: `models` names what the kernel is held against."""
        live = self.live
        flushes = "flushes judged" if live.flushes else f"flushes not judged: {live.no_flushes}"
        return (
            f"Linux {live.release} ({live.machine.arch}, modelled as {live.version}), "
            f"{models}, {', '.join(self.asked.kinds)}; {flushes}"
        )

    def session(self, model: "Target", show: Any, budget: Budget) -> Session:
        """A finished run of `model`; `show` is told of each finding."""
        oracle = self.oracle(model, self.asked.kinds, self.asked.seed)
        made = Session(oracle, budget, show, self.progress.update)
        self._interruptible(made, oracle)
        self.progress.clear()
        return made

    def _interruptible(self, made: Session, oracle: Oracle) -> None:
        """Run; a first Ctrl-C, SIGTERM or SIGHUP ends it cleanly, a second one at once."""

        def interrupt(number: int, frame: Any) -> None:
            if self.interrupted:
                raise KeyboardInterrupt
            self.interrupted = made.interrupted = oracle.stopped = True

        before = {
            number: signal.signal(number, interrupt)
            for number in ENDING
            # Under nohup it stays as it is.
            if signal.getsignal(number) is not signal.SIG_IGN
        }
        first = self.asked.layout
        try:
            if first is None:
                made.run()
            else:
                made.run(first, first + 1)
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    # What a session comes to.

    def codes(self, done: Session) -> list[int]:
        """Every exit code that applies to `done`."""
        tally = done.oracle.tally
        codes = [exits.OK]
        if tally.mismatches or tally.marked:
            codes.append(exits.DIVERGENCE)
        if self.too_little(done) or done.is_noisy:
            codes.append(exits.TOO_LITTLE)
        return codes

    def too_little(self, done: Session) -> bool:
        """Whether `done` proves nothing: too few operations, or no large folio."""
        floor = 1 if self.asked.layout is not None else min(FLOOR, self.asked.ops or FLOOR)
        return done.oracle.tally.operations < floor or not self._has_large(done)

    def _has_large(self, done: Session) -> bool:
        return self.asked.layout is not None or any(n > 1 for n in done.oracle.tally.folios)

    def why(self, done: Session) -> str:
        """Why `done` ended, or what is wrong with it."""
        if done.interrupted:
            return "interrupted"
        if done.is_noisy:
            return "too much noise: something else changes these entries"
        if not self._has_large(done):
            return "no large folio came"
        if self.asked.layout is not None:
            return "layout done"
        if self.asked.ops is not None and done.oracle.tally.operations >= self.asked.ops:
            return "operation budget reached"
        return "time budget reached"


class Shown:
    """Draws, saves and prints findings of one model."""

    def __init__(self, model: "Target", release: str, *, quiet: bool) -> None:
        """Of `model` against the kernel `release`."""
        self.model, self.release, self.quiet = model, release, quiet
        self.paths: list[str] = []

    def show(self, finding: Finding) -> None:
        """Save `finding`, and print it with its commands unless all is quiet."""
        from harness.live import keeping

        from ..terminal import print_lines

        lines = keeping.drawing(finding.observed, self.model, self.release)
        path = keeping.save(finding, self.model, self.release, lines)
        self.paths.append(str(path))
        if self.quiet:
            return
        again = "seen again" if finding.repeats else "not seen again"
        print(f"\n{finding.name} ({finding.observed.why}), {again}:")
        print_lines(lines)
        print()
        for line in keeping.commands(finding.observed, self.model.name, path):
            print(f"    replay:  {line}")
        print(flush=True)
