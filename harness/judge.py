"""All judges of one case in one pass: the relation, the invariants, the inputs.

`JUDGE[arch]` is compiled once; the campaign and a single replay call the same
function, so that what a campaign sees is what a replay shows.
"""

from typing import Any

from mm.jit import entry, rule

from . import classes
from .batches import ZERO
from .invariants import judge_invariants
from .relation import REFERENCE, judge_relation
from .words.x86_64 import WORDS as WORDS_X86_64
from .workspace import numba_workspace

INPUT_CHANGED = classes.bit("input-changed")


@rule
def inputs_changed(workspace):
    """Whether the target wrote to an input other than the table.

    The hardware's bits may be consumed, which a take does; nothing may be added.
    """
    case, theirs = workspace.case, workspace.theirs
    facts = case.facts[0]
    for i in range(workspace.case_facts.shape[0]):
        if workspace.case_facts[i] != workspace.their_facts[i]:
            return True
    for i in range(facts.nr_ptes):
        if theirs.hardware[i] != ZERO and theirs.hardware[i] != case.hardware[i]:
            return True
    pages = 0
    for row in range(facts.nr_folios):
        a, b = case.folios[row], theirs.folios[row]
        if (
            a.pfn != b.pfn
            or a.nr_pages != b.nr_pages
            or a.folio_flags != b.folio_flags
            or a.nid != b.nid
            or a.first_page != b.first_page
        ):
            return True
        pages += a.nr_pages
    difference = 0
    for page in range(pages):
        difference |= case.exclusive[page] ^ theirs.exclusive[page]
    return difference != 0


@rule
def judge(words, rules, workspace, our_pages, their_pages, sane, batching):
    """Fill `found` and `found_case` with everything that any judge finds; returns their union."""
    judge_relation(words, rules, workspace, our_pages, their_pages, batching)
    judge_invariants(words, workspace, sane)
    if inputs_changed(workspace):
        workspace.found_case[0] = workspace.found_case[0] | INPUT_CHANGED
    union = workspace.found_case[0]
    for i in range(workspace.case.facts[0].nr_ptes):
        union = union | workspace.found[i]
    return union


def numba_judge() -> Any:
    """The numba signature of a judge."""
    from numba import boolean, int64, uint64

    return uint64(numba_workspace(), int64, int64, boolean, int64)


RULES_X86_64 = REFERENCE["x86_64"][1]


@entry(numba_judge)
def judge_x86_64(workspace, our_pages, their_pages, sane, batching):
    """`judge` for x86_64."""
    return judge(WORDS_X86_64, RULES_X86_64, workspace, our_pages, their_pages, sane, batching)


JUDGE = {"x86_64": judge_x86_64}
