"""The arrays that judging one case needs; made once, used for every case."""

from typing import Any, NamedTuple

import numpy as np

from mm.jit import entry, rule
from mm.state import FOLIO, MAX_PTES, NR_COUNTS, State, empty_state

FOLIO_WORDS = FOLIO.itemsize // 8
# Entries behind the target's window, but for a window that ends where its table does.
BEHIND = 2

# Bits of `needed` and `covered`, of `demand`, and of `logged`.
FLUSHED = np.uint8(1)
TOLD = np.uint8(2)
BY_OWN = np.uint8(1)
BY_MERGED = np.uint8(2)
UNFOLDED = np.uint8(1)
FOLDED = np.uint8(2)
NOTHING = np.uint8(0)
NO_WORD = np.uint64(0)
ONE = np.uint64(1)


class Workspace(NamedTuple):
    """One case, two runs of it, and what the judges find.

    `case`       State, the inputs as they were given; nobody writes to it
    `ours`       State of the reference's run; shares the read-only inputs of `case`
    `theirs`     State of the target's run; has copies of all inputs, so that a
                 target which writes to one is seen, and a bait behind the window
    `case_facts`, `their_facts`, `case_folios`, ...  uint64[], the inputs of both seen as
                 plain words, so that comparing them costs next to nothing
    `found`      uint64[entries], class bits of each entry
    `found_case` uint64[1], class bits of the case as a whole
    `needed`     uint8[entries], FLUSHED = the reference flushes the page of the entry, TOLD =
                 it tells the coprocessors at once
    `covered`    uint8[entries], what the target does, likewise
    `changed`    uint8[entries], 1 = present, and this call takes and rewrites it
    `first`      int64[entries], first entry of the legal batch around a present entry, else -1
    `merged`     uint64[entries], the entry with accessed and dirty merged from its batch
    `result`     uint64[entries], what the reference makes of `merged`
    `whole`      int64[1], 1 = the four above are wanted of each entry; 0 = only of those that
                 tell the two outcomes apart, which is all that a verdict takes
    `loud`       uint8[entries], 1 = a judge must look at the entry closely

    For contpte (harness.contpte) only:

    `before`     uint64[entries], the entry as it is when it is changed: its block unfolded
    `own`        uint64[entries], what the reference makes of `before`
    `demand`     uint8[entries], BY_OWN and BY_MERGED: whose transition needs a flush
    `cut`        uint8[entries], 1 = its block is folded and must be unfolded first
    `logged`     uint8[entries], at a block's first entry: UNFOLDED, FOLDED by the target's log
    """

    case: State
    ours: State
    theirs: State
    case_facts: Any
    their_facts: Any
    case_folios: Any
    their_folios: Any
    case_exclusive: Any
    their_exclusive: Any
    found: Any
    found_case: Any
    needed: Any
    covered: Any
    changed: Any
    first: Any
    merged: Any
    result: Any
    whole: Any
    loud: Any
    before: Any
    own: Any
    demand: Any
    cut: Any
    logged: Any


def _as_words(array: Any) -> Any:
    """The memory of `array`, whose size is a multiple of 8 bytes, as uint64."""
    return np.asarray(array).view(np.uint64)


def workspace_for(case: State) -> Workspace:
    """A workspace around `case`, whose arrays it shares."""
    nr_ptes, nr_folios, nr_pages = len(case.ptes), len(case.folios), len(case.exclusive)
    own = empty_state(nr_ptes, 1, 1)
    ours = own._replace(facts=case.facts, folios=case.folios, exclusive=case.exclusive)
    theirs = empty_state(nr_ptes + BEHIND, nr_folios, nr_pages)
    return Workspace(
        case=case,
        ours=ours,
        theirs=theirs,
        case_facts=_as_words(case.facts),
        their_facts=_as_words(theirs.facts),
        case_folios=_as_words(case.folios),
        their_folios=_as_words(theirs.folios),
        case_exclusive=_as_words(case.exclusive),
        their_exclusive=_as_words(theirs.exclusive),
        found=np.zeros(nr_ptes, np.uint64),
        found_case=np.zeros(1, np.uint64),
        needed=np.zeros(nr_ptes, np.uint8),
        covered=np.zeros(nr_ptes, np.uint8),
        changed=np.zeros(nr_ptes, np.uint8),
        first=np.zeros(nr_ptes, np.int64),
        merged=np.zeros(nr_ptes, np.uint64),
        result=np.zeros(nr_ptes, np.uint64),
        whole=np.ones(1, np.int64),
        loud=np.zeros(nr_ptes, np.uint8),
        before=np.zeros(nr_ptes, np.uint64),
        own=np.zeros(nr_ptes, np.uint64),
        demand=np.zeros(nr_ptes, np.uint8),
        cut=np.zeros(nr_ptes, np.uint8),
        logged=np.zeros(nr_ptes, np.uint8),
    )


def numba_workspace() -> Any:
    """The numba type of `Workspace`, for eager signatures."""
    from numba import typeof

    return typeof(workspace_for(empty_state(MAX_PTES, 1, 1)))


def _signature() -> Any:
    from numba import void

    return void(numba_workspace())


@rule
def copy_case(workspace):
    """Copy the case for both runs and empty their logs.

    The reference shares the inputs that it only reads; the target gets copies of all.
    """
    case, ours, theirs = workspace.case, workspace.ours, workspace.theirs
    facts = case.facts[0]
    theirs.facts[0] = facts
    # Few arrays in each loop: of more, the compiler does not check that they lie apart,
    # and makes no vectors.
    for i in range(facts.nr_ptes):
        ours.ptes[i] = case.ptes[i]
        theirs.ptes[i] = case.ptes[i]
    for i in range(facts.nr_ptes):
        ours.hardware[i] = case.hardware[i]
        theirs.hardware[i] = case.hardware[i]
    pages = np.int64(0)
    for row in range(facts.nr_folios):
        pages += case.folios[row].nr_pages
    for i in range(facts.nr_folios * FOLIO_WORDS):
        workspace.their_folios[i] = workspace.case_folios[i]
    for i in range((pages + 7) >> 3):
        workspace.their_exclusive[i] = workspace.case_exclusive[i]
    for i in range(NR_COUNTS):
        ours.counts[i] = 0
        theirs.counts[i] = 0
    lay_bait(workspace)


@rule
def bait_of(case):
    """What stands behind the target's window: the next page in the state of the last entry, where there is one."""
    facts = case.facts[0]
    return case.ptes[facts.nr_ptes - 1] + (ONE << facts.page_shift)


@rule
def lay_bait(workspace):
    """Let a batch that runs past the end of the window find there what it looks for, and no more.

    The table goes on there, and so may its folio: who takes too much, changes it.
    """
    theirs, nr_ptes = workspace.theirs, workspace.case.facts[0].nr_ptes
    if nr_ptes + BEHIND <= theirs.ptes.shape[0]:
        theirs.ptes[nr_ptes] = bait_of(workspace.case)
        theirs.ptes[nr_ptes + 1] = NO_WORD
        theirs.hardware[nr_ptes] = NO_WORD


@rule
def is_bait_taken(workspace):
    """Whether the target changed what stands behind its window."""
    theirs, nr_ptes = workspace.theirs, workspace.case.facts[0].nr_ptes
    if nr_ptes + BEHIND > theirs.ptes.shape[0]:
        return False
    left = theirs.ptes[nr_ptes] ^ bait_of(workspace.case)
    return (left | theirs.ptes[nr_ptes + 1] | theirs.hardware[nr_ptes]) != NO_WORD


@entry(_signature)
def set_up(workspace):
    """`copy_case`, to be called from Python."""
    copy_case(workspace)
