"""The guided engine in one process: what `Hunter` is for random cases, with a corpus.

Each range begins with the same corpus and churns all of it, so what outlives a range is
little: the cases kept for features that no range before had seen, the rarest of them.
"""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from importlib import import_module
from types import ModuleType
from typing import Any

import numpy as np

from harness.arrays import case_of, state_of
from harness.canaries import NO_CANARY
from harness.case import Case, CaseError
from harness.casefile import format_case, parse_case
from harness.census import empty_tally
from harness.contain import contained_workspace, shared_state
from harness.features import MAX_FEATURES, finder_of
from harness.handle import handle_of
from harness.relation import NONE
from harness.run import judge_case, judge_lost, prepare
from harness.workspace import set_up, workspace_for
from mm.state import MAX_PTES, State, empty_state

from ..choices import FIRST, NR_GIVEN, POSITION, WINDOW, empty_choices
from ..generator import NR_FOLIOS, NR_PAGES, empty_case
from ..given import given_of
from ..hunter import RED, Found, Growth, Hunter
from ..store.store import Entry
from .breeding import RANDOM, WAYS
from .corpus import (
    KEPT,
    NR_HITS,
    NR_WORDS,
    ORIGIN,
    RAREST,
    SEEN,
    TAIL,
    USED,
    WORDS_KEPT,
    Corpus,
    empty_corpus,
)
from .loop import NR_SHARES, hunt_guided, learn, make_case

# Cases run by the reference alone before the target runs any: from an empty corpus the ten
# hardest mutants of x86_64 took 1.5 times as many cases as random ones do (docs/design.md).
GROWN = 50_000
_GROWING_SEED = 0x5BD1_E995_9D1B_58F3  # other cases than the campaign's

# Cases of a range that outlive it. Writing one takes as long as judging 400 cases.
MOST_TOLD = 4

# How many of NR_SHARES cases are made in which way; the rest are random ones.
SHARES = {"words": 6, "cross": 2, "bits": 36, "state": 4}


def shares_of(counts: dict[str, int]) -> Any:
    """What the loop takes for so many of each way (int64[NR_SHARES])."""
    ways = [WAYS.index(name) for name, count in counts.items() for _ in range(count)]
    return np.array(ways + [RANDOM] * (NR_SHARES - len(ways)), np.int64)


def module_of(arch: str) -> ModuleType:
    """The module of `arch` beside this one; compiled, if it is, only now."""
    return import_module(f"..{arch}", __name__)


@dataclass
class Guided(Hunter):
    """Hunts with random cases and with descendants of those that showed something new.

    A corpus is grown first, by `grown` cases of the reference alone: features do not
    depend on the target. A range of cases that is begun by `finds` begins with that
    corpus, so it gives the same cases in whichever process and order.
    """

    # A corpus that lasts longer has more to offer, and a range is never cut.
    chunk: int = 50_000
    python_chunk: int = 1_000
    shares: dict[str, int] = field(default_factory=lambda: dict(SHARES))
    grown: int = GROWN
    loaded: list[tuple[Case, Any]] = field(default_factory=list)  # with the words that make it

    def __post_init__(self) -> None:
        """Make the arrays, once for all cases."""
        super().__post_init__()
        self.corpus: Corpus = empty_corpus(NR_FOLIOS, NR_PAGES)
        self.corpus.kernel[0] = self.workspace.case.facts[0]
        self.features = np.zeros(MAX_FEATURES, np.uint64)
        self.find_features = finder_of(self.arch)
        self.choices = empty_choices(WORDS_KEPT)
        self.choices[WINDOW] = self.window
        self.dice = empty_choices()
        module = module_of(self.arch)
        self.given = given_of(self.arch)
        self.mutate, self.scene = module.mutate, module.SCENE_WORDS
        self.ways = shares_of(self.shares)
        self.beginning: tuple[Any, ...] = ()  # the arrays of the grown corpus
        self.told = np.zeros(NR_HITS, np.bool_)  # features that `growth` has told of

    def hunt(self, first: int, last: int, canary: int = NO_CANARY, red: int | None = None) -> int:
        """Run cases [first, last) on from the corpus as it is; as Hunter.hunt."""
        wanted = np.uint64(RED | self.denied if red is None else red)
        if not self.target.compiled:
            return self._hunt_python(first, last, canary, int(wanted))

        def run(first: int) -> int:
            return self._hunt(
                self.target.function,
                self.seed,
                (first, last),
                (wanted, self.cap, self.batching, canary),
                (self.seen, self.tally),
            )

        return self._past_raises(run, first, last)

    def _hunt(
        self,
        target: Any,
        seed: int,
        bounds: tuple[int, int],
        judging: tuple[Any, int, int, int],
        counts: tuple[Any, Any],
    ) -> int:
        return int(
            hunt_guided(
                self.generate,
                self.given,
                self.mutate,
                self.reference,
                target,
                self.judge,
                self.describe,
                self.spoil,
                self.find_features,
                self.workspace,
                self.handle,
                self.corpus,
                self.features,
                self.dice,
                self.choices,
                np.uint64(seed),
                *bounds,
                self.ways,
                self.scene,
                *judging,
                *counts,
            )
        )

    def make(self, index: int) -> bool:
        """Make case `index` in the workspace; whether it is wild."""
        return bool(
            make_case(
                self.generate,
                self.given,
                self.mutate,
                self.corpus,
                self.dice,
                self.choices,
                self.workspace.case,
                np.uint64(self.seed),
                index,
                self.ways,
                self.scene,
            )
        )

    def learn(self) -> None:
        """Keep the case that stands judged in the workspace, if it shows something new."""
        count = self.find_features(self.handle, self.features)
        case = self.workspace.case
        learn(self.corpus, self.dice, self.choices, case, self.features, count)

    def finds(self, first: int, last: int) -> Iterator[int]:
        """The indices of the cases in [first, last) that are to be shown, begun anew."""
        self.start()
        yield from super().finds(first, last)

    def found(self, index: int) -> Found:
        """Case `index`, run and judged again; one that is no random case has no number."""
        if self.corpus.sums[ORIGIN] == RANDOM:
            return super().found(index)
        case = case_of(self.workspace.case, self.arch, self.kernel)
        return Found(None, judge_case(case, self.target, self.batching))

    # A target that takes its process down takes the corpus of its range along. The case stands
    # in memory that outlives the process, and the range goes on from its beginning's corpus.

    def shared_case(self) -> State:
        """Room for a worker's case, which only its corpus could make again."""
        return shared_state(empty_case(self.arch, self.kernel))

    def work_on(self, case: State) -> None:
        """Make cases in `case` from now on."""
        self.workspace = contained_workspace(workspace_for(case))
        self.handle = handle_of(self.workspace)

    def lost(self, index: int, name: str, how: str, shared: State | None = None) -> Found:
        """The case in `shared`, of which the target did not come back; it has no number."""
        del index
        assert shared is not None
        case = case_of(shared, self.arch, self.kernel)
        _, ours = prepare(case)
        return Found(None, judge_lost(case, self.target.name, ours, name, (how,)))

    # The corpus.

    def start(self) -> None:
        """Begin with the grown corpus, which is grown if that was not done yet."""
        if not self.beginning:
            self._grow()
            self.beginning = tuple(array.copy() for array in self.corpus)
        for array, grown in zip(self.corpus, self.beginning, strict=True):
            array[...] = grown

    def _grow(self) -> None:
        """Learn from cases that the reference runs on both sides, and from what was loaded."""
        self.corpus.hits[:] = 0
        self.corpus.sums[:] = 0
        workspace = self.workspace
        with np.errstate(over="ignore"):
            self._hunt(
                self.reference,
                self.seed ^ _GROWING_SEED,
                (0, self.grown),
                (np.uint64(0), 0, NONE, NO_CANARY),
                (np.zeros_like(self.seen), empty_tally()),
            )
            for case, words in self.loaded:
                write_inputs(state_of(case), workspace.case)
                set_up(workspace)
                pages = int(self.reference(workspace.ours))
                self.reference(workspace.theirs)
                self.judge(self.handle, pages, pages, False, NONE)
                self.choices[FIRST : FIRST + len(words)] = words
                self.choices[POSITION] = self.choices[NR_GIVEN] = len(words)
                self.learn()

    def load(self, entries: Iterable[Entry]) -> None:
        """Begin each range with `entries`, too; CaseError for one of another arch or kernel."""
        for entry in entries:
            case = parse_case(entry.text, f"entry {entry.name}").case
            if (case.arch, case.kernel) != (self.arch, self.kernel):
                raise CaseError(
                    f"a corpus of {self.arch}, kernel {self.kernel}, takes no case of "
                    f"{case.arch}, kernel {case.kernel}"
                )
            self.loaded.append((case, np.asarray(entry.words, np.uint64)[:WORDS_KEPT]))
        self.beginning = ()

    def begin_as(self, other: Hunter) -> None:
        """Begin each range with what `other` begins with, which has begun one."""
        assert isinstance(other, Guided)
        self.loaded, self.beginning = other.loaded, other.beginning

    def export(self) -> list[Case]:
        """The corpus as it is, in the order of its slots."""
        state = empty_state(MAX_PTES, NR_FOLIOS, NR_PAGES)
        cases = []
        for slot in range(int(self.corpus.sums[USED])):
            write_inputs(_slot(self.corpus, slot, state), state)
            cases.append(case_of(state, self.arch, self.kernel))
        return cases

    def growth(self) -> Growth:
        """What the last range added to the corpus that it began with: its rarest cases.

        One that was told of, or whose feature was seen in a range that was, is not told again.
        """
        corpus = self.corpus
        before = Corpus(*self.beginning)
        first = (corpus.hits > 0) & (before.hits == 0) & ~self.told
        used = int(corpus.sums[USED])
        rarest = corpus.meta[:used, RAREST]
        slots = sorted(np.flatnonzero(first[rarest]), key=lambda s: (corpus.hits[rarest[s]], s))
        self.told |= corpus.hits > 0
        return Growth([self._entry(int(s)) for s in slots[:MOST_TOLD]], np.flatnonzero(first))

    def _entry(self, slot: int) -> Entry:
        """What is in `slot`, as the store keeps it."""
        corpus = self.corpus
        state = empty_state(MAX_PTES, NR_FOLIOS, NR_PAGES)
        write_inputs(_slot(corpus, slot, state), state)
        text = format_case(case_of(state, self.arch, self.kernel))
        words = corpus.words[slot, : corpus.meta[slot, NR_WORDS]].copy()
        name = hashlib.sha256(text.encode("ascii")).hexdigest()[:16]
        return Entry(name, text, [int(corpus.meta[slot, RAREST])], words)

    def counts(self) -> dict[str, int]:
        """How many cases are in the corpus, were ever kept, and how many features were seen."""
        sums = self.corpus.sums
        return {"corpus": int(sums[USED]), "kept": int(sums[KEPT]), "features": int(sums[SEEN])}


def _slot(corpus: Corpus, slot: int, like: State) -> State:
    """The inputs in `slot` as a state, whose logs are those of `like`."""
    return like._replace(
        facts=corpus.facts[slot : slot + 1],
        ptes=corpus.ptes[slot],
        hardware=corpus.hardware[slot],
        folios=corpus.folios[slot],
        exclusive=corpus.exclusive[slot],
    )


def write_inputs(source: State, state: State) -> None:
    """Copy the inputs of `source` to `state`, which has room for them, and empty its logs."""
    state.counts[:] = 0
    state.facts[0] = source.facts[0]
    nr_ptes, nr_folios = int(source.facts[0].nr_ptes), int(source.facts[0].nr_folios)
    pages = sum(int(source.folios[row].nr_pages) for row in range(nr_folios)) + TAIL
    state.ptes[:nr_ptes] = source.ptes[:nr_ptes]
    state.hardware[:nr_ptes] = source.hardware[:nr_ptes]
    state.folios[:nr_folios] = source.folios[:nr_folios]
    state.exclusive[:pages] = source.exclusive[:pages]
