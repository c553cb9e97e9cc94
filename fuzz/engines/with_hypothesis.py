"""Campaigns of cases that Hypothesis draws: few, but each finding is as small as it gets.

Our own case files come first: what was found before, and the corpus. Then rounds
of `fuzz.strategies.cases`, each with a seed of its own. In a round each class of
divergence is a failure of its own to Hypothesis, so that it shrinks one without
slipping to another. A class is closed when a round has found it, and the next
round looks for others.

What Hypothesis keeps of a failure, to begin with next time, is in the work directory, for
each target, kernel and architecture.
"""

import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from hypothesis import HealthCheck, Phase, Verbosity, given, settings
from hypothesis import seed as seeded
from hypothesis.database import DirectoryBasedExampleDatabase
from hypothesis.errors import Flaky

from harness.casefile import case_line, format_case, read_case
from harness.census import CASES
from harness.differences import primary, red
from harness.findings import directory
from harness.run import Judgement
from harness.zoo import Mutant
from mm.jit import ROOT

from ..chunks import Chunk
from ..hunter import Found
from ..runner import Campaign, Plan
from ..sources import case_files
from ..stages import Run, run_of, staged
from ..store.journal import Journal
from ..store.standing import Kept
from ..strategies import cases
from .judged import Alarm, Counted
from .places import place_of

PROFILE = "midfolio-fuzz"
# A round ends after so many cases, and a new one begins without its memory.
ROUND = 1_000
# The canaries are due within so many cases.
CANARY_CASES = 1_500
# Entries of a window at most; a block more where windows are made of blocks.
MAX_PTES = 20


class Divergence(AssertionError):
    """A divergence, to Hypothesis; one subclass for each class of ours."""


class Over(BaseException):
    """Enough: no error, so that Hypothesis passes it on at once."""


def kind_of(name: str, known: dict[str, type[Divergence]]) -> type[Divergence]:
    """The exception that stands for class `name`; `known` are those made so far."""
    return known.setdefault(name, type(name, (Divergence,), {}))


def profile(place: Path) -> settings:
    """The settings of a campaign with its database at `place`, whatever the environment asks for.

    Hypothesis turns its database off and repeats itself where it sees a CI; a campaign
    does neither.
    """
    settings.register_profile(
        PROFILE,
        settings(
            database=DirectoryBasedExampleDatabase(place),
            deadline=None,
            derandomize=False,
            phases=(Phase.reuse, Phase.generate, Phase.shrink),
            print_blob=False,
            report_multiple_bugs=True,
            suppress_health_check=list(HealthCheck),
            verbosity=Verbosity.quiet,
        ),
    )
    return settings.get_profile(PROFILE)


def is_simpler(one: Judgement, other: Judgement | None) -> bool:
    """Whether `one` is the better thing to show: fewer entries, fewer folios, a shorter text."""
    if other is None:
        return True

    def size(judgement: Judgement) -> tuple[int, int, int, str]:
        case, text = judgement.case, format_case(judgement.case)
        return len(case.ptes), len(case.folios), len(text), text

    return size(one) < size(other)


def first_finding(mutant: Mutant, arch: str, kernel: str, seed: int, limit: int) -> Run:
    """What drawing takes to find `mutant`, without shrinking, in up to `limit` cases."""
    target, stages = staged(mutant, arch)
    counted, found = Counted(target), []

    @settings(profile(directory()), max_examples=limit, phases=[Phase.generate], database=None)
    @seeded(seed)
    @given(cases(arch, kernel, sane=False, max_ptes=MAX_PTES))
    def agrees(case: object) -> None:
        if red(counted.judge(case)):  # type: ignore[arg-type]
            found.append(case)
            raise Over

    with suppress(Over):
        agrees()
    return run_of(counted.tally, stages.counts, found=bool(found))


class HypothesisCampaign(Campaign):
    """One campaign of drawn cases."""

    def __init__(
        self,
        plan: Plan,
        *,
        quiet: bool,
        journal: Journal | None = None,
        own_files: bool = True,
    ) -> None:
        """As any campaign; without `own_files` only drawn cases are run."""
        super().__init__(plan, quiet=quiet, journal=journal)
        self.place = place_of("hypothesis", plan, journal)
        self.own_files = own_files
        self.counted = Counted(self.hunter.target, plan.batching, plan.denied)
        self.closed = {kept.name for kept in self.standing.kept}
        self.started = 0.0
        self.ran = self.before  # cases in all chunks so far, those of earlier runs too

    def missed_canaries(self) -> list[str]:
        """The canaries that no drawn case shows, among the first few hundred of a fixed seed."""
        began = time.perf_counter()
        alarm = Alarm(self.plan.arch)

        @settings(profile(self.place), max_examples=CANARY_CASES, database=None)
        @seeded(1)
        @given(cases(self.plan.arch, self.plan.kernel, sane=False, max_ptes=MAX_PTES))
        def is_heard(case: object) -> None:
            alarm.hear(case)  # type: ignore[arg-type]
            if not alarm.missed():
                raise Over

        try:
            is_heard()
        except Over:
            took = time.perf_counter() - began
            self.canary_line = f"canaries: {alarm.total} of {alarm.total} caught in {took:.2f} s"
        return alarm.missed()

    def _chunks(self, started: float) -> Iterator[Chunk]:
        self.started = started
        if self.own_files:
            yield self._taken(self._replayed())
        first = True
        while not self._is_enough():
            left = ROUND if self.plan.cases is None else min(ROUND, self.plan.cases - self.ran)
            yield self._taken(self._round(left, first=first))
            first = False

    def _taken(self, found: list[Found]) -> Chunk:
        """What was counted since the last chunk, with `found`."""
        tally, seen = self.counted.taken()
        first, self.ran = self.ran, self.ran + int(tally[CASES])
        return Chunk(first, self.ran, tally, seen, found)

    def _is_enough(self) -> bool:
        spent = self.plan.cases is not None and self.ran >= self.plan.cases
        return self.interrupted or spent or self._is_over(self.started)

    def _replayed(self) -> list[Found]:
        """Run our own case files; what diverges though its file does not say so.

        What was found before and is still there is said in one line, not saved again.
        """
        plan, found = self.plan, []
        findings = self.journal.work.findings if self.journal else directory()
        for folder in (findings, ROOT / "corpus"):
            for path in case_files(folder) if folder.is_dir() else []:
                parsed = read_case(path)
                if (parsed.case.arch, parsed.case.kernel) != (plan.arch, plan.kernel):
                    continue
                judgement = self.counted.judge(parsed.case)
                bits = red(judgement, plan.denied)
                expected = any(
                    e.divergence and e.target in ("", plan.target) for e in parsed.expect
                )
                if not bits or (expected and folder != findings):
                    continue
                if folder != findings:
                    found.append(Found(None, judgement))
                    continue
                if path not in self.paths:
                    line = case_line(parsed.case)
                    self.standing.kept.append(Kept(primary(bits), path, line))
                if not self.quiet:
                    print(f"found before, diverges still ({primary(bits)}): {path}")
        return found

    def _round(self, examples: int, *, first: bool) -> list[Found]:
        """Draw up to `examples` cases; the smallest of each class that is not closed."""
        plan = self.plan
        best: dict[str, Judgement] = {}
        kinds: dict[str, type[Divergence]] = {}
        base = profile(self.place)
        # Of a class that is closed Hypothesis would see that it does not fail any more,
        # and forget it.
        phases = [phase for phase in base.phases if first or phase != Phase.reuse]

        # In this order: a seed turns the database off, the settings turn it on again.
        @settings(base, max_examples=examples, phases=phases)
        @seeded(plan.seed << 64 | self.ran)
        @given(cases(plan.arch, plan.kernel, sane=False, max_ptes=MAX_PTES))
        def agrees(case: object) -> None:
            if self._is_enough():
                raise Over
            judgement = self.counted.judge(case)  # type: ignore[arg-type]
            bits = red(judgement, plan.denied)
            if not bits or primary(bits) in self.closed:
                return
            name = primary(bits)
            if is_simpler(judgement, best.get(name)):
                best[name] = judgement
            raise kind_of(name, kinds)

        try:
            agrees()
        except (Over, Divergence):
            pass
        except Flaky:
            self.flaky.extend(case_line(judgement.case) for judgement in best.values())
            best = {}
        except BaseExceptionGroup as errors:
            # Several classes at once; anything else among them is ours to mend.
            _, others = errors.split(Divergence)
            if others is not None:
                raise others from None
        self.closed |= set(best)
        return [Found(None, best[name]) for name in sorted(best)]


CAMPAIGN = HypothesisCampaign
