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
from mm.state import BAD_MAP, FLUSH, NMMU, NO_VM_WRITE, NR_FLUSHES, NR_STAMPS
from reference.walk import change_present, is_changed

from . import classes
from .batches import batch_end, merge, page_is_exclusive
from .workspace import FLUSHED, NOTHING, TOLD

ZERO = np.uint64(0)
ONE = np.uint64(1)

ACCESSED_MERGED = classes.bit("accessed-merged")
DIRTY_MERGED = classes.bit("dirty-merged")
SOFT_DIRTY_MERGED = classes.bit("soft-dirty-merged")
WRITE_BY_MERGED_DIRTY = classes.bit("write-by-merged-dirty")
WRITE_BY_MERGED_SOFT_DIRTY = classes.bit("write-by-merged-soft-dirty")
DIRTY_MOVED = classes.bit("dirty-moved")
EXTRA_NMMU = classes.bit("extra-nmmu")
EXTRA_FLUSH = classes.bit("extra-flush")
FLUSH_ELIDED = classes.bit("flush-elided")
COW_WRITE = classes.bit("cow-write")
WRITE_GAINED = classes.bit("write-gained")
ENTRY_LOST = classes.bit("entry-lost")
SKIPPED_CHANGED = classes.bit("skipped-changed")
SWAP_CHANGED = classes.bit("swap-changed")
NONE_CHANGED = classes.bit("none-changed")
OUTSIDE_CHANGED = classes.bit("outside-changed")
FLUSH_MISSING = classes.bit("flush-missing")
FLUSH_UNNEEDED = classes.bit("flush-unneeded")
NMMU_MISSING = classes.bit("nmmu-missing")
NMMU_UNNEEDED = classes.bit("nmmu-unneeded")
INVALIDATION_WRONG = classes.bit("invalidation-wrong")
FLUSH_OUTSIDE = classes.bit("flush-outside")
PAGES_WRONG = classes.bit("pages-wrong")
BAD_MAP_WRONG = classes.bit("bad-map-wrong")
WARN_WRONG = classes.bit("warn-wrong")
ACCESS_TIME_WRONG = classes.bit("access-time-wrong")
LOG_OVERFLOW = classes.bit("log-overflow")
BITS_CHANGED = classes.bit("bits-changed")

# Which variants of an entry count as legal: --batching.
EXACT = 0  # its own bits, and the exact merge of its legal batch
ANY = 1  # the same for a target that may cut its batches anywhere
NONE = 2  # its own bits: the target changes one entry at a time

# What becomes of the demand that an entry be flushed, or told to the coprocessors.
MET, MISSING, ELIDED, EXTRA, UNNEEDED = range(5)


def reference_side(arch: str) -> Callable[..., int]:
    """The reference's change_pte_range of `arch`. Importing compiles, so it is done when asked."""
    function: Callable[..., int] = importlib.import_module(f"reference.{arch}").change_pte_range
    return function


def reference_rules(arch: str) -> Any:
    """The reference's table of rules of `arch`, for the judges."""
    return importlib.import_module(f"reference.{arch}").ARCH


@rule
def find_coverage(state, covered, blocks):
    """Mark the entries whose page lies inside a row of the log of `state`; class bits of bad rows.

    FLUSHED by a request, TOLD by an invalidation for the coprocessors. Folds and
    unfolds are wrong unless the architecture has `blocks` (harness.contpte
    judges them).
    """
    facts = state.facts[0]
    for i in range(facts.nr_ptes):
        covered[i] = 0
    rows = state.counts[NR_FLUSHES]
    found = ZERO
    if rows > state.flushes.shape[0]:
        found = found | LOG_OVERFLOW
        rows = state.flushes.shape[0]
    page_size = ONE << facts.page_shift
    low = facts.table_addr + (np.uint64(facts.start) << facts.page_shift)
    high = facts.table_addr + (np.uint64(facts.end) << facts.page_shift)
    for row in range(rows):
        kind = state.flushes[row, 0]
        if kind != FLUSH and kind != NMMU:
            if not blocks:
                found = found | INVALIDATION_WRONG
            continue
        mark = FLUSHED if kind == FLUSH else TOLD
        address, pages = state.flushes[row, 1], state.flushes[row, 2]
        if (
            pages == ZERO
            or address < low
            or address >= high
            or (address & (page_size - ONE)) != ZERO
            or pages > (high - address) >> facts.page_shift
        ):
            found = found | (FLUSH_OUTSIDE if kind == FLUSH else INVALIDATION_WRONG)
        if address < low or address >= high:
            continue
        index = np.int64((address - facts.table_addr) >> facts.page_shift)
        # Compared before it is converted: a wild length must not wrap.
        room = facts.end - index
        length = np.int64(pages) if pages < np.uint64(room) else room
        for i in range(index, index + length):
            covered[i] = covered[i] | mark
    return found


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
    found = ZERO
    if words.accessed(word) and not words.accessed(own):
        found = found | ACCESSED_MERGED
    if words.dirty(word) and not words.dirty(own):
        found = found | DIRTY_MERGED
    if words.soft_dirty(word) and not words.soft_dirty(own):
        found = found | SOFT_DIRTY_MERGED
    if words.writable(word) and not words.writable(own):
        if (state.facts[0].vma_flags & VM_SHARED) != ZERO:
            found = found | WRITE_BY_MERGED_DIRTY
        else:
            found = found | WRITE_BY_MERGED_SOFT_DIRTY
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
def judge_demand(own_needs, merged_needs, by_own, by_merged, tolerated, done):
    """What becomes of a demand on one entry: MET, MISSING, ELIDED, EXTRA or UNNEEDED.

    `own_needs`, `merged_needs`: each variant's transition demands it; `by_own`,
    `by_merged`: which of them explain the word; `tolerated`: a tolerant variant
    explains it and demands; `done`: the target did it.
    """
    # Own and merged word give one result and yet disagree about the flush only if
    # a read-only entry has the hardware's dirty bit, which the merge moves first
    # (wild; no right is at stake): then the kernel flushes as it batches.
    needs = own_needs and by_own
    if by_merged:
        needs = merged_needs and (needs or not by_own)
    needs = needs or tolerated
    if done:
        if not own_needs and not merged_needs and not needs:
            return UNNEEDED
        return MET if own_needs else EXTRA
    if needs:
        return MISSING
    return ELIDED if own_needs else MET


@rule
def flush_classes(verdict, explained):
    """The classes of `judge_demand` for a flush request."""
    if verdict == MISSING:
        return FLUSH_MISSING
    if verdict == ELIDED and explained:
        return FLUSH_ELIDED
    if verdict == EXTRA:
        return EXTRA_FLUSH
    return FLUSH_UNNEEDED if verdict == UNNEEDED else ZERO


@rule
def nmmu_classes(verdict):
    """The classes of `judge_demand` for what the coprocessors must be told."""
    if verdict == MISSING:
        return NMMU_MISSING
    if verdict == EXTRA:
        return EXTRA_NMMU
    return NMMU_UNNEEDED if verdict == UNNEEDED else ZERO


@rule
def judge_changed(words, rules, workspace, batch, end, index, batching):
    """Class bits of entry `index` of the legal batch [batch, end), which this call changes."""
    case = workspace.case
    taken = case.ptes[index] ^ case.hardware[index]
    own = workspace.ours.ptes[index]
    own_needs = (workspace.needed[index] & FLUSHED) != NOTHING
    word = workspace.theirs.ptes[index]
    covered = (workspace.covered[index] & FLUSHED) != NOTHING
    variant, merged, merged_needs = taken, own, own_needs
    if workspace.merged[index] != taken:
        variant = workspace.merged[index]
        result = change_present(rules, workspace.ours, variant)
        merged, merged_needs = result.word, result.flush
    if not words.is_protection(case):
        # Then it matters that the batch is changed, and flushed, as its first entry, and
        # advanced after that.
        head = change_present(rules, workspace.ours, workspace.merged[batch])
        advanced = words.advance(case, head.word, index - batch)
        merged, merged_needs = words.with_upgrade_of(advanced, merged), head.flush
    workspace.result[index] = merged

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
def same_stamps(ours, nr_ours, theirs, nr_theirs):
    """Whether two lists of access-time stamps are equal as sets."""
    return _all_in(ours, nr_ours, theirs, nr_theirs) and _all_in(theirs, nr_theirs, ours, nr_ours)


@rule
def _all_in(stamps, nr, others, nr_others):
    for i in range(nr):
        if i > 0 and stamps[i] == stamps[i - 1]:
            continue
        found = False
        for j in range(nr_others):
            if others[j] == stamps[i]:
                found = True
                break
        if not found:
            return False
    return True


@rule
def judge_case(workspace, our_pages, their_pages, blocks):
    """Class bits of the case as a whole; fills `needed` and `covered`. Both runs are done.

    Comes before anything that applies the reference's rules, which may report
    into `ours` again.
    """
    ours, theirs = workspace.ours, workspace.theirs
    find_coverage(ours, workspace.needed, blocks)
    found = find_coverage(theirs, workspace.covered, blocks)
    if our_pages != their_pages:
        found = found | PAGES_WRONG
    if ours.counts[BAD_MAP] != theirs.counts[BAD_MAP]:
        found = found | BAD_MAP_WRONG
    if (ours.counts[NO_VM_WRITE] != 0) != (theirs.counts[NO_VM_WRITE] != 0):
        found = found | WARN_WRONG
    our_stamps, their_stamps = ours.counts[NR_STAMPS], theirs.counts[NR_STAMPS]
    if their_stamps > theirs.stamps.shape[0]:
        found = found | LOG_OVERFLOW
        their_stamps = theirs.stamps.shape[0]
    if (our_stamps != 0 or their_stamps != 0) and not same_stamps(
        ours.stamps, our_stamps, theirs.stamps, their_stamps
    ):
        found = found | ACCESS_TIME_WRONG
    return found


@rule
def agrees(words, workspace, index):
    """Whether the target leaves entry `index` as the reference does, flushed and told the same.

    Then its own bits explain it, whatever the merge of its batch would make of it:
    every class that the relation knows takes a difference in one of these.
    """
    case = workspace.case
    word = workspace.theirs.ptes[index]
    done = workspace.covered[index]
    told = (done & TOLD) != NOTHING
    return (
        (word == workspace.ours.ptes[index])
        & (done == workspace.needed[index])
        & (told == words.needs_nmmu(case, case.ptes[index] ^ case.hardware[index], word))
    )


@rule
def judge_batch(words, rules, workspace, batch, end, batching):
    """Fill `found`, and all that explains it, for the entries [batch, end): a legal batch or one entry."""
    case = workspace.case
    word = case.ptes[batch]
    present = words.present(word)
    # One answer for the batch: accessed and dirtiness do not bear on it.
    changed = present and is_changed(rules, workspace.ours, word)
    for i in range(batch, end):
        workspace.first[i] = np.int64(batch) if present else np.int64(-1)
        workspace.changed[i] = 1 if changed else 0
    if not changed:
        for i in range(batch, end):
            workspace.found[i] = judge_untouched(words, workspace, i)
        return
    whole = workspace.whole[0] != 0
    template = merge(words, case, batch, end)
    for i in range(batch, end):
        workspace.merged[i] = words.advance(case, template, i - batch)
    for i in range(batch, end):
        if whole or not agrees(words, workspace, i):
            workspace.found[i] = judge_changed(words, rules, workspace, batch, end, i, batching)


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
    judged, index = start, start
    while index < last:
        workspace.found[index] = ZERO
        if not whole and agrees(words, workspace, index):
            index += ONE
            continue
        batch = run_start(words, case, judged, index, batching)
        end = legal_end(words, case, batch, batching)
        while end <= index:
            batch = end
            end = legal_end(words, case, batch, batching)
        for i in range(index, end):
            workspace.found[i] = ZERO
        judge_batch(words, rules, workspace, batch, end, batching)
        judged, index = end, end
