"""What a call may make of an entry, computed from the input: unfold first, then merge, then apply.

To change a part of a folded block, the kernel unfolds it: all 16 entries are
rewritten without CONT, with the accessed and dirty bits of all. What a batch
shares comes on top. The wording is that of docs/relation.md.
"""

import numpy as np

from mm.arm64 import CONT_PTES, PTE_CONT, PTE_RDONLY
from mm.jit import rule
from reference.walk import change_present

from ..batches import ZERO, with_bits_of
from ..workspace import BY_MERGED, BY_OWN, NOTHING


@rule
def touched_first(words, workspace, base):
    """The entry by which the block at `base` is unfolded, -1 if no folded entry of it is changed.

    The first one that is changed; but of a batch that reaches into the block from
    before it, the kernel looks at the last one.
    """
    first = workspace.first
    for i in range(base, base + CONT_PTES):
        if workspace.changed[i] != 0 and words.folded(workspace.case.ptes[i]):
            touched = i
            while first[i] < base and touched + 1 < base + CONT_PTES:
                if first[touched + 1] != first[i]:
                    break
                touched += 1
            return touched
    return -1


@rule
def repainted_as(words, word, template):
    """`word` with the RDONLY of `template`, unless writable: pte_mkclean() hides that it differs."""
    if words.writable(word):
        return word
    return (word & ~PTE_RDONLY) | (template & PTE_RDONLY)


@rule
def unfold_blocks(words, workspace):
    """Fill `before` and `cut`: each entry as it is when it is changed.

    A folded block of which some entry is changed counts as dirty and accessed
    throughout if any of its entries is. It is cut, and loses CONT, unless one
    batch covers it.
    """
    case = workspace.case
    for base in range(0, case.facts[0].nr_ptes, CONT_PTES):
        dirty, accessed = False, False
        for i in range(base, base + CONT_PTES):
            word = case.ptes[i] ^ case.hardware[i]
            dirty = dirty or words.dirty(word)
            accessed = accessed or words.accessed(word)
        touched = touched_first(words, workspace, base)
        last = base + CONT_PTES - 1
        whole = workspace.first[base] >= 0 and workspace.first[base] == workspace.first[last]
        for i in range(base, base + CONT_PTES):
            word = case.ptes[i]
            workspace.cut[i] = 1 if touched >= 0 and not whole else 0
            if touched >= 0 or workspace.changed[i] != 0:
                word = word ^ case.hardware[i]
            if touched >= 0:
                if dirty:
                    word = words.merge_dirty(case, word)
                if accessed:
                    word = words.merge_accessed(word)
                if not whole:
                    word = repainted_as(words, word & ~PTE_CONT, case.ptes[touched])
            workspace.before[i] = word


@rule
def taken(workspace, index):
    """The word that a batch takes from entry `index`: a block that is taken whole stays as it is."""
    if workspace.cut[index] != 0:
        return workspace.before[index]
    return workspace.case.ptes[index] ^ workspace.case.hardware[index]


@rule
def merge_batches(words, workspace):
    """Fill `merged`: the first entry of each batch with the bits of all, advanced."""
    case = workspace.case
    facts = case.facts[0]
    index = facts.start
    while index < facts.end:
        end = index + 1
        if workspace.changed[index] != 0:
            template = taken(workspace, index)
            while end < facts.end and workspace.first[end] == index:
                template = with_bits_of(words, case, template, taken(workspace, end))
                end += 1
            for i in range(index, end):
                workspace.merged[i] = words.advance(case, template, np.uint64(i - index))
        index = end


@rule
def apply_reference(words, rules, workspace):
    """Fill `own` and `result`: what the reference makes of each variant, stored without CONT.

    An entry that this call does not change stays as its block left it; a
    swap-like or empty one is what the reference's own run made of it.
    """
    case, ours = workspace.case, workspace.ours
    facts = case.facts[0]
    for i in range(facts.nr_ptes):
        word = workspace.before[i]
        if workspace.changed[i] != 0:
            own = change_present(rules, ours, word & ~PTE_CONT)
            merged = own
            if (workspace.merged[i] ^ word) & ~PTE_CONT != ZERO:
                merged = change_present(rules, ours, workspace.merged[i] & ~PTE_CONT)
            workspace.own[i] = own.word & ~PTE_CONT
            workspace.result[i] = merged.word & ~PTE_CONT
            demand = BY_OWN if own.flush else NOTHING
            workspace.demand[i] = demand | (BY_MERGED if merged.flush else NOTHING)
        else:
            inside = i >= facts.start and i < facts.end
            if inside and not words.present(word):
                word = ours.ptes[i]
            workspace.own[i] = word
            workspace.result[i] = word
