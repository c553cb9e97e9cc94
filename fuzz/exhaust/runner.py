"""An exhaustive run: a canary, then every range of the scope over the jobs, then a certificate.

Ranges are merged in their order, so what is done is one number; it is written after
each, by rename, and a run that was killed goes on behind it. The range in the middle
is run by this process too, which must come to the same as the job that has it.
"""

import json
import multiprocessing
import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from harness import classes
from harness.case import CaseError
from harness.contain import die_with_parent
from harness.findings import default_work, replay_lines, save
from harness.relation import ANY, EXACT, NONE
from harness.render import finding
from harness.run import judge_case
from harness.targets import load
from harness.whole import write_whole
from mm.jit import COMPILED

from .. import exits
from ..content import content_of
from ..hunter import RED
from ..terminal import Progress, print_lines
from .certificate import certificate, described, lines, to_json
from .scope import Runner, Scope, Sums

HISTORICAL = "zoo:first-page-is-folio-head"
# About half a second of work.
CHUNK = 500_000
# Cases between two looks at the clock where Python runs them.
INTERPRETED_CHUNK = 2_000
CAP = 3  # findings that are kept for each class
SAVE_EVERY = 1.0  # seconds
_BATCHING = {EXACT: "exact", ANY: "any", NONE: "none"}


@dataclass(frozen=True)
class Plan:
    """What is to be done."""

    arch: str
    kernel: str
    target: str
    k: int
    raw: bool = False
    asks: tuple[str, ...] = ()
    batching: int = EXACT
    jobs: int = 1
    work: Path | None = None
    restart: bool = False

    @property
    def scope(self) -> Scope:
        """The scope of the run."""
        return Scope(self.arch, self.kernel, self.k, self.raw, self.asks)

    def runner(self) -> Runner:
        """A runner in this process."""
        return Runner(self.scope, load(self.target, self.arch), RED, self.batching)

    @property
    def directory(self) -> Path:
        """Where state and certificate are kept."""
        return self.work or default_work() / "exhaust"

    @property
    def name(self) -> str:
        """The stem of the run's files."""
        words = [self.arch, self.kernel, f"{self.k}-ptes", "raw" if self.raw else "canonical"]
        words += ["+".join(sorted(self.asks))] if self.asks else []
        return "-".join([*words, self.target.replace(":", "-").replace("/", "-")])


_worker: Runner | None = None


def _start_worker(parent: int, plan: Plan) -> None:
    """Make this process's runner; Ctrl-C is the parent's business, and a killed one takes it along."""
    global _worker
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    die_with_parent(parent)
    _worker = plan.runner()


def _work(bounds: tuple[int, int]) -> tuple[Sums, list[int]]:
    assert _worker is not None
    return _worker.run(*bounds)


class Exhaust:
    """One run and what it came to so far."""

    def __init__(self, plan: Plan, *, quiet: bool) -> None:
        """Prepare, and take up what an earlier run left; CaseError if that is another run's."""
        self.plan, self.quiet = plan, quiet
        self.scope = plan.scope
        self.runner = plan.runner()
        if plan.target.endswith(".so"):
            # It could take this process down, and with it what the run has come to.
            raise CaseError(f"exhaust runs no shared library, as {plan.target}; fuzz does")
        if COMPILED and not self.runner.target.compiled:
            raise CaseError(f"exhaust needs a compiled target, and {plan.target} is none")
        self.chunks = self.scope.chunks(CHUNK if COMPILED else INTERPRETED_CHUNK)
        sources = content_of(plan.target, plan.arch)
        self.about = described(self.scope, plan.target, _BATCHING[plan.batching], sources)
        self.state_path = plan.directory / f"{plan.name}.state.json"
        self.done, self.sums, self.check = 0, Sums(), ""
        self.findings: list[dict[str, Any]] = []
        self.flaky: list[str] = []
        self.interrupted = False
        self.resumed = False
        self.saved = time.monotonic()
        if plan.restart:
            self.state_path.unlink(missing_ok=True)
        if self.state_path.exists():
            self._resume()

    def _resume(self) -> None:
        try:
            state = json.loads(self.state_path.read_text())
            about, verdicts = state["scope"], state["sums"]["verdicts"]
        except (ValueError, KeyError, TypeError) as error:
            raise CaseError(
                f"{self.state_path}: not a state of exhaust ({error!r}); --restart begins anew"
            ) from None
        if about != self.about or state["chunks"] != len(self.chunks):
            changed = sorted(k for k in self.about if about.get(k) != self.about[k]) or ["chunks"]
            raise CaseError(
                f"{self.state_path}: begun with other {', '.join(changed)}; --restart begins anew"
            )
        self.sums = Sums(
            **{**state["sums"], "verdicts": {int(union): tuple(n) for union, n in verdicts.items()}}
        )
        self.done, self.check, self.findings = state["done"], state["check"], state["findings"]
        self.resumed = True

    def _save(self) -> None:
        state = {
            "scope": self.about,
            "chunks": len(self.chunks),
            "done": self.done,
            "check": self.check,
            "sums": asdict(self.sums),
            "findings": self.findings,
        }
        write_whole(self.state_path, to_json(state))
        self.saved = time.monotonic()

    # The run.

    def canary_is_missed(self) -> bool:
        """Whether the historical bug, which only a start in mid-folio shows, gets through the loop."""
        scope = Scope(self.plan.arch, self.plan.kernel, 2, raw=False, asks=("try",))
        runner = Runner(scope, load(HISTORICAL, self.plan.arch), RED, EXACT)
        wanted = 1 << classes.NUMBER["cow-write"]
        for first, last in scope.chunks(INTERPRETED_CHUNK):
            sums, _ = runner.run(first, last)
            if any(union & wanted for union in sums.verdicts):
                return False
        return True

    def run(self) -> None:
        """Run what is left until all is done or a first Ctrl-C."""
        progress = Progress(quiet=self.quiet)
        before = signal.signal(signal.SIGINT, self._interrupt)
        started, skipped = time.monotonic(), self.sums.cases
        middle = len(self.chunks) // 2
        again = str(self.runner.run(*self.chunks[middle])[0]) if self.chunks else ""
        try:
            for sums, shown in self._results():
                if self.done == middle:
                    self.check = str(sums)
                self.sums.add(sums)
                self.done += 1
                self._keep(shown, progress)
                if time.monotonic() - self.saved >= SAVE_EVERY:
                    self._save()
                progress.update(self._line(time.monotonic() - started, skipped))
        finally:
            signal.signal(signal.SIGINT, before)
            progress.clear()
            self._save()
        if self.done > middle and self.check != again:
            first, last = self.chunks[middle]
            self.flaky.append(f"cases {first} to {last - 1} gave two outcomes")

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        """End after the ranges under way; a second Ctrl-C ends at once."""
        if self.interrupted:
            raise KeyboardInterrupt
        self.interrupted = True

    def _results(self) -> Iterator[tuple[Sums, list[int]]]:
        """What each range that is left gives, in order."""
        left = self.chunks[self.done :]
        if self.plan.jobs == 1:
            for bounds in left:
                if self.interrupted:
                    return
                yield self.runner.run(*bounds)
            return
        # Forked after everything is compiled and loaded.
        context = multiprocessing.get_context("fork")
        start = (os.getpid(), self.plan)
        with ProcessPoolExecutor(self.plan.jobs, context, _start_worker, start) as pool:
            under_way: list[Future[tuple[Sums, list[int]]]] = []
            for bounds in left:
                if self.interrupted:
                    break
                under_way.append(pool.submit(_work, bounds))
                if len(under_way) > 2 * self.plan.jobs:
                    yield under_way.pop(0).result()
            for future in under_way:
                yield future.result()

    def _line(self, took: float, skipped: int) -> str:
        cases, total = self.sums.cases, self.scope.total
        rate = max((cases - skipped) / max(took, 1e-9), 1e-9)
        left = int((total - cases) / rate)
        return (
            f"exhaust: {100 * cases / total:.1f} % of {total} cases, {rate:.0f} cases/s, "
            f"{left // 60}:{left % 60:02} left"
        )

    def _keep(self, numbers: list[int], progress: Progress) -> None:
        """Save and show the findings of a range, unless their class has had its share."""
        for number in numbers:
            case = self.runner.case(number)
            judgement = judge_case(case, self.runner.target, self.plan.batching)
            bits = judgement.union & RED
            if not bits:
                self.flaky.append(f"case {number} diverges only sometimes")
                continue
            name = classes.names(bits)[0]
            if sum(found["class"] == name for found in self.findings) >= CAP:
                continue
            path = save(judgement, None)
            self.findings.append({"number": number, "class": name, "file": path.name})
            if self.quiet:
                continue
            progress.clear()
            print()
            print_lines(finding(judgement))
            print()
            for line in replay_lines(case, self.plan.target, path):
                print(f"    replay:  {line}")
            print(flush=True)

    # The end.

    @property
    def complete(self) -> bool:
        """Whether every case was executed."""
        return self.done == len(self.chunks)

    def certificate(self) -> dict[str, Any]:
        """The certificate, of what was executed so far."""
        return certificate(self.scope, self.about, self.sums, RED, self.findings)

    def write_certificate(self) -> Path:
        """Write the certificate, as text and as JSON; the path of the text."""
        record, path = self.certificate(), self.plan.directory / f"{self.plan.name}.txt"
        write_whole(path.with_suffix(".json"), to_json(record))
        write_whole(path, "\n".join(lines(record)) + "\n")
        self.state_path.unlink(missing_ok=True)
        return path

    def exit_code(self) -> int:
        """The exit code of the run."""
        codes = [exits.OK]
        if self.flaky:
            codes.append(exits.FLAKY)
        if any(union & RED for union in self.sums.verdicts):
            codes.append(exits.DIVERGENCE)
        if not self.complete or not self.sums.cases:
            codes.append(exits.TOO_LITTLE)
        return exits.worst(codes)

    def ending(self) -> str:
        """What the run ended with, in one line."""
        found = sum(n for union, (n, _) in self.sums.verdicts.items() if union & RED)
        what = f"{found} cases diverge" if found else "nothing unexplained"
        if self.flaky:
            what += f"; {self.flaky[0]}"
        if self.complete:
            return f"{self.sums.cases} cases, {what}; certificate complete"
        return (
            f"{self.sums.cases} of {self.scope.total} cases, {what}; "
            f"interrupted, the same command goes on"
        )
