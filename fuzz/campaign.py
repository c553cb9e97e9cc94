"""The hot loop of a campaign: generate, reference, target, judges, counts; no Python per case.

One loop for all architectures and targets. Whatever it calls comes in as a
first-class function of a documented signature, so that nothing recompiles the
loop, and that compiling it does not optimize all the others once more.
"""

from typing import Any

import numpy as np

from harness.canaries import NO_CANARY, numba_spoil
from harness.census import count_case, is_described, numba_describe
from harness.handle import numba_handle
from harness.judge import numba_judge
from harness.workspace import copy_case, numba_workspace
from mm.jit import entry, rule
from mm.state import numba_target

from .generators import signature as generate_signature

ZERO = np.uint64(0)
ONE = np.uint64(1)


@rule
def primary_class(bits):
    """The number of the first class in `bits`, which must not be empty."""
    number = 0
    while (bits >> np.uint64(number)) & ONE == ZERO:
        number += 1
    return number


@rule
def judge_runs(
    reference,
    target,
    judge,
    describe,
    spoil,
    workspace,
    handle,
    index,
    wild,
    batching,
    canary,
    tally,
):
    """Run both sides on the case in the workspace, judge it and count it; the union of its classes."""
    copy_case(workspace)
    our_pages = reference(workspace.ours)
    their_pages = target(workspace.theirs)
    workspace.whole[0] = 1 if is_described(index) else 0
    if canary != NO_CANARY:
        their_pages += spoil(workspace, canary)
    union = judge(handle, our_pages, their_pages, not wild, batching)
    count_case(workspace, union, tally)
    if workspace.whole[0] != 0:
        describe(workspace, tally, wild)
    return union


@rule
def is_to_be_shown(bits, cap, seen):
    """Count a case by the first of `bits`, the classes that make it a finding; whether it is one of the first `cap`."""
    if bits == ZERO:
        return False
    number = primary_class(bits)
    seen[number] += 1
    return seen[number] <= cap


def _tally_signature() -> Any:
    from numba import int64, uint64, void

    return void(numba_workspace(), uint64, int64[::1])


@entry(_tally_signature)
def tally_case(workspace, union, tally):
    """`count_case`, for a target that is called from Python."""
    count_case(workspace, union, tally)


def _signature() -> Any:
    from numba import int64, types, uint64

    return int64(
        types.FunctionType(generate_signature()),
        types.FunctionType(numba_target()),  # reference
        types.FunctionType(numba_target()),  # target
        types.FunctionType(numba_judge()),
        types.FunctionType(numba_describe()),
        types.FunctionType(numba_spoil()),
        numba_workspace(),
        numba_handle(),
        uint64[::1],  # choices
        uint64,  # seed
        int64,  # first
        int64,  # last
        uint64,  # red
        int64,  # cap
        int64,  # batching
        int64,  # canary
        int64[::1],  # seen
        int64[::1],  # tally
    )


@entry(_signature)
def hunt(
    generate,
    reference,
    target,
    judge,
    describe,
    spoil,
    workspace,
    handle,
    choices,
    seed,
    first,
    last,
    red,
    cap,
    batching,
    canary,
    seen,
    tally,
):
    """Run the random cases [first, last) of `seed` until one is to be shown.

    `red` are the classes that count as a finding; a finding is shown, which ends
    the call, as long as its first class was shown less than `cap` times (`seen`
    counts them). Returns the index of the case that stands in the workspace, or
    `last`. `tally` is added to (harness.census). `canary` other than NO_CANARY
    spoils each outcome before it is judged (harness.canaries).
    """
    for index in range(first, last):
        wild = generate(choices, workspace.case, seed, np.uint64(index)) != 0
        union = judge_runs(
            reference,
            target,
            judge,
            describe,
            spoil,
            workspace,
            handle,
            index,
            wild,
            batching,
            canary,
            tally,
        )
        if is_to_be_shown(union & red, cap, seen):
            return index
    return last
