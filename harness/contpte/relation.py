"""The relation on arm64: each entry of the outcome, and each block, against its variants.

CONT is no part of a valid word's comparison but of the block invariant; a fold
shares accessed and dirty bits once more, so a block that its last entry may
have folded may have them in all 16. Words, batches, flushes and the rest are
those of `harness.relation`.
"""

from mm.arm64 import CONT_PTES, PTE_CONT, PTE_DIRTY, PTE_RDONLY, PTE_TYPE_MASK
from mm.jit import jit, rule
from reference.walk import change_present

from .. import classes
from ..coverage import judge_case
from ..demand import UNNEEDED, flush_classes, judge_demand
from ..relation import (
    ACCESSED_MERGED,
    ANY,
    DIRTY_MERGED,
    DIRTY_MOVED,
    NONE_CHANGED,
    OUTSIDE_CHANGED,
    SKIPPED_CHANGED,
    SWAP_CHANGED,
    WRITE_BY_MERGED_DIRTY,
    ZERO,
    divergence_classes,
    find_batches,
    told_needlessly,
    uncalled_for,
)
from ..workspace import BY_MERGED, BY_OWN, FLUSHED, NOTHING
from .blocks import is_folded
from .invalidations import is_committed_alone, judge_invalidations, read_log
from .variants import apply_reference, merge_batches, unfold_blocks

ACCESSED_BY_UNFOLD = classes.bit("accessed-by-unfold")
DIRTY_BY_UNFOLD = classes.bit("dirty-by-unfold")
ACCESSED_BY_FOLD = classes.bit("accessed-by-fold")
DIRTY_BY_FOLD = classes.bit("dirty-by-fold")

# Bits that a fold may add to the entries of its block.
MAY_BE_DIRTY = 1
MAY_BE_ACCESSED = 2
SHARED = 3
# Bits that it sets in all of them: pte_mkcont() until 6.12 sets the type bits, too.
IS_TYPED = 4
# And the RDONLY of the last entry, which the others may lack only if they are wild.
LOSES_RDONLY = 8
GETS_RDONLY = 16


@rule
def shared_by_fold(words, workspace, base):
    """What a fold of the block at `base` may give each of its entries."""
    answer = IS_TYPED if workspace.case.facts[0].mkcont_sets_type != 0 else 0
    last = workspace.result[base + CONT_PTES - 1]
    if not words.writable(last):
        answer |= GETS_RDONLY if (last & PTE_RDONLY) != ZERO else LOSES_RDONLY
    for i in range(base, base + CONT_PTES):
        own, merged = workspace.own[i], workspace.result[i]
        if workspace.changed[i] == 0 and workspace.cut[i] == 0:
            # The fold takes it, and so gets what the hardware did to it.
            own = own ^ workspace.case.hardware[i]
        if words.dirty(own) or words.dirty(merged):
            answer |= MAY_BE_DIRTY
        if words.accessed(own) or words.accessed(merged):
            answer |= MAY_BE_ACCESSED
    return answer


@rule
def comparable(words, word):
    """`word` without CONT where that is no part of what it says: in a valid entry."""
    return word & ~PTE_CONT if words.hardware_valid(word) else word


@rule
def yields(words, state, result, word, shared):
    """Whether `result`, with what a fold may give it, is `word`."""
    wanted, given = comparable(words, word), comparable(words, result)
    if (shared & IS_TYPED) != 0:
        given = given | PTE_TYPE_MASK
    if (shared & GETS_RDONLY) != 0:
        given = given | PTE_RDONLY
    if (shared & LOSES_RDONLY) != 0:
        given = given & ~PTE_RDONLY
    for added in range(SHARED + 1):
        if (added & shared) == added:
            folded = given
            if (added & MAY_BE_DIRTY) != 0:
                folded = words.merge_dirty(state, folded)
            if (added & MAY_BE_ACCESSED) != 0:
                folded = words.merge_accessed(folded)
            if wanted == folded:
                return True
    return False


@rule
def sharing_classes(words, workspace, index, word):
    """The explained classes of `word`: whose accessed and dirty bits entry `index` has."""
    case = workspace.case
    before, own, merged = workspace.before[index], workspace.own[index], workspace.result[index]
    taken = case.ptes[index] ^ case.hardware[index]
    found = ZERO
    if words.accessed(word) and not words.accessed(taken):
        if words.accessed(before):
            found = found | ACCESSED_BY_UNFOLD
        elif words.accessed(merged):
            found = found | ACCESSED_MERGED
        else:
            found = found | ACCESSED_BY_FOLD
    # What the call itself makes dirty has it from nobody: newprot with DBM, but not RDONLY (wild).
    by_call = words.dirty(own) and not words.dirty(before)
    if words.dirty(word) and not words.dirty(taken) and not by_call:
        if words.dirty(before):
            found = found | DIRTY_BY_UNFOLD
        elif words.dirty(merged):
            found = found | DIRTY_MERGED
        else:
            found = found | DIRTY_BY_FOLD
    return found


@jit
def tolerant_explains(words, rules, workspace, index, word, shared):
    """As `relation.tolerant_explains`, from the entries as their blocks left them."""
    case, ours = workspace.case, workspace.ours
    first = workspace.first[index]
    any_dirty, any_accessed = False, False
    i = first
    while i < case.facts[0].end and workspace.first[i] == first:
        any_dirty = any_dirty or words.dirty(workspace.before[i])
        any_accessed = any_accessed or words.accessed(workspace.before[i])
        i += 1
    answer = 0
    for variant_nr in range(4):
        dirtied, made_accessed = (variant_nr & 1) != 0, (variant_nr & 2) != 0
        if (dirtied and not any_dirty) or (made_accessed and not any_accessed):
            continue
        variant = workspace.before[index] & ~PTE_CONT
        if dirtied:
            variant = words.merge_dirty(case, variant)
        if made_accessed:
            variant = words.merge_accessed(variant)
        result = change_present(rules, ours, variant)
        if yields(words, case, result.word & ~PTE_CONT, word, shared):
            answer = answer | 1
            if result.flush:
                answer = answer | 2
    return answer


@rule
def judge_changed(words, rules, workspace, index, shared, batching):
    """Class bits of entry `index`, which this call changes."""
    case = workspace.case
    own, merged = workspace.own[index], workspace.result[index]
    own_needs = (workspace.demand[index] & BY_OWN) != NOTHING
    merged_needs = (workspace.demand[index] & BY_MERGED) != NOTHING
    word = workspace.theirs.ptes[index]
    covered = (workspace.covered[index] & FLUSHED) != NOTHING
    by_own = yields(words, case, own, word, shared)
    by_merged = yields(words, case, merged, word, shared)
    explained = by_own or by_merged
    verdict = judge_demand(own_needs, merged_needs, by_own, by_merged, False, covered)
    if batching == ANY and (not explained or verdict == UNNEEDED):
        tolerated = tolerant_explains(words, rules, workspace, index, word, shared)
        explained = explained or (tolerated & 1) != 0
        needs = (tolerated & 2) != 0
        verdict = judge_demand(own_needs, merged_needs, by_own, by_merged, needs, covered)
    found = flush_classes(verdict, explained) | told_needlessly(workspace, index)
    bare = comparable(words, word)
    if not explained:
        return found | divergence_classes(words, case, own, merged, bare)
    found = found | sharing_classes(words, workspace, index, word)
    if words.writable(word) and not words.writable(own):
        found = found | WRITE_BY_MERGED_DIRTY
    elif (
        # Not for the type bits that a fold of 6.12 sets.
        (bare ^ own) & (PTE_DIRTY | PTE_RDONLY) != ZERO
        and words.dirty(bare) == words.dirty(own)
        and (words.accessed(bare) == words.accessed(own))
    ):
        found = found | DIRTY_MOVED
    return found


@rule
def judge_untouched(words, workspace, index, shared):
    """Class bits of entry `index`, which this call does not change, or must not."""
    case = workspace.case
    facts = case.facts[0]
    word, expected = workspace.theirs.ptes[index], workspace.own[index]
    outside = index < facts.start or index >= facts.end
    found = ZERO if outside else uncalled_for(workspace, index)
    if yields(words, case, expected, word, shared):
        if words.present(word):
            found = found | sharing_classes(words, workspace, index, word)
        return found
    if outside:
        return found | OUTSIDE_CHANGED
    before = case.ptes[index]
    if words.present(before):
        return found | SKIPPED_CHANGED
    return found | (NONE_CHANGED if words.none(before) else SWAP_CHANGED)


@rule
def judge_relation(words, rules, workspace, our_pages, their_pages, batching):
    """Fill `found` and `found_case` with the relation's classes; both runs are done."""
    case, theirs = workspace.case, workspace.theirs
    found_case = judge_case(workspace, our_pages, their_pages, True) | read_log(workspace)
    find_batches(words, rules, workspace, batching)
    unfold_blocks(words, workspace)
    merge_batches(words, workspace)
    apply_reference(words, rules, workspace)
    for base in range(0, case.facts[0].nr_ptes, CONT_PTES):
        last = base + CONT_PTES - 1
        alone = is_committed_alone(words, workspace, last, batching)
        by_last_entry = alone and is_folded(words, theirs, base)
        shared = shared_by_fold(words, workspace, base) if by_last_entry else 0
        for i in range(base, base + CONT_PTES):
            if workspace.changed[i] != 0:
                workspace.found[i] = judge_changed(words, rules, workspace, i, shared, batching)
            else:
                workspace.found[i] = judge_untouched(words, workspace, i, shared)
        workspace.found[base] = workspace.found[base] | judge_invalidations(
            words, workspace, base, by_last_entry, batching
        )
    workspace.found_case[0] = found_case
