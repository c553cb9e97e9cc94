"""Many cases in one call: each is run through both sides and judged, nothing in between is Python."""

from typing import Any

import numpy as np

from mm.jit import entry, rule
from mm.state import numba_state, numba_target

from ..handle import numba_handle, workspace_of
from ..judge import numba_judge
from ..workspace import copy_case


@rule
def put_case(stack, case, number, pte, row, page):
    """Copy case `number` of `stack`, whose entries, folios and pages begin there, into `case`; its pages."""
    facts = stack.facts[number]
    case.facts[0] = facts
    for i in range(facts.nr_ptes):
        case.ptes[i] = stack.ptes[pte + i]
        case.hardware[i] = stack.hardware[pte + i]
    pages = np.int64(0)
    for i in range(facts.nr_folios):
        case.folios[i] = stack.folios[row + i]
        pages += stack.folios[row + i].nr_pages
    for i in range(pages):
        case.exclusive[i] = stack.exclusive[page + i]
    return pages


def _signature() -> Any:
    from numba import boolean, int64, types, uint64, void

    return void(
        types.FunctionType(numba_target()),  # reference
        types.FunctionType(numba_target()),  # target
        types.FunctionType(numba_judge()),
        numba_handle(),
        numba_state(),  # stack
        boolean[::1],  # sane
        int64,  # batching
        int64[::1],  # done
        uint64[::1],  # unions
    )


@entry(_signature)
def judge_stack(reference, target, judge, handle, stack, sane, batching, done, unions):
    """Judge the cases of `stack` (harness.arrays.states_of), from number `done[0]` on.

    `sane` says which are judged as sane ones, `unions` gets the classes of each. `done[0]` counts on before the next case is
    run, so that it names the one of which the target does not come back.
    """
    workspace = workspace_of(handle)
    workspace.whole[0] = 0  # a verdict is all that is wanted
    pte, row, page = np.int64(0), np.int64(0), np.int64(0)
    first = done[0]
    for number in range(stack.facts.shape[0]):
        pages = put_case(stack, workspace.case, number, pte, row, page)
        pte += stack.facts[number].nr_ptes
        row += stack.facts[number].nr_folios
        page += pages
        if number < first:
            continue
        done[0] = number
        copy_case(workspace)
        our_pages = reference(workspace.ours)
        their_pages = target(workspace.theirs)
        unions[number] = judge(handle, our_pages, their_pages, sane[number], batching)
    done[0] = stack.facts.shape[0]
