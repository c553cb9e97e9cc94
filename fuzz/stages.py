"""What a mutant takes to be found, in stages: its code is reached, its outcome changed, a judge rings.

For mutants that run interpreted. The first stage needs no judge and the second no
relation, so they say where an engine loses its time: before the code, between the code
and a case on which it matters, or between that and a case on which it shows.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from harness import zoo
from harness.census import CASES, ENTRIES
from harness.run import remains
from harness.targets import Target, batched_side
from harness.zoo import Mutant
from mm.state import State

# Places of `counts`.
CALLS, REACHED, TRIGGERED = range(3)


class Run(NamedTuple):
    """One run of an engine on a mutant: numbers of cases, counted from 1; 0: it never came to that."""

    cases: int  # that were judged
    found: bool  # the last of them diverged
    entries: int  # in the ranges of all
    reached: int = 0
    triggered: int = 0


def run_of(tally: Any, counts: Any, *, found: bool) -> Run:
    """The run that `tally` (harness.census) and the counts of `Stages` are of."""
    stages = int(counts[REACHED]), int(counts[TRIGGERED])
    return Run(int(tally[CASES]), found, int(tally[ENTRIES]), *stages)


@dataclass
class Stages:
    """A mutant that counts its calls, and notes the first that reached it and that it changed."""

    function: Any
    reached: list[bool]  # True once the mutated code has run
    sound: Any  # the side without the mutant
    counts: Any  # int64[3]

    def __call__(self, state: State) -> int:
        """The mutant's own result on `state`."""
        counts = self.counts
        counts[CALLS] += 1
        if counts[TRIGGERED]:
            return int(self.function(state))
        other = State(*(array.copy() for array in state))
        pages = int(self.function(state))
        if self.reached[0] and not counts[REACHED]:
            counts[REACHED] = counts[CALLS]
        # What never ran cannot have changed anything.
        if self.reached[0] and remains(state, pages) != remains(other, self.sound(other)):
            counts[TRIGGERED] = counts[CALLS]
        return pages


def staged(mutant: Mutant, arch: str, counts: Any = None) -> tuple[Target, Stages]:
    """`mutant` as a target, and the stages that it counts, in `counts` if given."""
    function, reached = zoo.load_traced(mutant, arch)
    counts = np.zeros(3, np.int64) if counts is None else counts
    stages = Stages(function, reached, batched_side(arch), counts)
    return Target(f"zoo:{mutant.name}", arch, stages, compiled=False, contained=False), stages
