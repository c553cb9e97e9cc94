"""Shrinking: the simplest case that still shows the same class of divergence, and a proof that it is.

One loop over the passes (`harness.shrink.passes`) until none helps; then pairs of
their edits, which find what no single edit does; from there again. A candidate is
kept if it is a legal case, simpler (`harness.shrink.order`), sane if the input is,
and diverges by the class that is kept, with no class before it that the input has
not: so a finding never slips from one bug to another. What shows other classes
only is remembered, the simplest of each, and is a finding of its own.

Nothing here is random or looks at a clock: the same input gives the same result.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice

from .. import classes
from ..case import Case
from ..differences import primary
from ..run import Judgement, judge_case
from ..sane import is_sane
from ..targets import Target
from .order import Key, key
from .passes import PASSES, edits, name_of
from .trial import Trials

# Candidates of one call: few at first, because most passes that help do so soon.
LEAST, MOST = 2, 256
# Pairs of edits that are tried, where no single edit helps.
PAIRS = 2_500


class Flaky(Exception):
    """The same case gave two outcomes."""


@dataclass(frozen=True)
class Certificate:
    """What was tried in vain on the result."""

    name: str  # the class that is kept
    singles: int  # edits that gave a legal, simpler case
    pairs: int  # the same of two edits, one after the other
    limit: int  # of pairs
    whole: bool  # there are no more pairs than these

    def lines(self) -> list[str]:
        """The certificate in words."""
        if not self.limit:
            pairs = "pairs of edits were not asked for"
        elif self.whole:
            pairs = f"and none of their {self.pairs} pairs does (all there are)"
        else:
            pairs = f"and none of the first {self.pairs} of their pairs does (limit {self.limit})"
        names = ", ".join(name_of(one) for one in PASSES)
        return [
            f"Minimal: none of {self.singles} single edits keeps {self.name}, {pairs}.",
            "To keep it is to bring in no class that comes before it.",
            f"Edits: {names}.",
        ]


@dataclass
class Shrinker:
    """Shrinks one finding; `run()` does, the fields tell how it went."""

    first: Judgement  # the finding, run and judged
    target: Target
    keep: str  # the class to keep
    batching: int
    pairs: int = PAIRS
    # Whether the kernel may change: a target of one's own need not model any other.
    any_kernel: bool = False
    watch: Callable[["Shrinker"], None] | None = None  # told now and then how far it is
    tried: int = 0  # candidates that were run
    kept: int = 0  # candidates that became the next case
    # By class, the simplest case that showed no other before it, and not the one to keep.
    slips: dict[str, tuple[Key, Case]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Prepare; nothing runs yet."""
        self.current = self.first
        self.bit = 1 << classes.NUMBER[self.keep]
        # A class that is explained counts if it is the one to keep.
        self.red = int(classes.RED_BITS) | self.bit
        # What comes before the kept class, and was not there before.
        self.foreign = (self.bit - 1) & self.red & ~self.first.union
        self.trials = Trials(self.first.case, self.target, self.batching)
        self.rejected: set[Case] = set()

    def run(self) -> Certificate:
        """Shrink `current` until nothing helps; what was tried in vain. Raises Flaky."""
        while True:
            self._run_passes()
            before = self.tried
            pairs = self._new(self._pairs())
            found = self._first_that_diverges(islice(pairs, self.pairs))
            if found is None:
                tried, whole = self.tried - before, next(pairs, None) is None
                return Certificate(self.keep, self._nr_singles(), tried, self.pairs, whole)
            self._accept(found)

    def slipped(self) -> Iterator[Judgement]:
        """What showed other classes only, by class, run again."""
        for name, (_, case) in sorted(self.slips.items()):
            judgement = judge_case(case, self.target, self.batching)
            red = judgement.union & int(classes.RED_BITS)
            if red and primary(red) == name:
                yield judgement

    def _run_passes(self) -> None:
        helped = True
        while helped:
            helped = False
            for one in PASSES:
                # What helped may help again.
                while found := self._first_that_diverges(self._new(one(self.current.case))):
                    self._accept(found)
                    helped = True

    def _accept(self, found: Judgement) -> None:
        self.current = found
        self.kept += 1

    def _pairs(self) -> Iterator[Case]:
        """What two edits make of the current case. The first may make it wild, or less simple."""
        case = self.current.case
        for edited in dict.fromkeys(edits(case)):
            if edited != case and edited.check() is None:
                yield from edits(edited)

    def _nr_singles(self) -> int:
        """How many single edits of the current case there are, each of which was rejected."""
        singles = set(self._simpler(edits(self.current.case)))
        assert singles <= self.rejected, "a pass gave what it had not given before"
        return sum(not self.first.sane or is_sane(case) for case in singles)

    def _new(self, candidates: Iterable[Case]) -> Iterator[Case]:
        """Those of `candidates` that may replace the current case, and were not rejected."""
        return self._simpler(c for c in candidates if c not in self.rejected)

    def _simpler(self, candidates: Iterable[Case]) -> Iterator[Case]:
        """Those of `candidates` that are legal and simpler than the current case, each once."""
        case = self.current.case
        limit = key(case)
        given = set()
        for candidate in candidates:
            if candidate in given:
                continue
            given.add(candidate)
            if candidate.kernel != case.kernel and not self.any_kernel:
                continue
            # A key is made of tables, so only a legal case has one.
            if candidate.check() is None and key(candidate) < limit:
                yield candidate

    def _first_that_diverges(self, candidates: Iterator[Case]) -> Judgement | None:
        """The first of `candidates` that keeps the class, judged; those before it are rejected."""
        size = LEAST
        while stack := tuple(islice(candidates, size)):
            if self.watch is not None:
                self.watch(self)
            # Whatever is wild of a sane finding is rejected, but asking each takes longer
            # than judging it.
            sane = [self.first.sane or is_sane(case) for case in stack]
            unions = self.trials.unions(stack, sane)
            for case, union in zip(stack, unions, strict=True):
                self.tried += 1
                if self._keeps(union) and (not self.first.sane or is_sane(case)):
                    return self._confirmed(case)
                if not self._keeps(union) and union & self.red:
                    self._remember(case, primary(union & self.red))
                self.rejected.add(case)
            size = min(size * 2, MOST)
        return None

    def _keeps(self, union: int) -> bool:
        return bool(union & self.bit) and not union & self.foreign

    def _confirmed(self, case: Case) -> Judgement:
        """`case`, run by itself. Raises Flaky if that shows something else."""
        judgement = judge_case(case, self.target, self.batching)
        if not self._keeps(judgement.union):
            raise Flaky
        return judgement

    def _remember(self, case: Case, name: str) -> None:
        """Keep `case`, which shows another class, if it is the simplest that does."""
        rank = key(case)
        if name in self.slips and self.slips[name][0] <= rank:
            return
        if not self.first.sane or is_sane(case):
            self.slips[name] = rank, case
