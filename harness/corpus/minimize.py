"""The smallest corpus that still shows what a corpus shows.

What must stay, each by one file at least:

* each feature of each architecture and kernel;
* each kill of a mutant of the zoo, on each architecture;
* each `expect: diverge` of a target that is not run here, one's own for example.

Running every case on every mutant is what would take the time. So mutants are
asked about late: a set that is the smallest for the rest is chosen, and where
it misses a mutant that the corpus kills, all files that kill this one become
one more requirement. The set that misses none is the smallest for all of
them, too, since what was left out would only make it larger.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from ..casefile import Expect
from ..features import describe
from .cover import NODES, Cover, Row, smallest_cover
from .jury import Feature, Jury
from .kills import Quarry, models


class Minimum(NamedTuple):
    """The files to keep, by number, and what they were chosen for."""

    chosen: tuple[int, ...]
    least: int  # proven: fewer files cannot do
    features: int
    killed: dict[Quarry, int]  # each mutant that the corpus kills, and a chosen file that does
    spared: tuple[Quarry, ...]  # those that it does not

    @property
    def gap(self) -> int:
        """By how many files it may be too many."""
        return len(self.chosen) - self.least


def minimize(
    jury: Jury,
    features: Sequence[frozenset[Feature]],
    expects: Sequence[tuple[Expect, ...]],
    quarries: Sequence[Quarry],
    nodes: int = NODES,
    watch: Callable[[str], None] = lambda text: None,
) -> Minimum:
    """The smallest part of the jury's cases that shows what all of them do.

    The cases are in the order of their names; `features` and `expects` are
    theirs, `quarries` the mutants that may be killed. `nodes` limits the search. Where it was met, the rest is searched
    again until nothing more is found, so that a second run finds nothing either.
    """
    problem = _Problem(jury, features, expects, quarries, nodes, watch)
    first = problem.settle(range(len(jury.cases)))
    cover = first
    while cover.gap:
        again = problem.settle(cover.chosen)
        if len(again.chosen) == len(cover.chosen):
            break
        cover = again
    killed = {
        quarry: min(jury.killers(quarry, cover.chosen))
        for quarry in problem.quarries
        if jury.any_kills(quarry, cover.chosen)
    }
    return Minimum(
        cover.chosen,
        first.least,
        len(frozenset().union(*features)),
        killed,
        tuple(quarry for quarry in problem.quarries if quarry not in killed),
    )


def lost(jury: Jury, features: Sequence[frozenset[Feature]], minimum: Minimum) -> list[str]:
    """What the chosen cases do not show any more, in words: nothing, or this package has a bug.

    Takes no one's word for it: counts features anew and runs each mutant again.
    """
    kept = frozenset().union(*(features[number] for number in minimum.chosen))
    found = [
        f"{arch} {kernel}: {describe(feature)}"
        for arch, kernel, feature in sorted(frozenset().union(*features) - kept)
    ]
    found += [f"the kill of {quarry}" for quarry in jury.alive(minimum.killed)]
    strangers = set(minimum.killed.values()) - set(minimum.chosen)
    return found + [f"case {number}, which kills a mutant" for number in sorted(strangers)]


class _Problem:
    def __init__(
        self,
        jury: Jury,
        features: Sequence[frozenset[Feature]],
        expects: Sequence[tuple[Expect, ...]],
        quarries: Sequence[Quarry],
        nodes: int,
        watch: Callable[[str], None],
    ) -> None:
        self.jury, self.quarries, self.nodes, self.watch = jury, quarries, nodes, watch
        self.sizes = [len(case.ptes) for case in jury.cases]
        brings: dict[object, set[int]] = {}
        for number, seen in enumerate(features):
            for feature in seen:
                brings.setdefault(feature, set()).add(number)
        for number, recorded in enumerate(expects):
            for expect in recorded:
                # A mutant's is seen by running it.
                if expect.divergence and not expect.target.startswith("zoo:"):
                    brings.setdefault(expect, set()).add(number)
        self.rows: frozenset[Row] = frozenset(frozenset(files) for files in brings.values())

    def settle(self, pool: Sequence[int]) -> Cover:
        """The smallest part of `pool` that shows what `pool` does, mutants included."""
        files = frozenset(pool)
        rows = {row & files for row in self.rows}
        asked: set[Quarry] = set()  # whose killers in `pool` are all known
        while True:
            cover = smallest_cover(rows, self.sizes, self.nodes)
            self.watch(f"{len(cover.chosen)} of {len(files)} files; trying mutants on them")
            missed = self._missed(cover.chosen, asked)
            if not missed:
                return cover
            self.watch(f"{len(missed)} mutants missed; trying them on all files")
            self._hunt_all(missed, pool)
            asked.update(missed)
            killers = [self.jury.killers(quarry, pool) for quarry in missed]
            rows.update(row for row in killers if row)

    def _missed(self, chosen: Sequence[int], asked: set[Quarry]) -> list[Quarry]:
        """The mutants that `chosen` does not kill, but for those in `asked`."""
        rest = [quarry for quarry in self.quarries if quarry not in asked]
        for arch in sorted({quarry.arch for quarry in rest}):
            mine = [quarry for quarry in rest if quarry.arch == arch]
            self.jury.hunt_one(mine, self._runnable(mine[0], chosen))
        return [quarry for quarry in rest if not self.jury.any_kills(quarry, chosen)]

    def _hunt_all(self, missed: Sequence[Quarry], pool: Sequence[int]) -> None:
        for arch in sorted({quarry.arch for quarry in missed}):
            mine = [quarry for quarry in missed if quarry.arch == arch]
            self.jury.hunt_all(mine, self._runnable(mine[0], pool))

    def _runnable(self, quarry: Quarry, numbers: Iterable[int]) -> list[int]:
        """Those of the cases that `quarry` can run, the small ones first: they are quick."""
        cases = self.jury.cases
        fitting = [number for number in numbers if models(cases[number], quarry)]
        return sorted(fitting, key=lambda number: (self.sizes[number], number))
