"""The invariants: an absolute oracle that judges an outcome alone, without any reference.

It catches what both sides get wrong together. The letters are those of
docs/relation.md, which has the wording and what was tried. N, D, S, T and the
page part of F hold for every input; W, V, U, X and the rest of F only where the
case is sane, because a wild input breaks them before any call.
"""

import numpy as np

from mm.flags import VM_SHARED, VM_WRITE
from mm.jit import rule
from mm.layout import PTE_MARKER_UFFD_WP

from . import classes
from .batches import exclusive_in, page_is_exclusive, row_near
from .workspace import FLUSHED, NOTHING

ZERO = np.uint64(0)
MARKER_UFFD_WP = np.uint64(PTE_MARKER_UFFD_WP)

N = classes.bit("invariant-N")
W = classes.bit("invariant-W")
V = classes.bit("invariant-V")
U = classes.bit("invariant-U")
D = classes.bit("invariant-D")
S = classes.bit("invariant-S")
F = classes.bit("invariant-F")
T = classes.bit("invariant-T")
X = classes.bit("invariant-X")
FLUSH_OUTSIDE = classes.bit("flush-outside")


@rule
def judge_permissions(words, state, word):
    """W, V, U and X of present `word`, the entry after the call; sane cases only."""
    facts = state.facts[0]
    found = ZERO
    if words.writable(word):
        if (facts.vma_flags & VM_WRITE) == ZERO:
            found = found | V
        if words.uffd(word):
            found = found | U
        private = (facts.vma_flags & VM_SHARED) == ZERO
        if private and not page_is_exclusive(words, state, word):
            found = found | W
    if words.impossible(word):
        found = found | X
    return found


@rule
def judge_present(words, state, old, new, covered, sane):
    """Class bits of an in-range entry that was present: D, S, F, T, and the permissions."""
    found = ZERO
    if words.dirty(old) and not words.dirty(new):
        found = found | D
    if words.accessed(old) and not words.accessed(new):
        found = found | D
    tracked = state.facts[0].soft_dirty != 0
    if tracked and words.soft_dirty(old) and not words.soft_dirty(new):
        found = found | S
    if sane and not words.present(new):
        found = found | F
    # On the way the word may be 0, which counts as not inverted, and then the
    # kernel itself changes the PFN. It takes a PFN field of all zeros or all
    # ones and a protection without any bit: a wild case. So is a PFN in newprot.
    old_pfn = words.pfn(state, old)
    corner = old_pfn == ZERO or old_pfn > state.facts[0].highest_memmap_pfn
    corner = corner or not words.is_protection(state)
    if (sane or not corner) and words.pfn(state, new) != old_pfn:
        found = found | F
    if not covered and words.hardware_valid(old) and words.revoked(state, old, new):
        found = found | T
    if sane and words.present(new):
        found = found | judge_permissions(words, state, new)
    return found


@rule
def judge_swap(words, state, old, new, sane):
    """Class bits of an in-range entry that was swap-like: S, F, X."""
    facts = state.facts[0]
    kind = words.swap_type(old)
    # Only a uffd-wp marker may go; which ones may is the relation's business.
    if kind == facts.swp_marker and words.none(new):
        return ZERO
    found = ZERO
    downgraded = kind == facts.swp_device_write and words.swap_type(new) == facts.swp_device_read
    tracked = facts.soft_dirty != 0
    lost = words.swap_soft_dirty(old) and not words.swap_soft_dirty(new)
    if tracked and lost and not downgraded:
        found = found | S
    if words.swap_offset(state, old) != words.swap_offset(state, new):
        found = found | F
    if sane:
        if words.present(new):
            return found | F
        after = words.swap_type(new)
        if after == facts.swp_migration_write or after == facts.swp_device_write:
            found = found | X
    return found


@rule
def judge_none(words, state, old, new, sane):
    """Class bits of an in-range entry that was none: it stays, or is the uffd-wp marker."""
    if new == old or not sane:
        return ZERO
    marker = (
        not words.present(new)
        and words.swap_type(new) == state.facts[0].swp_marker
        and words.swap_payload(state, new) == MARKER_UFFD_WP
    )
    return ZERO if marker else F


@rule
def may_break(words, state, old, new, covered, may_write):
    """Whether a present entry that became `new` could break an invariant other than W.

    A quick answer: each of the tests of `judge_present`, at its strictest, without a
    branch between them. `may_write`: the VMA has VM_WRITE.
    """
    write = words.writable(new)
    loud = words.dirty(old) > words.dirty(new)
    loud = loud | (words.accessed(old) > words.accessed(new))
    loud = loud | (words.soft_dirty(old) > words.soft_dirty(new))
    loud = loud | (words.pfn(state, old) != words.pfn(state, new))
    loud = loud | (not words.present(new))
    loud = loud | ((covered < FLUSHED) & words.hardware_valid(old) & words.revoked(state, old, new))
    loud = loud | (write & ((not may_write) | words.uffd(new)))
    return loud | words.impossible(new)


# Bits of `loud`.
LOUD = np.uint8(1)
GAINED = np.uint8(2)


@rule
def mark_loud(words, workspace, asks_for_page):
    """Fill `loud` for the range: LOUD = an invariant could be broken, GAINED = W by a gain alone.

    One straight loop, of which the compiler makes vectors. `asks_for_page`: W counts.
    """
    case, theirs = workspace.case, workspace.theirs
    facts = case.facts[0]
    may_write = (facts.vma_flags & VM_WRITE) != ZERO
    for i in range(np.uint64(facts.start), np.uint64(facts.end)):
        before, new = case.ptes[i], theirs.ptes[i]
        # An entry that was rewritten was taken, and what the hardware set
        # before that is part of what must not be lost.
        old = before ^ (case.hardware[i] if new != before else ZERO)
        loud = may_break(words, case, old, new, workspace.covered[i] & FLUSHED, may_write)
        # A swap-like entry always is looked at.
        loud = (loud | (not words.present(before))) & ((new != before) | (not words.none(before)))
        # In a sane case the page of a writable entry is exclusive, so only a gain can break W.
        gained = asks_for_page & (words.writable(new) > words.writable(before))
        workspace.loud[i] = np.uint8(loud) * LOUD | np.uint8(gained) * GAINED


@rule
def judge_outside(words, workspace, first, last):
    """Add N to the entries [first, last), which are outside the range, if they changed."""
    for i in range(first, last):
        old, new = workspace.case.ptes[i], workspace.theirs.ptes[i]
        if new != old and not words.repainted(old, new):
            workspace.found[i] = workspace.found[i] | N


@rule
def judge_invariants(words, workspace, sane):
    """Add the invariants' classes to `found` and `found_case`; coverage is known already."""
    case, theirs = workspace.case, workspace.theirs
    facts = case.facts[0]
    if (workspace.found_case[0] & FLUSH_OUTSIDE) != ZERO:
        workspace.found_case[0] = workspace.found_case[0] | N
    start, end = np.uint64(facts.start), np.uint64(facts.end)
    judge_outside(words, workspace, ZERO, start)
    judge_outside(words, workspace, end, np.uint64(facts.nr_ptes))
    asks_for_page = sane and (facts.vma_flags & VM_SHARED) == ZERO
    mark_loud(words, workspace, asks_for_page)
    near = ZERO
    for i in range(start, end):
        loud = workspace.loud[i]
        if loud == NOTHING:
            continue
        old, new = case.ptes[i], theirs.ptes[i]
        found = ZERO
        if loud == GAINED:
            near = row_near(case, words.pfn(case, new), near)
            if exclusive_in(words, case, new, near):
                continue
        if words.present(old):
            if new != old:
                old = old ^ case.hardware[i]
            covered = workspace.covered[i] & FLUSHED
            found = judge_present(words, case, old, new, covered != NOTHING, sane)
        elif words.none(old):
            found = judge_none(words, case, old, new, sane)
        else:
            found = judge_swap(words, case, old, new, sane)
        workspace.found[i] = workspace.found[i] | found
