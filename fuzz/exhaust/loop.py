"""The hot loop of an exhaustive run: all cases of one call, in odometer order; no Python per case.

The judges are inlined; of the first-class calls, which hand over whole records of arrays,
only the reference and the target are left.
"""

from typing import Any, NamedTuple

import numpy as np

from harness.invariants import judge_invariants
from harness.judge import INPUT_CHANGED, union_of
from harness.workspace import lay_bait, numba_workspace
from mm.jit import rule
from mm.state import NR_COUNTS, numba_target

ZERO = np.uint64(0)
ONE = np.uint64(1)
# Odd constants of splitmix64, a bijection of 64-bit words.
_GOLDEN = np.uint64(0x9E37_79B9_7F4A_7C15)
_MIX_1 = np.uint64(0xBF58_476D_1CE4_E5B9)
_MIX_2 = np.uint64(0x94D0_49BB_1331_11EB)
_S30, _S27, _S31 = np.uint64(30), np.uint64(27), np.uint64(31)

# Distinct unions of classes that a run can tell apart; one more ends it.
NR_VERDICTS = 1024
# Places of `sums`.
DIGEST = 0
VERDICTS = 1  # verdicts in use
DIFFERING = 2  # cases in which the target's table is not the reference's
NR_SUMS = 3

# Columns of `counts`.
CASES = 0
RAW_CASES = 1  # that these cases stand for, themselves included
NR_COLUMNS = 2

BLOCK = 16  # entries of a contpte block, of which a window of arm64 is made

# What ends a call of the loop early besides a finding.
NO_ROOM = -1


class Cases(NamedTuple):
    """Cases of one call that are to be run, and what they come to.

    `table[entry, state]` has the words, `exclusive[state]` the bit of the entry's page,
    `sane[state]` whether a kernel makes it in this call, `weights[state]` the raw states and
    `weight` the raw calls that it, and the call, stand for.
    """

    table: Any  # uint64[entries, states]
    exclusive: Any  # uint8[states]
    sane: Any  # uint8[states]
    weights: Any  # int64[states]
    digits: Any  # int64[entries], the states of the case that stands in the workspace
    first_page: Any  # int64
    weight: Any  # int64
    first: Any  # int64: the cases [first, last) of the call
    last: Any  # int64
    base: Any  # uint64: the number of the call's case 0
    red: Any  # uint64: classes that end a run, once for each verdict
    batching: Any  # int64
    verdicts: Any  # uint64[NR_VERDICTS]
    counts: Any  # int64[NR_VERDICTS, NR_COLUMNS]
    sums: Any  # uint64[NR_SUMS]


def signature() -> Any:
    """The numba signature of an architecture's loop."""
    from numba import int64, types, uint8, uint64

    fields = (
        *(uint64[:, ::1], uint8[::1], uint8[::1], int64[::1], int64[::1]),
        *(int64, int64, int64, int64, uint64, uint64, int64),
        *(uint64[::1], int64[:, ::1], uint64[::1]),
    )
    return int64(
        types.FunctionType(numba_target()),  # reference
        types.FunctionType(numba_target()),  # target
        numba_workspace(),
        types.NamedTuple(fields, Cases),
    )


@rule
def mixed(word):
    """`word` scrambled: splitmix64's finish."""
    word = (word ^ (word >> _S30)) * _MIX_1
    word = (word ^ (word >> _S27)) * _MIX_2
    return word ^ (word >> _S31)


@rule
def digest_of(workspace, number, union, pages, start, end):
    """A hash of a case's number, its verdict and the target's outcome as far as it is judged."""
    digest = mixed(number * _GOLDEN + union)
    digest = mixed(digest + np.uint64(pages))
    for i in range(start, end):
        covered = np.uint64(workspace.covered[i])
        digest = (digest ^ workspace.theirs.ptes[i]) * _GOLDEN + covered
        digest = digest ^ (digest >> _S30)
    return mixed(digest)


@rule
def differs(workspace, start, end):
    """Whether the two tables differ in the range."""
    difference = ZERO
    for i in range(start, end):
        difference = difference | (workspace.ours.ptes[i] ^ workspace.theirs.ptes[i])
    return difference != ZERO


@rule
def copy_inputs(workspace):
    """Give the target its own copy of the inputs beside the table again."""
    for i in range(workspace.case_facts.shape[0]):
        workspace.their_facts[i] = workspace.case_facts[i]
    for i in range(workspace.case_folios.shape[0]):
        workspace.their_folios[i] = workspace.case_folios[i]
    for i in range(workspace.case_exclusive.shape[0]):
        workspace.their_exclusive[i] = workspace.case_exclusive[i]
    for i in range(workspace.case.hardware.shape[0]):
        workspace.theirs.hardware[i] = workspace.case.hardware[i]


@rule
def put(workspace, table, exclusive, first_page, start, entry, digit):
    """Make entry `entry` of the range the state `digit` of the alphabet."""
    workspace.case.ptes[start + entry] = table[entry, digit]
    workspace.case.exclusive[first_page + entry] = exclusive[digit]
    workspace.theirs.exclusive[first_page + entry] = exclusive[digit]


@rule
def count_verdict(union, stands_for, verdicts, counts, sums):
    """How often the verdict was counted, this time included; 0 if it is new and there is no room."""
    used = np.int64(sums[VERDICTS])
    at = 0
    while at < used and verdicts[at] != union:
        at += 1
    if at == used:
        if used == NR_VERDICTS:
            return np.int64(0)
        verdicts[at] = union
        sums[VERDICTS] = np.uint64(used + 1)
    counts[at, CASES] += 1
    counts[at, RAW_CASES] += stands_for
    return counts[at, CASES]


@rule
def run_cases(words, rules, relate, reference, target, workspace, cases):
    """Run `cases`; the number of one with a new red verdict, `cases.last`, or NO_ROOM.

    What does not change between the cases of a call stands in `workspace`
    (fuzz.exhaust.scope). `relate` is the architecture's judge_relation. The red case has
    been counted, and stands in the workspace.
    """
    table, exclusive, digits = cases.table, cases.exclusive, cases.digits
    first_page = cases.first_page
    ours, theirs = workspace.ours, workspace.theirs
    start, end = workspace.case.facts[0].start, workspace.case.facts[0].end
    nr_ptes, nr_states = workspace.case.facts[0].nr_ptes, table.shape[1]
    # A call may change all of a block.
    seen_from, seen_to = (start, end) if nr_ptes < BLOCK else (0, nr_ptes)
    workspace.whole[0] = 0
    rest = cases.first
    for entry in range(end - start - 1, -1, -1):
        digits[entry] = rest % nr_states
        rest = rest // nr_states
        put(workspace, table, exclusive, first_page, start, entry, digits[entry])
    copy_inputs(workspace)
    for number in range(cases.first, cases.last):
        is_sane, stands_for = True, cases.weight
        for entry in range(end - start):
            is_sane = is_sane & (cases.sane[digits[entry]] != 0)
            stands_for *= cases.weights[digits[entry]]
        for i in range(nr_ptes):
            ours.ptes[i] = workspace.case.ptes[i]
            theirs.ptes[i] = workspace.case.ptes[i]
        for i in range(NR_COUNTS):
            ours.counts[i] = 0
            theirs.counts[i] = 0
        lay_bait(workspace)
        our_pages = reference(ours)
        their_pages = target(theirs)
        relate(words, rules, workspace, our_pages, their_pages, cases.batching)
        judge_invariants(words, workspace, is_sane)
        union = union_of(workspace)
        cases.sums[DIGEST] += digest_of(
            workspace, cases.base + np.uint64(number), union, their_pages, seen_from, seen_to
        )
        if differs(workspace, seen_from, seen_to):
            cases.sums[DIFFERING] += ONE
        times = count_verdict(union, stands_for, cases.verdicts, cases.counts, cases.sums)
        if times == 0:
            return NO_ROOM
        if (union & INPUT_CHANGED) != ZERO:
            copy_inputs(workspace)
        # One case of each verdict is shown, the rest is counted.
        if (union & cases.red) != ZERO and times == 1:
            return number
        # The next case: the last entry turns fastest.
        entry = end - start - 1
        while entry >= 0:
            digits[entry] += 1
            if digits[entry] == nr_states:
                digits[entry] = 0
            put(workspace, table, exclusive, first_page, start, entry, digits[entry])
            if digits[entry] != 0:
                break
            entry -= 1
    return cases.last
