"""The features of one case and its outcome, computed: compiled and interpreted.

They come from the case, from its legal batches as the oracles read them, from
the reference's outcome, and from what the judges found on the target's. What the
target did on its way there is never looked at.
"""

from typing import Any

import numpy as np

from mm.flags import (
    FOLIO_ANON,
    MM_CP_PROT_NUMA,
    MM_CP_TRY_CHANGE_WRITABLE,
    VM_MAYWRITE,
    VM_MIXEDMAP,
    VM_PFNMAP,
    VM_SHARED,
    VM_SOFTDIRTY,
    VM_UFFD_RWP,
    VM_UFFD_WP,
)
from mm.jit import rule
from mm.state import BAD_MAP, NO_VM_WRITE, NR_STAMPS

from ..batches import batch_end, exclusive_in, page_row, row_near
from ..census import NONE_ENTRY, present_kind, swap_kind
from ..coverage import find_coverage
from ..handle import numba_handle
from ..workspace import FLUSHED, NOTHING, TOLD
from .families import (
    ABSENT,
    BY_OTHER,
    BY_SOFT_DIRTY,
    BY_UFFD,
    BY_WRITE,
    FOLIO_END,
    MANY,
    PAGE,
    RANGE,
    SMALL,
    WHOLE_CASE,
    family,
    shifts,
)

ZERO = np.uint64(0)
ONE = np.uint64(1)
TWO = np.uint64(2)
THREE = np.uint64(3)
FOUR = np.uint64(4)
FIVE = np.uint64(5)

# Room for all that a case of 512 entries can have: 2 each, 7 for each batch, a few classes each.
MAX_FEATURES = 8192

CALL, MACHINE, NUMA = family("call"), family("machine"), family("numa")
FOLIO, LENGTH, OFFSET = family("folio"), family("length"), family("offset")
BATCH, SUB_BATCH, MERGE = family("batch"), family("sub-batch"), family("merge")
NEIGHBOURS, EDGE, ENTRY = family("neighbours"), family("edge"), family("entry")
FLUSH_SHAPE, BLOCK, REPORT = family("flush"), family("block"), family("report")
CLASS = family("class")
_CALL_CP, _CALL_ACCESS, _CALL_VMA, _CALL_PROT, _CALL_UNPOPULATED = shifts("call")
_MACHINE_CONFIG, _MACHINE_SHIFT = shifts("machine")
_NUMA_FLAGS, _NUMA_NODE, _NUMA_MM, _NUMA_MODE = shifts("numa")
_FOLIO_FLAGS, _FOLIO_ORDER, _FOLIO_CP = shifts("folio")
_BATCH_LENGTH, _BATCH_OFFSET, _BATCH_BEGAN, _BATCH_ENDED = shifts("batch")
_SUB_LENGTH, _SUB_PLACE, _SUB_IS = shifts("sub-batch")
_MERGE_ACCESSED, _MERGE_DIRTY, _MERGE_TEMPLATE, _MERGE_HARDWARE = shifts("merge")
_NEAR_LEFT, _NEAR_RIGHT, _NEAR_STEP, _NEAR_DIFFER = shifts("neighbours")
_EDGE_SIDE, _EDGE_KIND, _EDGE_JOINS = shifts("edge")
_ENTRY_KIND, _ENTRY_CP, _ENTRY_BEFORE, _ENTRY_AFTER = shifts("entry")
_FLUSH_RUNS, _FLUSH_LONGEST, _FLUSH_REACHES = shifts("flush")
_BLOCK_LENGTH, _BLOCK_CUTS, _BLOCK_FOLDED, _BLOCK_HAS = shifts("block")
_REPORT_WARNED, _REPORT_STAMPS = shifts("report")
_CLASS_NAME, _CLASS_KIND = shifts("class")

_ONLY, _FIRST, _MIDDLE, _LAST = range(4)
_STEP_ABSENT, _NEXT, _SAME, _PREVIOUS, _ELSEWHERE = range(5)
# Entries of a contpte block, on the one architecture whose words can be folded.
_BLOCK_ENTRIES = np.uint64(16)
_MOST = np.int64(12)  # the last bucket
_MASK_32 = np.uint64(31)


@rule
def put(out, count, feature):
    """Append `feature`; the new count."""
    if count < out.shape[0]:
        out[count] = feature
        count += 1
    return count


@rule
def flag(condition, bit):
    """1 << `bit` (uint64) if the condition holds, else 0."""
    return ONE << bit if condition else ZERO


@rule
def bucket(number):
    """The bucket (uint64) that a count (int64) falls into."""
    place = np.int64(0)
    if number <= 4:
        place = max(number, np.int64(0))
    else:
        place, limit = np.int64(5), np.int64(8)
        while number > limit and place < _MOST:
            place += 1
            limit = limit + limit
    return np.uint64(place)


@rule
def order_of(folio):
    """The order (uint64) of a folio."""
    order, pages = ZERO, np.uint64(folio.nr_pages)
    while pages > ONE:
        pages = pages >> ONE
        order = order + ONE
    return order


@rule
def kind_of(words, case, word):
    """The kind of any word, as a number of census.KINDS (uint64)."""
    kind = np.int64(NONE_ENTRY)
    if words.present(word):
        kind = np.int64(present_kind(words, case, word))
    elif not words.none(word):
        kind = np.int64(swap_kind(words, case, word))
    return np.uint64(kind)


@rule
def bits_of(words, word):
    """accessed, dirty, soft-dirty, writable, uffd of a present word, as the bits of a field."""
    return (
        flag(words.accessed(word), ZERO)
        | flag(words.dirty(word), ONE)
        | flag(words.soft_dirty(word), TWO)
        | flag(words.writable(word), THREE)
        | flag(words.uffd(word), FOUR)
    )


@rule
def boundary(words, case, left, right):
    """Why entries `left` and `right` = `left` + 1 of the range are not in one legal batch."""
    before, after = case.ptes[left], case.ptes[right]
    if not words.present(before) or not words.present(after):
        return ABSENT
    row = page_row(words, case, before)
    if row < 0 or case.folios[np.uint64(row)].nr_pages == 1:
        return SMALL
    pfn = words.pfn(case, before)
    if words.pfn(case, after) != pfn + ONE:
        return PAGE
    folio = case.folios[np.uint64(row)]
    if pfn + ONE == folio.pfn + np.uint64(folio.nr_pages):
        return FOLIO_END
    if words.soft_dirty(before) != words.soft_dirty(after):
        return BY_SOFT_DIRTY
    if words.writable(before) != words.writable(after):
        return BY_WRITE
    return BY_UFFD if words.uffd(before) != words.uffd(after) else BY_OTHER


@rule
def call_features(words, case, out, count):
    """Of the call, the VMA and the machine."""
    facts = case.facts[0]
    vm = facts.vma_flags
    vma = flag(facts.vma_anon != 0, ZERO) | flag((vm & VM_SOFTDIRTY) == ZERO, ONE)
    vma = vma | flag((vm & VM_UFFD_WP) != ZERO, TWO) | flag((vm & VM_UFFD_RWP) != ZERO, THREE)
    vma = vma | flag((vm & VM_PFNMAP) != ZERO, FOUR) | flag((vm & VM_MIXEDMAP) != ZERO, FIVE)
    prot = facts.newprot
    gives = flag(words.hardware_valid(prot), ZERO) | flag(words.writable(prot), ONE)
    feature = CALL | facts.cp_flags << _CALL_CP | (vm & np.uint64(15)) << _CALL_ACCESS
    feature = feature | vma << _CALL_VMA | gives << _CALL_PROT
    feature = feature | flag(facts.uffd_wp_unpopulated != 0, ZERO) << _CALL_UNPOPULATED
    count = put(out, count, feature)
    config = flag(facts.soft_dirty != 0, ZERO) | flag(facts.uffd_wp != 0, ONE)
    config = config | flag(facts.bbml3 != 0, TWO) | flag(facts.coprocessors != 0, THREE)
    config = config | flag(facts.isa_31 != 0, FOUR) | flag(facts.hash_mmu != 0, FIVE)
    shift = (facts.page_shift & _MASK_32) << _MACHINE_SHIFT
    return put(out, count, MACHINE | config << _MACHINE_CONFIG | shift)


@rule
def folio_features(case, row, out, count):
    """Of the folio in `row` (-1: a page that no folio lists) by the call that meets it."""
    facts = case.facts[0]
    bits, order, nid = ZERO, ZERO, np.int64(0)
    if row >= 0:
        folio = case.folios[np.uint64(row)]
        bits, order, nid = folio.folio_flags, order_of(folio), np.int64(folio.nid)
    feature = FOLIO | bits << _FOLIO_FLAGS | order << _FOLIO_ORDER
    count = put(out, count, feature | facts.cp_flags << _FOLIO_CP)
    if (facts.cp_flags & MM_CP_PROT_NUMA) != ZERO:
        top = (facts.toptier_nodes >> np.uint64(nid)) & ONE
        node = flag(nid == facts.numa_node, ZERO) | top << ONE
        cow = (facts.vma_flags & (VM_SHARED | VM_MAYWRITE)) == VM_MAYWRITE
        users = flag(facts.mm_users != 1, ZERO) | flag(cow, ONE)
        feature = NUMA | bits << _NUMA_FLAGS | node << _NUMA_NODE | users << _NUMA_MM
        mode = facts.numa_balancing_mode & THREE
        count = put(out, count, feature | mode << _NUMA_MODE)
    return count


@rule
def merge_features(words, case, first, end, out, count):
    """Of accessed and dirty in the legal batch [first, end)."""
    accessed, dirty, flips = ZERO, ZERO, ZERO
    for i in range(first, end):
        taken = case.ptes[i] ^ case.hardware[i]
        place = ZERO if i == first else ONE
        accessed = accessed | (ONE << place if words.accessed(taken) else FOUR)
        dirty = dirty | (ONE << place if words.dirty(taken) else FOUR)
        flips = flips | case.hardware[i]
    word = case.ptes[first]
    template = flag(words.soft_dirty(word), ZERO) | flag(words.writable(word), ONE)
    template = template | flag(words.uffd(word), TWO)
    feature = MERGE | accessed << _MERGE_ACCESSED | dirty << _MERGE_DIRTY
    feature = feature | template << _MERGE_TEMPLATE | flag(flips != ZERO, ZERO) << _MERGE_HARDWARE
    return put(out, count, feature)


@rule
def sub_batch_features(case, page, offset, nr, out, count):
    """Of the runs of one exclusivity among the `nr` pages from place `page` of `exclusive` on."""
    asked = (case.facts[0].cp_flags & MM_CP_TRY_CHANGE_WRITABLE) != ZERO
    common = flag(offset != ZERO, ONE) | flag(asked, TWO)
    at = ZERO
    while at < nr:
        exclusive = case.exclusive[page + at]
        end = at + ONE
        while end < nr and case.exclusive[page + end] == exclusive:
            end += ONE
        place = np.int64(_MIDDLE)
        if at == ZERO:
            place = np.int64(_ONLY if end == nr else _FIRST)
        elif end == nr:
            place = np.int64(_LAST)
        feature = SUB_BATCH | bucket(np.int64(end - at)) << _SUB_LENGTH
        feature = feature | np.uint64(place) << _SUB_PLACE
        count = put(out, count, feature | (common | flag(exclusive != 0, ZERO)) << _SUB_IS)
        at = end
    return count


@rule
def block_features(words, case, first, end, out, count):
    """Of the legal batch [first, end) where entries can be folded into blocks."""
    last = end - ONE
    folded = flag(words.folded(case.ptes[first]), ZERO) | flag(words.folded(case.ptes[last]), ONE)
    if folded == ZERO:
        return count
    low = _BLOCK_ENTRIES - ONE
    cuts = flag((first & low) != ZERO, ZERO) | flag((end & low) != ZERO, ONE)
    has = ZERO
    for i in range(first & ~low, min((last | low) + ONE, np.uint64(case.facts[0].nr_ptes))):
        if words.present(case.ptes[i]):
            has = has | flag(words.accessed(case.ptes[i]), ZERO)
            has = has | flag(words.dirty(case.ptes[i]), ONE)
    feature = BLOCK | bucket(np.int64(end - first)) << _BLOCK_LENGTH | cuts << _BLOCK_CUTS
    return put(out, count, feature | folded << _BLOCK_FOLDED | has << _BLOCK_HAS)


@rule
def batch_features(words, case, first, end, began, ended, out, count):
    """Of the legal batch [first, end), which may be one entry."""
    word = case.ptes[first]
    nr = end - first
    row = np.int64(page_row(words, case, word))
    offset, anon, large, page = ZERO, False, False, ZERO
    if row >= 0:
        folio = case.folios[np.uint64(row)]
        offset = words.pfn(case, word) - folio.pfn
        page = np.uint64(folio.first_page) + offset
        anon = (folio.folio_flags & FOLIO_ANON) != ZERO
        large = folio.nr_pages > 1
    count = folio_features(case, row, out, count)
    if large:
        count = put(out, count, LENGTH | min(nr, np.uint64(MANY)))
        count = put(out, count, OFFSET | min(offset, np.uint64(MANY)))
        if anon and nr > ONE:
            count = sub_batch_features(case, page, offset, nr, out, count)
    feature = BATCH | bucket(np.int64(nr)) << _BATCH_LENGTH
    feature = feature | bucket(np.int64(offset)) << _BATCH_OFFSET
    feature = feature | np.uint64(began) << _BATCH_BEGAN | np.uint64(ended) << _BATCH_ENDED
    count = put(out, count, feature)
    if nr > ONE:
        count = merge_features(words, case, first, end, out, count)
    return block_features(words, case, first, end, out, count)


@rule
def entry_features(words, workspace, first, end, kind, row, out, count):
    """Of the entries [first, end), all of one kind, whose pages are in folio `row`."""
    case, ours = workspace.case, workspace.ours
    common = ENTRY | kind << _ENTRY_KIND | case.facts[0].cp_flags << _ENTRY_CP
    before_it = ZERO
    for i in range(first, end):
        word, result = case.ptes[i], ours.ptes[i]
        before, after = ZERO, flag(word != result, ZERO)
        if words.present(word):
            exclusive = exclusive_in(words, case, word, row)
            before = bits_of(words, word) | flag(exclusive, FIVE)
            before = before | flag(case.hardware[i] != ZERO, np.uint64(6))
        elif not words.none(word):
            before = flag(words.swap_soft_dirty(word), TWO)
        if words.present(result):
            after = after | flag(words.writable(result), ONE)
        after = after | flag((workspace.needed[i] & FLUSHED) != NOTHING, TWO)
        after = after | flag((workspace.needed[i] & TOLD) != NOTHING, THREE)
        feature = common | before << _ENTRY_BEFORE | after << _ENTRY_AFTER
        # Neighbours mostly are alike.
        if feature != before_it:
            count = put(out, count, feature)
        before_it = feature
    return count


@rule
def neighbour_features(words, case, left, right, left_kind, right_kind, out, count):
    """Of two neighbours that are in different batches."""
    before, after = case.ptes[left], case.ptes[right]
    step, differ = np.int64(_STEP_ABSENT), ZERO
    if words.present(before) and words.present(after):
        distance = words.pfn(case, after) - words.pfn(case, before)
        step = np.int64(_ELSEWHERE)
        if distance == ONE:
            step = np.int64(_NEXT)
        elif distance == ZERO:
            step = np.int64(_SAME)
        elif distance + ONE == ZERO:
            step = np.int64(_PREVIOUS)
        differ = bits_of(words, before) ^ bits_of(words, after)
        if (
            (differ >> TWO) == ZERO
            and distance == ONE
            and words.advance(case, words.batch_key(before), ONE) != words.batch_key(after)
        ):
            differ = differ | ONE << FIVE
    feature = NEIGHBOURS | left_kind << _NEAR_LEFT | right_kind << _NEAR_RIGHT
    return put(out, count, feature | np.uint64(step) << _NEAR_STEP | differ << _NEAR_DIFFER)


@rule
def edge_features(words, case, out, count):
    """Of the entries just outside of the range."""
    start, end = np.uint64(case.facts[0].start), np.uint64(case.facts[0].end)
    for side in range(np.uint64(2)):
        if side == ZERO:
            if start == ZERO:
                continue
            outside, left = start - ONE, start - ONE
        else:
            if end == np.uint64(case.facts[0].nr_ptes):
                continue
            outside, left = end, end - ONE
        joins = False
        if words.present(case.ptes[left]) and words.present(case.ptes[left + ONE]):
            key = words.advance(case, words.batch_key(case.ptes[left]), ONE)
            joins = key == words.batch_key(case.ptes[left + ONE])
        feature = EDGE | side << _EDGE_SIDE | flag(joins, ZERO) << _EDGE_JOINS
        feature = feature | kind_of(words, case, case.ptes[outside]) << _EDGE_KIND
        count = put(out, count, feature)
    return count


@rule
def flush_features(workspace, out, count):
    """Of the pages that the reference flushes."""
    facts = workspace.case.facts[0]
    runs, longest, run = np.int64(0), np.int64(0), np.int64(0)
    for i in range(facts.start, facts.end):
        if (workspace.needed[i] & FLUSHED) != NOTHING:
            runs += 1 if run == 0 else 0
            run += 1
            longest = max(longest, run)
        else:
            run = np.int64(0)
    reaches = flag((workspace.needed[facts.start] & FLUSHED) != NOTHING, ZERO)
    reaches = reaches | flag(run > 0, ONE)
    feature = FLUSH_SHAPE | bucket(runs) << _FLUSH_RUNS | bucket(longest) << _FLUSH_LONGEST
    return put(out, count, feature | reaches << _FLUSH_REACHES)


@rule
def class_features(words, workspace, out, count):
    """Of the classes that the judges found, and of what the target reported."""
    case, counts = workspace.case, workspace.theirs.counts
    warned = flag(counts[BAD_MAP] != 0, ZERO) | flag(counts[NO_VM_WRITE] != 0, ONE)
    feature = REPORT | warned << _REPORT_WARNED | bucket(counts[NR_STAMPS]) << _REPORT_STAMPS
    count = put(out, count, feature)
    before, before_kind = ZERO, ZERO
    nr_ptes = np.uint64(case.facts[0].nr_ptes)
    for i in range(ZERO, nr_ptes + ONE):
        found, kind = workspace.found_case[0], np.uint64(WHOLE_CASE)
        if i < nr_ptes:
            found = workspace.found[i]
            if found == ZERO:
                continue
            kind = kind_of(words, case, case.ptes[i])
        if found == before and kind == before_kind:
            continue
        before, before_kind = found, kind
        number = ZERO
        while found != ZERO:
            if (found & ONE) != ZERO:
                feature = CLASS | number << _CLASS_NAME | kind << _CLASS_KIND
                count = put(out, count, feature)
            found = found >> ONE
            number = number + ONE
    return count


@rule
def find_features(words, workspace, out):
    """Fill `out` with the features of a judged case, repetitions included; how many they are.

    Reads the case, the reference's table and log, the classes found, and what the
    target reported. Fills `needed` anew from the reference's log.
    """
    case = workspace.case
    find_coverage(workspace.ours, workspace.needed, True)
    count = call_features(words, case, out, np.int64(0))
    count = edge_features(words, case, out, count)
    index, last = np.uint64(case.facts[0].start), np.uint64(case.facts[0].end)
    began, left_kind, row = np.int64(RANGE), ZERO, ZERO
    while index < last:
        word = case.ptes[index]
        kind = kind_of(words, case, word)
        end = index + ONE
        if words.present(word):
            end = batch_end(words, case, index)
            row = row_near(case, words.pfn(case, word), row)
        ended = np.int64(RANGE if end == last else boundary(words, case, end - ONE, end))
        if words.present(word):
            count = batch_features(words, case, index, end, began, ended, out, count)
        count = entry_features(words, workspace, index, end, kind, row, out, count)
        if began != RANGE:
            count = neighbour_features(words, case, index - ONE, index, left_kind, kind, out, count)
        index, began, left_kind = end, ended, kind
    count = flush_features(workspace, out, count)
    return class_features(words, workspace, out, count)


def numba_features() -> Any:
    """The numba signature of an architecture's `features`."""
    from numba import int64, uint64

    return int64(numba_handle(), uint64[::1])
