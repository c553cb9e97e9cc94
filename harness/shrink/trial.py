"""Candidates put to the test: the classes that the judges find in each of many cases."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from mm.jit import COMPILED
from mm.state import State, empty_state

from ..arrays import states_of
from ..case import Case
from ..classes import NUMBER
from ..contain import contained_workspace, hang_seconds, run_contained, shared_zeros
from ..handle import handle_of
from ..judge import judges_of
from ..relation import reference_side
from ..run import judge_case
from ..targets import Target
from ..workspace import workspace_for
from .loop import judge_stack

# Of CPU time, for a whole stack of candidates. Compiled, each takes microseconds; and where
# a hang is shrunk, each candidate that hangs costs as much.
HANG_SECONDS = 1.0


class Trials:
    """Runs cases of one architecture on one target, many in one call. None may be larger than `case`."""

    def __init__(self, case: Case, target: Target, batching: int) -> None:
        """Make the arrays, once for all candidates."""
        self.target = target
        self.batching = batching
        self.arch = case.arch
        pages = sum(folio.nr_pages for folio in case.folios)
        self.workspace = workspace_for(empty_state(len(case.ptes), len(case.folios), pages))
        if target.contained:
            self.workspace = contained_workspace(self.workspace)
        self.handle = handle_of(self.workspace)
        self.reference = reference_side(case.arch)
        self.judge = judges_of(case.arch).judge
        self.hang = min(hang_seconds(), HANG_SECONDS) if COMPILED else hang_seconds()

    def unions(self, cases: Sequence[Case], sane: Sequence[bool]) -> list[int]:
        """The class bits of each of `cases`. `sane`: which are judged as sane ones."""
        if COMPILED and not self.target.compiled:
            return self._one_by_one(cases)
        if self.target.contained:
            return self._contained(cases, sane)
        try:
            return self._stacked(cases, sane)
        except Exception:
            if not self.target.may_raise:
                raise
            return self._one_by_one(cases)

    def _one_by_one(self, cases: Sequence[Case]) -> list[int]:
        """The same for a target that only Python can call, or that may raise."""
        return [judge_case(case, self.target, self.batching).union for case in cases]

    def _stacked(self, cases: Sequence[Case], sane: Sequence[bool]) -> list[int]:
        done, unions = np.zeros(1, np.int64), np.zeros(len(cases), np.uint64)
        self._run(states_of(cases), sane, done, unions)
        return unions.tolist()

    def _contained(self, cases: Sequence[Case], sane: Sequence[bool]) -> list[int]:
        """In a child of its own, and another one behind each case that it did not survive."""
        stack = states_of(cases)
        done, unions = shared_zeros(1), shared_zeros(len(cases), np.uint64)
        while int(done[0]) < len(cases):

            def run(state: object) -> int:
                del state
                self._run(stack, sane, done, unions)
                return 0

            ending = run_contained(run, self.workspace.theirs, self.hang)
            if ending.name:
                unions[int(done[0])] = 1 << NUMBER[ending.name]
                done[0] += 1
        return [int(union) for union in unions]

    def _run(self, stack: State, sane: Sequence[bool], done: Any, unions: Any) -> None:
        with np.errstate(over="ignore"):
            judge_stack(
                self.reference,
                self.target.function,
                self.judge,
                self.handle,
                stack,
                np.array(sane, np.bool_),
                self.batching,
                done,
                unions,
            )
