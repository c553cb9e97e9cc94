"""Features and kills of many cases, found in several processes."""

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from typing import Any, TypeVar

from ..case import Case
from ..contain import die_with_parent
from ..features import features_of
from ..run import judge_case
from ..targets import batched_side, load
from .kills import Quarry, kills, left_behind, target_of

# Cases that a process takes at a time.
CHUNK = 16

# Of an architecture and kernel: the same fact is other code there.
Feature = tuple[str, str, int]
Seen = dict[int, bool]  # by the number of a case: whether it kills
_T = TypeVar("_T")
_R = TypeVar("_R")


class Juror:
    """What one process finds out about `cases`, each by its number."""

    def __init__(self, cases: Sequence[Case], target: str, batching: int) -> None:
        """Features are those that are seen on `target`."""
        self.cases, self.target, self.batching = cases, target, batching
        self.load, self.mutant = cache(load), cache(target_of)
        self.right: dict[int, tuple[Any, ...]] = {}  # what `batched` leaves behind

    def features(self, number: int) -> tuple[int, ...]:
        """The features of a case, ascending."""
        case = self.cases[number]
        return features_of(judge_case(case, self.load(self.target, case.arch), self.batching))

    def hunt(self, quarry: Quarry, numbers: Sequence[int], first: bool) -> Seen:
        """Which of the cases kill `quarry`; ends at the first that does if `first`."""
        seen: Seen = {}
        for number in numbers:
            case = self.cases[number]
            if number not in self.right:
                self.right[number] = left_behind(case, batched_side(case.arch))
            seen[number] = kills(case, self.mutant(quarry), self.right[number])
            if seen[number] and first:
                break
        return seen


_juror: Juror  # of a worker process


def _serve(parent: int, cases: Sequence[Case], target: str, batching: int) -> None:
    global _juror
    die_with_parent(parent)
    _juror = Juror(cases, target, batching)


def _features(number: int) -> tuple[int, ...]:
    return _juror.features(number)


def _hunt(work: tuple[Quarry, Sequence[int], bool]) -> Seen:
    return _juror.hunt(*work)


class Jury:
    """So many processes, each with all cases.

    Remembers what was tried: a case is never run on a mutant twice.
    """

    def __init__(self, cases: Sequence[Case], target: str, batching: int, jobs: int) -> None:
        """As for `Juror`. The processes start when it is entered."""
        self.cases = cases
        self.seen: dict[Quarry, Seen] = {}
        # Forked, so that the cases need not be sent.
        self.pool = ProcessPoolExecutor(
            jobs,
            multiprocessing.get_context("fork"),
            _serve,
            (os.getpid(), cases, target, batching),
        )

    def __enter__(self) -> "Jury":
        # Ctrl-C reaches all processes of a terminal, and the first one ends the others. They are
        # forked with it blocked: one that only began by ignoring it could meet it before.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            try:
                self.pool.submit(int).result()
            finally:
                signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.pool.shutdown(cancel_futures=True)

    def features(self) -> Iterator[frozenset[Feature]]:
        """The features of each case, in order."""
        found = self._map(_features, range(len(self.cases)), CHUNK)
        for case, features in zip(self.cases, found, strict=True):
            yield frozenset((case.arch, case.kernel, feature) for feature in features)

    def any_kills(self, quarry: Quarry, numbers: Iterable[int]) -> bool:
        """Whether one of the cases is known to kill `quarry`."""
        seen = self.seen.get(quarry, {})
        return any(seen.get(number, False) for number in numbers)

    def hunt_one(self, quarries: Sequence[Quarry], numbers: Sequence[int]) -> None:
        """For each mutant, find one of the cases that kills it, or that none does."""
        open_ones = [quarry for quarry in quarries if not self.any_kills(quarry, numbers)]
        self._hunt([(quarry, self._untried(quarry, numbers), True) for quarry in open_ones])

    def hunt_all(self, quarries: Sequence[Quarry], numbers: Sequence[int]) -> None:
        """For each mutant, find all of the cases that kill it."""
        work = []
        for quarry in quarries:
            untried = self._untried(quarry, numbers)
            work += [
                (quarry, untried[at : at + CHUNK * 8], False)
                for at in range(0, len(untried), CHUNK * 8)
            ]
        self._hunt(work)

    def killers(self, quarry: Quarry, numbers: Iterable[int]) -> frozenset[int]:
        """Those of the cases that are known to kill `quarry`."""
        seen = self.seen.get(quarry, {})
        return frozenset(number for number in numbers if seen.get(number, False))

    def alive(self, killed: Mapping[Quarry, int]) -> list[Quarry]:
        """The mutants that survive the case that is known to kill them: run again, not remembered."""
        work = [(quarry, (number,), False) for quarry, number in killed.items()]
        return [
            quarry
            for (quarry, (number,), _), seen in zip(work, self._map(_hunt, work, 1), strict=True)
            if not seen[number]
        ]

    def _untried(self, quarry: Quarry, numbers: Sequence[int]) -> list[int]:
        seen = self.seen.get(quarry, {})
        return [number for number in numbers if number not in seen]

    def _hunt(self, work: list[tuple[Quarry, list[int], bool]]) -> None:
        for (quarry, _, _), seen in zip(work, self._map(_hunt, work, 1), strict=True):
            self.seen.setdefault(quarry, {}).update(seen)

    def _map(self, function: Callable[[_T], _R], work: Iterable[_T], chunk: int) -> Iterator[_R]:
        return self.pool.map(function, work, chunksize=chunk)
