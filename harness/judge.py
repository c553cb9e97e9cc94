"""What closes a judgement: the inputs compared, all classes united; and where the judges are.

Each architecture's judge (`harness.judges`) is compiled once; the campaign and a
single replay call the same function, so that what a campaign sees is what a
replay shows.
"""

import importlib
from types import ModuleType
from typing import Any

import numpy as np

from mm.jit import rule

from . import classes
from .batches import ZERO
from .handle import numba_handle
from .workspace import FOLIO_WORDS, is_bait_taken

INPUT_CHANGED = classes.bit("input-changed")
OUTSIDE_CHANGED = classes.bit("outside-changed")


@rule
def inputs_changed(workspace):
    """Whether the target wrote to an input other than the table.

    The hardware's bits may be consumed, which a take does; nothing may be added.
    """
    case, theirs = workspace.case, workspace.theirs
    facts = case.facts[0]
    # Straight loops without a way out: the compiler makes vectors of them.
    difference = ZERO
    for i in range(workspace.case_facts.shape[0]):
        difference = difference | (workspace.case_facts[i] ^ workspace.their_facts[i])
    pages = np.int64(0)
    for row in range(facts.nr_folios):
        pages += case.folios[row].nr_pages
    for i in range(facts.nr_folios * FOLIO_WORDS):
        difference = difference | (workspace.case_folios[i] ^ workspace.their_folios[i])
    for i in range((pages + 7) >> 3):
        difference = difference | (workspace.case_exclusive[i] ^ workspace.their_exclusive[i])
    added = False
    for i in range(facts.nr_ptes):
        left = theirs.hardware[i]
        added = added | ((left != ZERO) & (left != case.hardware[i]))
    return (difference != ZERO) | added


@rule
def union_of(workspace):
    """All classes that were found, once the inputs, and what is behind the window, are compared, too."""
    if is_bait_taken(workspace):
        workspace.found_case[0] = workspace.found_case[0] | OUTSIDE_CHANGED
    if inputs_changed(workspace):
        workspace.found_case[0] = workspace.found_case[0] | INPUT_CHANGED
    union = workspace.found_case[0]
    for i in range(workspace.case.facts[0].nr_ptes):
        union = union | workspace.found[i]
    return union


def numba_judge() -> Any:
    """The numba signature of a judge."""
    from numba import boolean, int64, uint64

    return uint64(numba_handle(), int64, int64, boolean, int64)


def judges_of(arch: str) -> ModuleType:
    """The compiled entry points of `arch`: `judge`, `describe`, `spoil`. Importing compiles."""
    return importlib.import_module(f"harness.judges.{arch}")
