"""What kinds of cases were run: counts that show whether a campaign tried what matters.

Everything is read off the case and the reference's outcome, never off a target.
"""

from typing import Any

import numpy as np

from mm import flags
from mm.jit import rule
from mm.layout import PTE_MARKER_GUARD, PTE_MARKER_POISONED, PTE_MARKER_UFFD_WP
from mm.state import FLUSH, NR_FLUSHES

from .batches import NO_PAGE, ZERO, page_row
from .classes import NR_CLASSES
from .workspace import numba_workspace

# Kinds of entry; the number is the place in KINDS.
KINDS = (
    "none",
    "anon",
    "file",
    "zero-page",
    "special",
    "ksm",
    "zone-device",
    "prot-none",
    "no-page",
    "swap",
    "migration-read",
    "migration-read-exclusive",
    "migration-write",
    "device-private-read",
    "device-private-write",
    "device-exclusive",
    "hwpoison",
    "marker-uffd-wp",
    "marker-poison",
    "marker-guard",
    "unknown",
)
NONE_ENTRY = KINDS.index("none")
ANON = KINDS.index("anon")
FILE = KINDS.index("file")
ZERO_PAGE = KINDS.index("zero-page")
SPECIAL = KINDS.index("special")
KSM = KINDS.index("ksm")
ZONE_DEVICE = KINDS.index("zone-device")
PROT_NONE = KINDS.index("prot-none")
WITHOUT_PAGE = KINDS.index("no-page")
SWAP = KINDS.index("swap")
MIGRATION_READ = KINDS.index("migration-read")
MIGRATION_READ_EXCLUSIVE = KINDS.index("migration-read-exclusive")
MIGRATION_WRITE = KINDS.index("migration-write")
DEVICE_READ = KINDS.index("device-private-read")
DEVICE_WRITE = KINDS.index("device-private-write")
DEVICE_EXCLUSIVE = KINDS.index("device-exclusive")
HWPOISON = KINDS.index("hwpoison")
MARKER_UFFD_WP = KINDS.index("marker-uffd-wp")
MARKER_POISON = KINDS.index("marker-poison")
MARKER_GUARD = KINDS.index("marker-guard")
UNKNOWN = KINDS.index("unknown")

# Traits of a case, each with what it means.
TRAITS = (
    ("wild", "breaks a rule that a kernel keeps"),
    ("mid-folio start", "a batch starts at another page than the folio's first"),
    ("mixed exclusivity", "a batch has exclusive and shared pages"),
    ("batch > 1", "more than one entry is changed as a batch"),
    ("sub-batches", "a write upgrade must split a batch by exclusivity"),
    ("shifted exclusivity", "the historical condition: page i and page start + i differ"),
    ("hardware bits", "the MMU flips a bit between detection and take"),
    ("folded block", "a contpte block is folded (arm64)"),
    ("cut block", "a folded block must be unfolded, because it is changed only in part (arm64)"),
    ("no change", "no entry changes"),
)
(
    WILD,
    MID_FOLIO,
    MIXED,
    BATCH,
    SUB_BATCHES,
    SHIFTED,
    HARDWARE,
    FOLDED_BLOCK,
    CUT_BLOCK,
    NO_CHANGE,
) = range(len(TRAITS))

# The tally of a campaign: one int64 array.
CLASS_CASES = 0  # + class
CLASS_ENTRIES = NR_CLASSES  # + class
KIND_CASES = 2 * NR_CLASSES  # + kind
TRAIT_CASES = KIND_CASES + len(KINDS)  # + trait
CASES = TRAIT_CASES + len(TRAITS)
ENTRIES = CASES + 1  # in the range
# Of described cases only, as all kinds and traits are.
DESCRIBED = CASES + 2  # described cases
DESCRIBED_ENTRIES = CASES + 3  # their entries in the range
ACTIVE = CASES + 4  # those of them that the reference changes or flushes
REQUESTS = CASES + 5  # rows of the logs that ask for a flush: the reference's, then the target's
INVALIDATIONS = CASES + 7  # those that are sent at once, likewise
TALLY_SIZE = CASES + 9

# A campaign describes every so-many-th of its cases: what kinds of cases it tries is a matter
# of shares, and describing all of them took a fifth of its time. Classes are counted in all.
DESCRIBE_EVERY = 16

_ONE = np.uint64(1)
_PAYLOAD_UFFD_WP = np.uint64(PTE_MARKER_UFFD_WP)
_PAYLOAD_POISON = np.uint64(PTE_MARKER_POISONED)
_PAYLOAD_GUARD = np.uint64(PTE_MARKER_GUARD)


def empty_tally() -> np.ndarray:
    """A tally with nothing counted."""
    return np.zeros(TALLY_SIZE, np.int64)


@rule
def present_kind(words, state, word):
    """The kind of present `word`."""
    facts = state.facts[0]
    if not words.hardware_valid(word):
        return PROT_NONE
    if words.pfn(state, word) == facts.zero_pfn:
        return ZERO_PAGE
    if words.special(word):
        return SPECIAL
    row = page_row(words, state, word)
    if row == NO_PAGE:
        return WITHOUT_PAGE
    bits = ZERO if row < 0 else state.folios[row].folio_flags
    if (bits & flags.FOLIO_KSM) != ZERO:
        return KSM
    if (bits & flags.FOLIO_ZONE_DEVICE) != ZERO:
        return ZONE_DEVICE
    return ANON if (bits & flags.FOLIO_ANON) != ZERO else FILE


@rule
def swap_kind(words, state, word):
    """The kind of swap-like `word`."""
    facts = state.facts[0]
    kind = words.swap_type(word)
    answer = UNKNOWN
    if kind == facts.swp_marker:
        payload = words.swap_payload(state, word)
        if payload == _PAYLOAD_UFFD_WP:
            answer = MARKER_UFFD_WP
        elif payload == _PAYLOAD_POISON:
            answer = MARKER_POISON
        elif payload == _PAYLOAD_GUARD:
            answer = MARKER_GUARD
    elif kind == facts.swp_migration_write:
        answer = MIGRATION_WRITE
    elif kind == facts.swp_migration_read:
        answer = MIGRATION_READ
    elif kind == facts.swp_migration_read_exclusive:
        answer = MIGRATION_READ_EXCLUSIVE
    elif kind == facts.swp_device_write:
        answer = DEVICE_WRITE
    elif kind == facts.swp_device_read:
        answer = DEVICE_READ
    elif kind == facts.swp_device_exclusive or kind == facts.swp_device_exclusive_write:
        answer = DEVICE_EXCLUSIVE
    elif kind == facts.swp_hwpoison:
        answer = HWPOISON
    elif kind < facts.swp_hwpoison:
        answer = SWAP
    return answer


@rule
def count_batches(words, workspace):
    """The traits (bits) that the legal batches of the case have."""
    case = workspace.case
    facts = case.facts[0]
    upgrades = (facts.cp_flags & flags.MM_CP_TRY_CHANGE_WRITABLE) != ZERO and (
        facts.vma_flags & flags.VM_SHARED
    ) == ZERO
    traits = 0
    index = facts.start
    while index < facts.end:
        first = workspace.first[index]
        end = index + 1
        if first < 0 or workspace.changed[index] == 0:
            index = end
            continue
        while end < facts.end and workspace.first[end] == first:
            end += 1
        row = page_row(words, case, case.ptes[index])
        if row >= 0 and case.folios[row].nr_pages > 1:
            folio = case.folios[row]
            start = np.int64(words.pfn(case, case.ptes[index]) - folio.pfn)
            head = folio.first_page
            anon = (folio.folio_flags & flags.FOLIO_ANON) != ZERO
            mixed, shifted = False, False
            for i in range(end - index):
                here = case.exclusive[head + start + i]
                mixed = mixed or here != case.exclusive[head + start]
                shifted = shifted or here != case.exclusive[head + i]
            if start > 0:
                traits |= 1 << MID_FOLIO
            if end - index > 1:
                traits |= 1 << BATCH
            if mixed:
                traits |= 1 << MIXED
            if mixed and anon and upgrades:
                traits |= 1 << SUB_BATCHES
            if shifted and anon and upgrades:
                traits |= 1 << SHIFTED
        index = end
    return traits


@rule
def count_log(state, tally, side):
    """Add the log of `state`, side 0 or 1, to the tally."""
    rows = min(state.counts[NR_FLUSHES], state.flushes.shape[0])
    for row in range(rows):
        place = REQUESTS if state.flushes[row, 0] == FLUSH else INVALIDATIONS
        tally[place + side] += 1


@rule
def count_bits(bits, tally, place, times):
    """Add `times` at `place` + n for each bit n of `bits`."""
    number = place
    while bits != ZERO:
        tally[number] += np.int64(bits & _ONE) * times
        bits = bits >> _ONE
        number += 1


@rule
def is_described(index):
    """Whether a campaign describes its case `index`: a matter of the number alone."""
    return index % DESCRIBE_EVERY == 0


@rule
def describe_case(words, workspace, tally, wild):
    """Add the kinds and traits of a judged case, all of whose entries have been explained."""
    case, ours = workspace.case, workspace.ours
    facts = case.facts[0]
    kinds, traits = 0, count_batches(words, workspace)
    active, any_change = 0, False
    for i in range(facts.start, facts.end):
        word = case.ptes[i]
        if words.present(word):
            kinds |= 1 << present_kind(words, case, word)
            if words.folded(word):
                traits |= 1 << FOLDED_BLOCK
                traits |= np.int64(workspace.cut[i]) << CUT_BLOCK
        elif words.none(word):
            kinds |= 1 << NONE_ENTRY
        else:
            kinds |= 1 << swap_kind(words, case, word)
        if case.hardware[i] != ZERO:
            traits |= 1 << HARDWARE
        if ours.ptes[i] != word:
            any_change = True
        if ours.ptes[i] != word or workspace.needed[i] != 0:
            active += 1
    if wild:
        traits |= 1 << WILD
    if not any_change:
        traits |= 1 << NO_CHANGE
    for kind in range(len(KINDS)):
        tally[KIND_CASES + kind] += kinds >> kind & 1
    for trait in range(len(TRAITS)):
        tally[TRAIT_CASES + trait] += traits >> trait & 1
    count_log(ours, tally, 0)
    count_log(workspace.theirs, tally, 1)
    tally[DESCRIBED] += 1
    tally[DESCRIBED_ENTRIES] += facts.end - facts.start
    tally[ACTIVE] += active


@rule
def count_case(workspace, union, tally):
    """Add a judged case and its classes, `union` of them, to the tally.

    What the case is like is `describe_case`'s to add.
    """
    facts = workspace.case.facts[0]
    nr_ptes = np.uint64(facts.nr_ptes)
    tally[CASES] += 1
    tally[ENTRIES] += facts.end - facts.start
    if union == ZERO:
        return
    count_bits(union, tally, CLASS_CASES, 1)
    # Neighbours mostly are of the same classes, and are counted together.
    start = ZERO
    for i in range(_ONE, nr_ptes + _ONE):
        if i == nr_ptes or workspace.found[i] != workspace.found[start]:
            count_bits(workspace.found[start], tally, CLASS_ENTRIES, np.int64(i - start))
            start = np.uint64(i)


def numba_describe() -> Any:
    """The numba signature of a description."""
    from numba import boolean, int64, void

    return void(numba_workspace(), int64[::1], boolean)
