"""One case through one target, judged: arrays in, values out."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from mm.state import (
    BAD_MAP,
    FLUSH,
    FOLD,
    LIVE,
    LOADS,
    NMMU,
    NO_VM_WRITE,
    NR_FLUSHES,
    NR_STAMPS,
    NR_TRACE,
    STORES,
    TAKES,
    TRACE_BATCH,
    TRACE_COMMIT,
    UNFOLD,
    State,
)

from .arrays import state_of
from .case import Case
from .classes import NUMBER
from .contain import contained_workspace, run_contained, traceback_of
from .handle import handle_of
from .judge import judges_of
from .relation import EXACT, reference_side
from .sane import is_sane
from .targets import Function, Target
from .workspace import Workspace, set_up, workspace_for

KINDS = {int(FLUSH): "flush", int(UNFOLD): "unfold", int(FOLD): "fold", int(NMMU): "nmmu"}


@dataclass(frozen=True)
class Outcome:
    """What one run left behind."""

    pages: int
    ptes: tuple[int, ...]
    flushes: tuple[tuple[int, int], ...]  # requests in order: (address, pages)
    invalidations: tuple[tuple[int, int, str], ...]  # implicit ones: (address, pages, kind)
    bad_map: int
    no_vm_write: int
    access_time: tuple[int, ...]
    batches: tuple[tuple[int, int], ...]  # traced builds only, as all below
    commits: tuple[tuple[int, int, int], ...]
    loads: int
    stores: int
    takes: int


@dataclass(frozen=True)
class Judgement:
    """A case, both outcomes, and the class bits that the judges found."""

    case: Case
    sane: bool
    target: str
    ours: Outcome
    theirs: Outcome
    found: tuple[int, ...]  # class bits of each entry
    found_case: int
    union: int
    first: tuple[int, ...]  # first entry of the legal batch around each entry, or -1
    changed: tuple[int, ...]
    result: tuple[int, ...]  # what the merged entry becomes, where `changed`
    how: tuple[str, ...] = ()  # how a run ended that did not come back, in lines


def outcome_of(state: State, pages: int) -> Outcome:
    """The outcome that the logs and the table of `state` hold."""
    counts = [int(c) for c in state.counts]
    rows = [
        (int(kind), int(address), int(length))
        for kind, address, length in state.flushes[: min(counts[NR_FLUSHES], len(state.flushes))]
    ]
    trace = [tuple(int(x) for x in row) for row in state.trace[: counts[NR_TRACE]]]
    return Outcome(
        pages=int(pages),
        ptes=tuple(int(word) for word in state.ptes[: int(state.facts[0].nr_ptes)]),
        flushes=tuple((a, n) for kind, a, n in rows if kind == int(FLUSH)),
        invalidations=tuple((a, n, KINDS[kind]) for kind, a, n in rows if kind != int(FLUSH)),
        bad_map=counts[BAD_MAP],
        no_vm_write=counts[NO_VM_WRITE],
        access_time=tuple(int(pfn) for pfn in state.stamps[: counts[NR_STAMPS]]),
        batches=tuple((i, n) for kind, i, n, _ in trace if kind == TRACE_BATCH),
        commits=tuple((i, n, w) for kind, i, n, w in trace if kind == TRACE_COMMIT),
        loads=counts[LOADS],
        stores=counts[STORES],
        takes=counts[TAKES],
    )


def remains(state: State, pages: int) -> tuple[Any, ...]:
    """All that a judge may look at after a run: the outcome, and the inputs, which a mutant may write to."""
    inputs = (state.facts, state.folios, state.exclusive, state.hardware)
    logged = int(state.counts[LIVE])
    return outcome_of(state, pages), logged, *(array.tobytes() for array in inputs)


def run(case: Case, function: Function) -> Outcome:
    """The outcome of `function` on a fresh copy of `case`, unjudged."""
    state = state_of(case)
    # Words wrap around by design; only numpy's scalars remark on it.
    with np.errstate(over="ignore"):
        pages = function(state)
    return outcome_of(state, pages)


def prepare(case: Case, *, contained: bool = False) -> tuple[Workspace, Outcome]:
    """A workspace in which the reference has run on `case`, and its outcome.

    `contained`: one for a target that runs in a process of its own.
    """
    workspace = workspace_for(state_of(case))
    with np.errstate(over="ignore"):
        set_up(workspace)
        pages = reference_side(case.arch)(workspace.ours)
    if contained:
        workspace = contained_workspace(workspace)
    return workspace, outcome_of(workspace.ours, pages)


def judge_case(case: Case, target: Target, batching: int = EXACT) -> Judgement:
    """`case` run through the reference and through `target`, and judged."""
    workspace, ours = prepare(case, contained=target.contained)
    return judge_prepared(case, target, workspace, ours, batching)


def judge_prepared(
    case: Case, target: Target, workspace: Workspace, ours: Outcome, batching: int = EXACT
) -> Judgement:
    """`case` run through `target` and judged, in a workspace that `prepare` made for it."""
    if target.contained:
        return _judge_contained(case, target, workspace, ours, batching)
    try:
        with np.errstate(over="ignore"):
            their_pages = int(target.function(workspace.theirs))
    except Exception as error:
        if not target.may_raise:
            raise
        return judge_lost(case, target.name, ours, "target-raised", traceback_of(error))
    return judge_outcome(case, target.name, workspace, ours, their_pages, batching)


def _judge_contained(
    case: Case, target: Target, workspace: Workspace, ours: Outcome, batching: int
) -> Judgement:
    with np.errstate(over="ignore"):
        ending = run_contained(target.function, workspace.theirs)
    if ending.name:
        return judge_lost(case, target.name, ours, ending.name, ending.how)
    return judge_outcome(case, target.name, workspace, ours, ending.pages, batching)


def judge_lost(
    case: Case, target: str, ours: Outcome, name: str, how: tuple[str, ...]
) -> Judgement:
    """The judgement of a run that did not come back; the class `name` and the lines `how` tell.

    What it left behind half done is not judged: the outcome shown is the input.
    """
    theirs = outcome_of(state_of(case), 0)
    nr = len(case.ptes)
    bits = 1 << NUMBER[name]
    return Judgement(
        case=case,
        sane=is_sane(case),
        target=target,
        ours=ours,
        theirs=theirs,
        found=(0,) * nr,
        found_case=bits,
        union=bits,
        first=(-1,) * nr,
        changed=(0,) * nr,
        result=(0,) * nr,
        how=how,
    )


def judge_outcome(
    case: Case,
    target: str,
    workspace: Workspace,
    ours: Outcome,
    their_pages: int,
    batching: int = EXACT,
) -> Judgement:
    """The judgement of an outcome that stands in `workspace.theirs`."""
    sane = is_sane(case)
    theirs = outcome_of(workspace.theirs, their_pages)
    with np.errstate(over="ignore"):
        union = judges_of(case.arch).judge(
            handle_of(workspace), ours.pages, their_pages, sane, batching
        )
    nr = len(case.ptes)
    return Judgement(
        case=case,
        sane=sane,
        target=target,
        ours=ours,
        theirs=theirs,
        found=tuple(int(bits) for bits in workspace.found[:nr]),
        found_case=int(workspace.found_case[0]),
        union=int(union),
        first=tuple(int(i) for i in workspace.first[:nr]),
        changed=tuple(int(c) for c in workspace.changed[:nr]),
        result=tuple(int(word) for word in workspace.result[:nr]),
    )
