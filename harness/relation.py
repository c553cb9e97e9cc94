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

import numpy as np

from mm.flags import VM_SHARED
from mm.jit import jit, rule
from mm.state import BAD_MAP, FLUSH, NO_VM_WRITE, NR_FLUSHES, NR_STAMPS
from reference import x86_64 as reference_x86_64
from reference.walk import change_present, is_changed

from . import classes
from .batches import batch_end, merge, page_is_exclusive, page_row

ZERO = np.uint64(0)
ONE = np.uint64(1)

ACCESSED_MERGED = classes.bit("accessed-merged")
DIRTY_MERGED = classes.bit("dirty-merged")
SOFT_DIRTY_MERGED = classes.bit("soft-dirty-merged")
WRITE_BY_MERGED_DIRTY = classes.bit("write-by-merged-dirty")
WRITE_BY_MERGED_SOFT_DIRTY = classes.bit("write-by-merged-soft-dirty")
DIRTY_MOVED = classes.bit("dirty-moved")
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

# The reference's side of each architecture: the whole walk, and its table of rules.
REFERENCE = {"x86_64": (reference_x86_64.change_pte_range, reference_x86_64.ARCH)}


@rule
def find_coverage(state, covered):
    """Mark the entries whose page lies inside a flush request of `state`; class bits of bad requests."""
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
        if state.flushes[row, 0] != FLUSH:
            continue
        address, pages = state.flushes[row, 1], state.flushes[row, 2]
        if (
            pages == ZERO
            or address < low
            or address >= high
            or (address & (page_size - ONE)) != ZERO
            or pages > (high - address) >> facts.page_shift
        ):
            found = found | FLUSH_OUTSIDE
        if address < low or address >= high:
            continue
        index = np.int64((address - facts.table_addr) >> facts.page_shift)
        # Compared before it is converted: a wild length must not wrap.
        room = facts.end - index
        length = np.int64(pages) if pages < np.uint64(room) else room
        for i in range(index, index + length):
            covered[i] = 1
    return found


@rule
def find_batches(words, rules, workspace):
    """Fill `first`, `changed`, `merged` and `result` of the workspace from the case.

    `ours` serves as the state that the reference's rules read; what they report
    there beyond the reference's own run is not looked at again.
    """
    case, ours = workspace.case, workspace.ours
    facts = case.facts[0]
    for i in range(facts.nr_ptes):
        workspace.first[i] = -1
        workspace.changed[i] = 0
    index = facts.start
    while index < facts.end:
        word = case.ptes[index]
        if not words.present(word):
            index += 1
            continue
        end = batch_end(words, case, index, page_row(words, case, word))
        # One answer for the batch: accessed and dirtiness do not bear on it.
        changed = is_changed(rules, ours, word)
        template = merge(words, case, index, end)
        for i in range(index, end):
            workspace.first[i] = index
            if changed:
                workspace.changed[i] = 1
                workspace.merged[i] = words.advance(template, np.uint64(i - index))
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
    """Classes of an unexplained `word`: how it differs from the nearer of the two legal words."""
    if not words.present(word) and words.present(merged):
        return ENTRY_LOST
    found = fewer(words.difference(own, word), words.difference(merged, word))
    if (
        (found & WRITE_GAINED) != ZERO
        and (state.facts[0].vma_flags & VM_SHARED) == ZERO
        and not page_is_exclusive(words, state, word)
    ):
        found = (found & ~WRITE_GAINED) | COW_WRITE
    return found if found != ZERO else BITS_CHANGED


@jit
def tolerant_explains(words, rules, workspace, index, word):
    """Explanations beyond the exact ones, for a target that cuts batches anywhere.

    Returns two bits: 1 = some tolerant variant yields `word`, 2 = one that does
    needs a flush. Variants: {own; own made dirty, if any entry of the legal batch
    is; pte_mkdirty of own, if any after the first is} x {own accessed; set, if
    any has it}.
    """
    case, ours = workspace.case, workspace.ours
    first = workspace.first[index]
    any_dirty, later_dirty, any_accessed = False, False, False
    i = first
    while i < case.facts[0].end and workspace.first[i] == first:
        other = case.ptes[i] | case.hardware[i]
        any_accessed = any_accessed or words.accessed(other)
        if words.dirty(other):
            any_dirty = True
            later_dirty = later_dirty or i > first
        i += 1
    own = case.ptes[index] | case.hardware[index]
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
    return answer


@rule
def judge_changed(words, rules, workspace, index, batching):
    """Class bits of entry `index`, which is present and which this call changes."""
    case = workspace.case
    own = workspace.ours.ptes[index]
    own_needs = workspace.needed[index] != 0
    word = workspace.theirs.ptes[index]
    covered = workspace.covered[index] != 0
    merged, merged_needs = own, own_needs
    if workspace.merged[index] != (case.ptes[index] | case.hardware[index]):
        result = change_present(rules, workspace.ours, workspace.merged[index])
        merged, merged_needs = result.word, result.flush
    workspace.result[index] = merged

    found = ZERO
    explained = word == own or word == merged
    # Own and merged word give one result and yet disagree about the flush only if
    # a read-only entry has the hardware's dirty bit, which the merge moves first
    # (wild; no right is at stake): then the kernel flushes as it batches.
    needs = own_needs and word == own
    if word == merged:
        needs = merged_needs and (needs or word != own)
    tolerated = 0
    if batching == ANY and not (explained and covered == needs):
        tolerated = tolerant_explains(words, rules, workspace, index, word)
        explained = explained or (tolerated & 1) != 0
        needs = needs or (tolerated & 2) != 0
    if not explained:
        found = found | divergence_classes(words, case, own, merged, word)
    elif word != own:
        found = found | merge_classes(words, case, own, word)
    if covered:
        if not own_needs and not merged_needs and not needs:
            found = found | FLUSH_UNNEEDED
        elif not own_needs:
            found = found | EXTRA_FLUSH
    elif needs:
        found = found | FLUSH_MISSING
    elif own_needs and explained:
        found = found | FLUSH_ELIDED
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
    if workspace.covered[index] != 0:
        found = found | FLUSH_UNNEEDED
    return found


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
def judge_relation(words, rules, workspace, our_pages, their_pages, batching):
    """Fill `found` and `found_case` with the relation's classes; both runs are done."""
    case, ours, theirs = workspace.case, workspace.ours, workspace.theirs
    facts = case.facts[0]
    # The rules that are applied below may report into `ours` again.
    our_bad_map, our_warns = ours.counts[BAD_MAP], ours.counts[NO_VM_WRITE]
    our_stamps = ours.counts[NR_STAMPS]
    found_case = ZERO
    find_coverage(ours, workspace.needed)
    found_case = found_case | find_coverage(theirs, workspace.covered)
    if our_pages != their_pages:
        found_case = found_case | PAGES_WRONG
    if our_bad_map != theirs.counts[BAD_MAP]:
        found_case = found_case | BAD_MAP_WRONG
    if (our_warns != 0) != (theirs.counts[NO_VM_WRITE] != 0):
        found_case = found_case | WARN_WRONG
    their_stamps = theirs.counts[NR_STAMPS]
    if their_stamps > theirs.stamps.shape[0]:
        found_case = found_case | LOG_OVERFLOW
        their_stamps = theirs.stamps.shape[0]
    if (our_stamps != 0 or their_stamps != 0) and not same_stamps(
        ours.stamps, our_stamps, theirs.stamps, their_stamps
    ):
        found_case = found_case | ACCESS_TIME_WRONG

    find_batches(words, rules, workspace)
    for i in range(facts.nr_ptes):
        if i < facts.start or i >= facts.end:
            outside = OUTSIDE_CHANGED if theirs.ptes[i] != case.ptes[i] else ZERO
            workspace.found[i] = outside
        elif workspace.changed[i] != 0:
            workspace.found[i] = judge_changed(words, rules, workspace, i, batching)
        else:
            workspace.found[i] = judge_untouched(words, workspace, i)
    workspace.found_case[0] = found_case
