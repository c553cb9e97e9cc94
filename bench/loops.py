"""The loops that are timed: a campaign's own, cut off behind one of its phases, and the series' benchmark.

Compiled once for all architectures and targets, as `fuzz.campaign.hunt` is, and of
the same parts; nothing is timed in here.
"""

from typing import Any

import numpy as np

from fuzz.generators import signature as numba_generate
from harness.census import count_case, is_described, numba_describe
from harness.handle import numba_handle
from harness.judge import numba_judge
from harness.relation import EXACT
from harness.workspace import copy_case, numba_workspace
from mm.jit import entry
from mm.state import NR_FLUSHES, NR_STAMPS, numba_state, numba_target

# The phases of a case, in order; `staged` runs those up to a given one.
PHASES = ("generate", "copy", "reference", "target", "judge", "count")
GENERATE, COPY, REFERENCE, TARGET, JUDGE, COUNT = range(len(PHASES))


def _staged_signature() -> Any:
    from numba import int64, types, uint64

    return uint64(
        types.FunctionType(numba_generate()),
        types.FunctionType(numba_target()),  # reference
        types.FunctionType(numba_target()),  # target
        types.FunctionType(numba_judge()),
        types.FunctionType(numba_describe()),
        numba_workspace(),
        numba_handle(),
        uint64[::1],  # choices
        int64[::1],  # tally
        uint64,  # seed
        int64,  # cases
        int64,  # the last phase
    )


@entry(_staged_signature)
def staged(
    generate,
    reference,
    target,
    judge,
    describe,
    workspace,
    handle,
    choices,
    tally,
    seed,
    cases,
    last,
):
    """Run random cases [0, `cases`) of `seed` up to phase `last`; the union of all classes."""
    seen = np.uint64(0)
    for index in range(cases):
        wild = generate(choices, workspace.case, seed, np.uint64(index)) != 0
        if last < COPY:
            continue
        copy_case(workspace)
        if last < REFERENCE:
            continue
        our_pages = reference(workspace.ours)
        if last < TARGET:
            continue
        their_pages = target(workspace.theirs)
        if last < JUDGE:
            continue
        # Cases are described only where that is counted: it is no part of a verdict.
        workspace.whole[0] = 1 if last >= COUNT and is_described(index) else 0
        union = judge(handle, our_pages, their_pages, not wild, EXACT)
        seen = seen | union
        if last < COUNT:
            continue
        count_case(workspace, union, tally)
        if workspace.whole[0] != 0:
            describe(workspace, tally, wild)
    return seen


def _cycle_signature() -> Any:
    from numba import int64, types, uint64

    return int64(types.FunctionType(numba_target()), numba_state(), uint64[:, ::1], int64, int64)


@entry(_cycle_signature)
def cycle(function, state, calls, tables, rounds):
    """Run the `calls` one after the other on the table of `state`, `tables` x `rounds` times; pages changed.

    A row of `calls`: newprot, MM_CP_ flags, VM_ flags. The calls must lead back to
    where they began, so that all rounds do the same.
    """
    facts = state.facts[0]
    pages = np.int64(0)
    for _ in range(tables * rounds):
        for call in range(calls.shape[0]):
            facts.newprot = calls[call, 0]
            facts.cp_flags = calls[call, 1]
            facts.vma_flags = calls[call, 2]
            state.counts[NR_FLUSHES] = 0
            state.counts[NR_STAMPS] = 0
            pages += function(state)
    return pages
