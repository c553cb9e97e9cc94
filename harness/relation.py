"""The relation: every entry of the target's outcome must be explained by the reference.

An entry is explained iff the reference, applied to that one entry with its own
bits or with the exact merge of its legal batch, yields exactly that word. No bit
is masked off. Flushes have a direction: a missing one is a bug, one that only
the merge needs is a cost, one that nothing needs is a bug again. The full
wording, with what was tried, is docs/relation.md.

Everything here is computed from the case and from the two outcomes; what a side
reports of its batches is never read. This is the only module of `harness` that
applies the reference.
"""

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np

from mm.flags import VM_SHARED
from mm.jit import jit, rule
from reference.walk import Changed, change_present, is_changed

from . import classes
from .batches import batch_end, exclusive_place, merge, page_is_exclusive
from .coverage import judge_case
from .demand import UNNEEDED, flush_classes, judge_demand, nmmu_classes
from .workspace import FLUSHED, NOTHING, TOLD

ZERO = np.uint64(0)
ONE = np.uint64(1)

ACCESSED_MERGED = classes.bit("accessed-merged")
DIRTY_MERGED = classes.bit("dirty-merged")
SOFT_DIRTY_MERGED = classes.bit("soft-dirty-merged")
WRITE_BY_MERGED_DIRTY = classes.bit("write-by-merged-dirty")
WRITE_BY_MERGED_SOFT_DIRTY = classes.bit("write-by-merged-soft-dirty")
DIRTY_MOVED = classes.bit("dirty-moved")
COW_WRITE = classes.bit("cow-write")
WRITE_GAINED = classes.bit("write-gained")
ENTRY_LOST = classes.bit("entry-lost")
SKIPPED_CHANGED = classes.bit("skipped-changed")
SWAP_CHANGED = classes.bit("swap-changed")
NONE_CHANGED = classes.bit("none-changed")
OUTSIDE_CHANGED = classes.bit("outside-changed")
FLUSH_UNNEEDED = classes.bit("flush-unneeded")
NMMU_UNNEEDED = classes.bit("nmmu-unneeded")
BITS_CHANGED = classes.bit("bits-changed")
NOT_JUDGED = classes.bit("not-judged")

# Which variants of an entry count as legal: --batching.
EXACT = 0  # its own bits, and the exact merge of its legal batch
ANY = 1  # the same for a target that may cut its batches anywhere
NONE = 2  # its own bits: the target changes one entry at a time


def reference_side(arch: str) -> Callable[..., int]:
    """The reference's change_pte_range of `arch`. Importing compiles, so it is done when asked."""
    function: Callable[..., int] = importlib.import_module(f"reference.{arch}").change_pte_range
    return function


def reference_rules(arch: str) -> Any:
    """The reference's table of rules of `arch`, for the judges."""
    return importlib.import_module(f"reference.{arch}").ARCH


@rule
def find_batches(words, rules, workspace, batching):
    """Fill `first` and `changed` of the workspace from the case.

    `ours` serves as the state that the reference's rules read; what they report
    there beyond the reference's own run is not looked at again.
    """
    case, ours = workspace.case, workspace.ours
    facts = case.facts[0]
    for i in range(facts.nr_ptes):
        workspace.first[i] = -1
        workspace.changed[i] = 0
    index, last = np.uint64(facts.start), np.uint64(facts.end)
    while index < last:
        word = case.ptes[index]
        end = index + ONE
        if words.present(word):
            if batching != NONE:
                end = batch_end(words, case, index)
            # One answer for the batch: accessed and dirtiness do not bear on it.
            changed = np.uint8(1) if is_changed(rules, ours, word) else np.uint8(0)
            for i in range(index, end):
                workspace.first[i] = np.int64(index)
                workspace.changed[i] = changed
        index = end


@rule
def merge_classes(words, state, own, word):
    """The explained classes by which merged result `word` differs from the entry's own result."""
    # Gained: false before true. Without a branch, which no predictor could foresee.
    shared = (state.facts[0].vma_flags & VM_SHARED) != ZERO
    by_write = WRITE_BY_MERGED_DIRTY if shared else WRITE_BY_MERGED_SOFT_DIRTY
    found = ACCESSED_MERGED if words.accessed(own) < words.accessed(word) else ZERO
    found = found | (DIRTY_MERGED if words.dirty(own) < words.dirty(word) else ZERO)
    found = found | (SOFT_DIRTY_MERGED if words.soft_dirty(own) < words.soft_dirty(word) else ZERO)
    found = found | (by_write if words.writable(own) < words.writable(word) else ZERO)
    if found == ZERO:
        # Same bits but one: dirtiness stands elsewhere (RW clear and D set, wild only).
        found = DIRTY_MOVED
    return found


@rule
def fewer(a, b):
    """Whichever of two sets of classes has fewer members, `b` on a tie."""
    count = np.int64(0)
    left, right = a, b
    while left != ZERO or right != ZERO:
        count += np.int64(left & ONE) - np.int64(right & ONE)
        left, right = left >> ONE, right >> ONE
    return b if count >= 0 else a


@jit
def divergence_classes(words, state, own, merged, word):
    """Classes of an unexplained present entry, now `word`: how it differs from the nearer of the two legal words."""
    if not words.present(word) and words.present(merged):
        return ENTRY_LOST
    found = fewer(words.difference(state, own, word), words.difference(state, merged, word))
    if (
        (found & WRITE_GAINED) != ZERO
        and (state.facts[0].vma_flags & VM_SHARED) == ZERO
        and not page_is_exclusive(words, state, word)
    ):
        found = (found & ~WRITE_GAINED) | COW_WRITE
    return found if found != ZERO else BITS_CHANGED


@jit
def tolerant_explains(words, rules, workspace, batch, end, index, word):
    """Explanations beyond the exact ones, for a target that cuts batches anywhere.

    Returns bits: 1 = some tolerant variant yields `word`, 2 = one that does needs
    a flush, 4 = one that does must be told to the coprocessors. Variants: {own; own made dirty, if any entry of the legal batch
    [batch, end) is; pte_mkdirty of own, if any after the first is} x {own accessed; set, if
    any has it}.
    """
    case, ours = workspace.case, workspace.ours
    any_dirty, later_dirty, any_accessed = False, False, False
    for i in range(batch, end):
        other = case.ptes[i] ^ case.hardware[i]
        any_accessed = any_accessed or words.accessed(other)
        if words.dirty(other):
            any_dirty = True
            later_dirty = later_dirty or i > batch
    own = case.ptes[index] ^ case.hardware[index]
    answer = 0
    for dirtied in range(3):
        if (dirtied == 1 and not any_dirty) or (dirtied == 2 and not later_dirty):
            continue
        for made_accessed in range(2):
            if made_accessed == 1 and not any_accessed:
                continue
            variant = own
            if dirtied == 1:
                variant = words.merge_dirty_only(variant)
            if dirtied == 2:
                variant = words.merge_dirty(case, variant)
            if made_accessed == 1:
                variant = words.merge_accessed(variant)
            result = change_present(rules, ours, variant)
            if result.word == word:
                answer = answer | 1
                if result.flush:
                    answer = answer | 2
                if words.needs_nmmu(case, variant, word):
                    answer = answer | 4
    return answer


@rule
def change_merged(words, rules, workspace, template, batch, index):
    """What the reference makes of entry `index` with the bits of its batch merged in, as a `Changed`."""
    case, ours = workspace.case, workspace.ours
    variant = workspace.merged[index]
    if variant == case.ptes[index] ^ case.hardware[index] and words.is_protection(case):
        # Its own bits: the reference's own run has answered.
        return Changed(ours.ptes[index], (workspace.needed[index] & FLUSHED) != NOTHING)
    merged = change_present(rules, ours, variant)
    if words.is_protection(case):
        return Changed(merged.word, merged.flush)
    # Then it matters that the batch is changed, and flushed, as its first entry, and
    # advanced after that.
    head = change_present(rules, ours, template)
    advanced = words.advance(case, head.word, index - batch)
    return Changed(words.with_upgrade_of(advanced, merged.word), head.flush)


@rule
def judge_changed(words, rules, workspace, batch, end, index, merged_needs, batching):
    """Class bits of entry `index` of the legal batch [batch, end), which this call changes.

    `result` has what the merged entry becomes; `merged_needs`: that takes a flush.
    """
    case = workspace.case
    taken = case.ptes[index] ^ case.hardware[index]
    variant, merged = workspace.merged[index], workspace.result[index]
    own = workspace.ours.ptes[index]
    own_needs = (workspace.needed[index] & FLUSHED) != NOTHING
    word = workspace.theirs.ptes[index]
    covered = (workspace.covered[index] & FLUSHED) != NOTHING

    found = ZERO
    by_own, by_merged = word == own, word == merged
    explained = by_own or by_merged
    verdict = judge_demand(own_needs, merged_needs, by_own, by_merged, False, covered)
    tolerated = 0
    if batching == ANY and (not explained or verdict == UNNEEDED):
        tolerated = tolerant_explains(words, rules, workspace, batch, end, index, word)
        explained = explained or (tolerated & 1) != 0
        needs = (tolerated & 2) != 0
        verdict = judge_demand(own_needs, merged_needs, by_own, by_merged, needs, covered)
    if not explained:
        found = found | divergence_classes(words, case, own, merged, word)
    elif word != own:
        found = found | merge_classes(words, case, own, word)
    found = found | flush_classes(verdict, explained)
    told = (workspace.covered[index] & TOLD) != NOTHING
    own_tells = words.needs_nmmu(case, taken, own)
    merged_tells = words.needs_nmmu(case, variant, merged)
    if told or own_tells or merged_tells or (tolerated & 4) != 0:
        needs = (tolerated & 4) != 0
        verdict = judge_demand(own_tells, merged_tells, by_own, by_merged, needs, told)
        found = found | nmmu_classes(verdict)
    return found


@rule
def told_needlessly(workspace, index):
    """Class bits of what the coprocessors were told of an entry, if they need not be told."""
    return NMMU_UNNEEDED if (workspace.covered[index] & TOLD) != NOTHING else ZERO


@rule
def uncalled_for(workspace, index):
    """Class bits of flushes of an entry that this call does not change."""
    found = told_needlessly(workspace, index)
    if (workspace.covered[index] & FLUSHED) != NOTHING:
        found = found | FLUSH_UNNEEDED
    return found


@rule
def judge_untouched(words, workspace, index):
    """Class bits of entry `index`, which is not present or which this call skips."""
    before = workspace.case.ptes[index]
    word = workspace.theirs.ptes[index]
    found = ZERO
    if words.present(before):
        if word != before:
            found = SKIPPED_CHANGED
    elif word != workspace.ours.ptes[index]:
        found = NONE_CHANGED if words.none(before) else SWAP_CHANGED
    return found | uncalled_for(workspace, index)


@rule
def mark_loud(words, workspace):
    """Fill `loud` for the range: 0 = the target leaves the entry as the reference does, flushed and told the same.

    Then its own bits explain it, whatever the merge of its batch would make of it:
    every class that the relation knows takes a difference in one of these. One
    straight loop, of which the compiler makes vectors.
    """
    case, theirs, ours = workspace.case, workspace.theirs, workspace.ours
    facts = case.facts[0]
    for i in range(np.uint64(facts.start), np.uint64(facts.end)):
        word, done = theirs.ptes[i], workspace.covered[i]
        told = (done & TOLD) != NOTHING
        needs = words.needs_nmmu(case, case.ptes[i] ^ case.hardware[i], word)
        same = (word == ours.ptes[i]) & (done == workspace.needed[i]) & (told == needs)
        workspace.loud[i] = np.uint8(not same)
        workspace.found[i] = ZERO


@rule
def judge_batch(words, rules, workspace, batch, end, batching):
    """Fill `found`, and all that explains it, for the entries [batch, end): a legal batch or one entry."""
    case = workspace.case
    word = case.ptes[batch]
    present = words.present(word)
    # One answer for the batch: accessed and dirtiness do not bear on it.
    changed = present and is_changed(rules, workspace.ours, word)
    whole = workspace.whole[0] != 0
    if whole:
        for i in range(batch, end):
            workspace.first[i] = np.int64(batch) if present else np.int64(-1)
            workspace.changed[i] = 1 if changed else 0
    if not changed:
        for i in range(batch, end):
            workspace.found[i] = judge_untouched(words, workspace, i)
        return
    template = merge(words, case, batch, end)
    # One run of the rules answers for all pages of a batch that are alike: in folio and
    # exclusivity, that is. Where a case is described each entry is asked for by itself.
    one_by_one = whole or end - batch == ONE or not words.is_protection(case)
    page = np.uint64(0) if one_by_one else exclusive_place(words, case, word)
    shared_at, exclusive_at = end, end
    shared_needs, exclusive_needs = False, False
    for i in range(batch, end):
        if not whole and workspace.loud[i] == 0:
            continue
        workspace.merged[i] = words.advance(case, template, i - batch)
        exclusive = not one_by_one and case.exclusive[page + (i - batch)] != 0
        like = exclusive_at if exclusive else shared_at
        if one_by_one or like == end:
            result = change_merged(words, rules, workspace, template, batch, i)
            workspace.result[i], needs = result.word, result.flush
            if exclusive:
                exclusive_at, exclusive_needs = i, needs
            else:
                shared_at, shared_needs = i, needs
        else:
            workspace.result[i] = words.advance(case, workspace.result[like], i - like)
            needs = exclusive_needs if exclusive else shared_needs
        workspace.found[i] = judge_changed(words, rules, workspace, batch, end, i, needs, batching)


@rule
def judge_outside(workspace, first, last):
    """Fill `found` for the entries [first, last), which are outside the range."""
    for i in range(first, last):
        same = workspace.theirs.ptes[i] == workspace.case.ptes[i]
        workspace.found[i] = ZERO if same else OUTSIDE_CHANGED
        workspace.first[i] = -1
        workspace.changed[i] = 0


@rule
def legal_end(words, case, index, batching):
    """The end of the legal batch that begins at entry `index`; an entry that is not present is alone."""
    if batching == NONE or not words.present(case.ptes[index]):
        return index + ONE
    return batch_end(words, case, index)


@rule
def run_start(words, case, earliest, index, batching):
    """Where the run of entries that could be in one batch with entry `index` begins, not before `earliest`.

    A batch begins there too: nothing joins that entry to the one before it.
    """
    if batching == NONE or not words.present(case.ptes[index]):
        return index
    key = words.batch_key(case.ptes[index])
    while index > earliest:
        before = words.batch_key(case.ptes[index - ONE])
        if not words.present(before) or words.advance(case, before, ONE) != key:
            break
        key = before
        index -= ONE
    return index


@rule
def judge_relation(words, rules, workspace, our_pages, their_pages, batching):
    """Fill `found` and `found_case` with the relation's classes; both runs are done.

    Most entries agree, so batches are looked for where one does not only.
    """
    case = workspace.case
    facts = case.facts[0]
    workspace.found_case[0] = judge_case(workspace, our_pages, their_pages, False)
    start, last = np.uint64(facts.start), np.uint64(facts.end)
    whole = workspace.whole[0] != 0
    judge_outside(workspace, ZERO, start)
    judge_outside(workspace, last, np.uint64(facts.nr_ptes))
    mark_loud(words, workspace)
    judged, index = start, start
    while index < last:
        if not whole and workspace.loud[index] == 0:
            index += ONE
            continue
        batch = run_start(words, case, judged, index, batching)
        end = legal_end(words, case, batch, batching)
        while end <= index:
            batch = end
            end = legal_end(words, case, batch, batching)
        judge_batch(words, rules, workspace, batch, end, batching)
        judged, index = end, end


@rule
def refuse(words, rules, workspace):
    """Say of a wild case that it is not judged, both runs being done; fill what others read."""
    find_batches(words, rules, workspace, NONE)
    judge_case(workspace, 0, 0, True)
    for i in range(workspace.case.facts[0].nr_ptes):
        workspace.found[i] = ZERO
        workspace.cut[i] = 0
    workspace.found_case[0] = NOT_JUDGED
