"""A hunter: the arrays and functions of one campaign process, and the calls of the hot loop.

The compiled loop calls compiled targets; a Python target goes through the same
generate, reference, judge and count, one case at a time.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from harness import classes
from harness.arrays import case_of
from harness.canaries import NO_CANARY
from harness.casefile import case_line
from harness.census import CASES, CLASS_CASES, DESCRIBE_EVERY, empty_tally
from harness.contain import contained_workspace
from harness.findings import Number
from harness.handle import handle_of
from harness.judge import judges_of
from harness.relation import EXACT, reference_side
from harness.run import Judgement, judge_case, judge_lost, prepare
from harness.targets import Target
from harness.workspace import set_up, workspace_for
from mm.state import State

from .campaign import hunt, tally_case
from .choices import GENERATOR_VERSION, WINDOW, empty_choices
from .generator import empty_case
from .generators import generator_of
from .store.store import Entry

RED = int(classes.RED_BITS)


@dataclass
class Found:
    """A case that a campaign shows, judged."""

    number: Number | None  # None: not a random case
    judgement: Judgement

    def __str__(self) -> str:
        """The case in a word: its number, or where it has none its `case:` line."""
        return str(self.number or case_line(self.judgement.case))


class Growth(NamedTuple):
    """What a range of cases added to a corpus."""

    entries: list[Entry]
    features: Any  # int64: all that it saw first, in whichever case


NO_GROWTH = Growth([], np.empty(0, np.int64))


@dataclass
class Hunter:
    """Hunts random cases of one seed with one target."""

    target: Target
    kernel: str
    seed: int
    batching: int = EXACT
    denied: int = 0
    cap: int = 3  # findings shown per class
    window: int = 0  # entries of each window, 0 leaves it to the generator
    # Cases in a range: so few that Ctrl-C and the progress line answer at once.
    chunk: int = 25_000
    python_chunk: int = 50  # the same for a target that is called from Python
    tally: Any = field(default_factory=empty_tally)
    seen: Any = field(default_factory=lambda: np.zeros(classes.NR_CLASSES, np.int64))

    def __post_init__(self) -> None:
        """Make the arrays, once for all cases."""
        self.arch = self.target.arch
        self.workspace = workspace_for(empty_case(self.arch, self.kernel))
        if self.target.contained:
            self.workspace = contained_workspace(self.workspace)
        self.handle = handle_of(self.workspace)
        self.choices = empty_choices()
        self.choices[WINDOW] = self.window
        self.generate = generator_of(self.arch)
        judges = judges_of(self.arch)
        self.judge, self.describe, self.spoil = judges.judge, judges.describe, judges.spoil
        self.reference = reference_side(self.arch)

    def hunt(self, first: int, last: int, canary: int = NO_CANARY, red: int | None = None) -> int:
        """Run cases [first, last) until one is to be shown; its index, or `last`.

        The case then stands in the workspace; see `found`.
        """
        wanted = np.uint64(RED | self.denied if red is None else red)
        if not self.target.compiled:
            return self._hunt_python(first, last, canary, int(wanted))

        def run(first: int) -> Any:
            return hunt(
                self.generate,
                self.reference,
                self.target.function,
                self.judge,
                self.describe,
                self.spoil,
                self.workspace,
                self.handle,
                self.choices,
                np.uint64(self.seed),
                first,
                last,
                wanted,
                self.cap,
                self.batching,
                canary,
                self.seen,
                self.tally,
            )

        return self._past_raises(run, first, last)

    def _past_raises(self, run: Callable[[int], Any], first: int, last: int) -> int:
        """`run`, a compiled loop that begins at a case, on behind each case of which the target raises."""
        while first < last:
            before = int(self.tally[CASES])
            try:
                return int(run(first))
            except Exception:
                if not self.target.may_raise:
                    raise
            # Each case is counted when it is judged: the next one is the one that raised.
            index = first + int(self.tally[CASES]) - before
            if count_lost(self.tally, self.seen, "target-raised") <= self.cap:
                return index
            first = index + 1
        return last

    def _hunt_python(self, first: int, last: int, canary: int, red: int) -> int:
        """The same loop for a target that only Python can call."""
        workspace = self.workspace
        with np.errstate(over="ignore"):
            for index in range(first, last):
                wild = self.make(index)
                set_up(workspace)
                our_pages = self.reference(workspace.ours)
                try:
                    their_pages = int(self.target.function(workspace.theirs))
                except Exception:
                    if not self.target.may_raise:
                        raise
                    # There is no outcome to judge. `found` runs it again and shows what it raised.
                    if count_lost(self.tally, self.seen, "target-raised") <= self.cap:
                        return index
                    continue
                # As is_described(), a rule, which only compiled code can call.
                workspace.whole[0] = int(index % DESCRIBE_EVERY == 0)
                if canary != NO_CANARY:
                    their_pages += self.spoil(workspace, canary)
                union = self.judge(self.handle, our_pages, their_pages, not wild, self.batching)
                tally_case(workspace, np.uint64(union), self.tally)
                if workspace.whole[0] != 0:
                    self.describe(workspace, self.tally, wild)
                self.learn()
                if int(union) & red:
                    number = primary_number(int(union) & red)
                    self.seen[number] += 1
                    if self.seen[number] <= self.cap:
                        return index
        return last

    def make(self, index: int) -> bool:
        """Make case `index` in the workspace; whether it is wild."""
        case, seed = self.workspace.case, np.uint64(self.seed)
        return bool(self.generate(self.choices, case, seed, np.uint64(index)) != 0)

    def learn(self) -> None:
        """Look at the case that stands judged in the workspace; random cases teach nothing."""

    # What a hunter with a corpus does (fuzz.guided); random cases have none.

    def load(self, entries: Iterable[Entry]) -> None:
        """Begin each range with `entries`, too."""

    def start(self) -> None:
        """Begin a range of cases."""

    def begin_as(self, other: "Hunter") -> None:
        """Begin each range with what `other` begins with, which has begun one."""

    def growth(self) -> Growth:
        """What the last range added to the corpus that it began with."""
        return NO_GROWTH

    def found(self, index: int) -> Found:
        """Case `index`, run and judged again: a finding is what a replay shows."""
        number = Number(self.arch, self.kernel, GENERATOR_VERSION, self.seed, index)
        case = case_of(self.workspace.case, self.arch, self.kernel)
        return Found(number, judge_case(case, self.target, self.batching))

    def shared_case(self) -> State | None:
        """Where a worker's case must stand to be read if it dies; None if its number says it all."""

    def work_on(self, case: State) -> None:
        """Make cases in `case`, which `shared_case` gave, from now on."""
        del case

    def lost(self, index: int, name: str, how: str, shared: State | None = None) -> Found:
        """Case `index`, of which the target did not come back; the class `name` and `how` tell.

        `shared`: where the worker that it took down had its case.
        """
        del shared
        case = self.workspace.case
        with np.errstate(over="ignore"):
            self.generate(self.choices, case, np.uint64(self.seed), np.uint64(index))
        number = Number(self.arch, self.kernel, GENERATOR_VERSION, self.seed, index)
        shown = case_of(case, self.arch, self.kernel)
        _, ours = prepare(shown)
        return Found(number, judge_lost(shown, self.target.name, ours, name, (how,)))

    def loses_too(self, index: int, name: str) -> bool:
        """Whether a case that the target did not come back from, by class `name`, is no finding."""
        del index, name
        return False

    def finds(self, first: int, last: int) -> Iterator[int]:
        """The indices of the cases in [first, last) that are to be shown."""
        index = first
        while (index := self.hunt(index, last)) < last:
            yield index
            index += 1


def count_lost(tally: Any, seen: Any, name: str) -> int:
    """Count a case that came to no outcome as one of class `name`; how many `seen` has of it."""
    number = classes.NUMBER[name]
    tally[CASES] += 1
    tally[CLASS_CASES + number] += 1
    seen[number] += 1
    return int(seen[number])


def primary_number(bits: int) -> int:
    """The number of the first class in `bits`."""
    return (bits & -bits).bit_length() - 1
