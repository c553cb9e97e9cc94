"""arm64: its judge, its census, its canaries, compiled for the campaign's loop.

One layer of calls only: each would be optimized once more with all that it inlines.
"""

from mm.jit import entry

from ..canaries import numba_spoil
from ..canaries import spoil as spoil_outcome
from ..census import describe_case, numba_describe
from ..contpte.blocks import has_torn_block, judge_blocks
from ..contpte.relation import judge_relation
from ..handle import workspace_of
from ..invariants import judge_invariants
from ..judge import numba_judge, union_of
from ..relation import reference_rules, refuse
from ..words.arm64 import WORDS

RULES = reference_rules("arm64")


@entry(numba_judge)
def judge(handle, our_pages, their_pages, sane, batching):
    """Fill `found` and `found_case` with everything that any judge finds; returns their union."""
    workspace = workspace_of(handle)
    if has_torn_block(WORDS, workspace.case):
        refuse(WORDS, RULES, workspace)
    else:
        judge_relation(WORDS, RULES, workspace, our_pages, their_pages, batching)
        judge_invariants(WORDS, workspace, sane)
        judge_blocks(WORDS, workspace)
    return union_of(workspace)


@entry(numba_describe)
def describe(workspace, tally, wild):
    """Add what a judged case is like to the tally."""
    describe_case(WORDS, workspace, tally, wild)


@entry(numba_spoil)
def spoil(workspace, canary):
    """Spoil the target's outcome as `canary` does; what to add to its return value."""
    return spoil_outcome(WORDS, workspace, canary)
