"""Whether a case kills a mutant: the mutant's run differs from `batched`'s and is red.

A mutant that leaves behind what `batched` does is not judged: running a side
takes a twentieth of the time of judging it, and most mutants change nothing
of most cases. It also keeps a case on which `batched` itself diverges from
passing for one that kills everything.
"""

from typing import Any, NamedTuple

import numpy as np

from mm.version import VERSIONS

from .. import zoo
from ..arrays import state_of
from ..case import Case
from ..differences import red
from ..run import judge_case, remains
from ..targets import Function, Target, load, trusted


class Quarry(NamedTuple):
    """A mutant of the zoo on one of its architectures."""

    name: str
    arch: str

    def __str__(self) -> str:
        return f"{self.name} on {self.arch}"


def quarries(arches: frozenset[str]) -> tuple[Quarry, ...]:
    """Each mutant that a judge may see, on each of `arches` that has it."""
    return tuple(
        Quarry(mutant.name, arch)
        for mutant in zoo.all_mutants()
        for arch in mutant.arches
        if arch in arches and not mutant.equivalent
    )


def models(case: Case, quarry: Quarry) -> bool:
    """Whether `quarry` can run `case`: of its architecture, and of a kernel that batches."""
    return case.arch == quarry.arch and VERSIONS[case.kernel].batched


def left_behind(case: Case, function: Function) -> tuple[Any, ...]:
    """All that a judge may look at after a run of `function`: the outcome, and the inputs."""
    state = state_of(case)
    with np.errstate(over="ignore"):
        pages = function(state)
    return remains(state, pages)


def target_of(quarry: Quarry) -> Target:
    """The mutant as a target."""
    return trusted(load(f"zoo:{quarry.name}", quarry.arch))


def kills(case: Case, target: Target, right: tuple[Any, ...]) -> bool:
    """Whether `case` kills the mutant `target`; `right` is what `batched` leaves behind of it."""
    try:
        if left_behind(case, target.function) == right:
            return False
    except Exception:
        if not target.may_raise:
            raise
    return bool(red(judge_case(case, target)))
