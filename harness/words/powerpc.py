"""powerpc words as the oracles read them. Sources as in `mm.powerpc`; every mask is named there.

The PFN field begins at the page shift, so what looks at it needs the state.
"""

import numpy as np

from mm import powerpc as ppc
from mm.flags import MM_CP_PROT_NUMA
from mm.jit import rule

from .. import classes
from . import absent
from .table import Words

ZERO = np.uint64(0)
ONE = np.uint64(1)
_TYPE = np.uint64((1 << ppc.SWP_TYPE_BITS) - 1)
# The field up to its top bit; below it begins at the page shift.
_RPN_TOP = np.uint64(53)
_RIGHTS = ppc.PAGE_READ | ppc.PAGE_WRITE | ppc.PAGE_EXEC
_NONE_IGNORES = ppc.PAGE_DIRTY | ppc.PAGE_ACCESSED
_CACHE_MODE = ppc.PAGE_SAO | ppc.PAGE_NON_IDEMPOTENT
# What a TLB entry would do differently, besides reading, writing and executing.
_ATTRIBUTES = _CACHE_MODE | ppc.PAGE_PRIVILEGED
# Rights and attributes, for the name of a difference; WRITE has its own.
_PROTECTION = (
    ppc.PAGE_READ
    | ppc.PAGE_EXEC
    | ppc.PAGE_PRIVILEGED
    | _CACHE_MODE
    | ppc.PAGE_PRESENT
    | ppc.PAGE_INVALID
    | ppc.PAGE_PTE
)
# What has a class of its own, besides the PFN.
_NAMED = ppc.PAGE_WRITE | ppc.PAGE_DIRTY | ppc.PAGE_ACCESSED | ppc.PAGE_SOFT_DIRTY

DIRTY_LOST = classes.bit("dirty-lost")
DIRTY_GAINED = classes.bit("dirty-gained")
ACCESSED_LOST = classes.bit("accessed-lost")
ACCESSED_GAINED = classes.bit("accessed-gained")
SOFT_DIRTY_LOST = classes.bit("soft-dirty-lost")
SOFT_DIRTY_GAINED = classes.bit("soft-dirty-gained")
WRITE_LOST = classes.bit("write-lost")
WRITE_GAINED = classes.bit("write-gained")
PFN_CHANGED = classes.bit("pfn-changed")
PROTECTION_CHANGED = classes.bit("protection-changed")
BITS_CHANGED = classes.bit("bits-changed")


@rule
def none(word):
    """No bit but accessed and dirty is set."""
    return (word & ~_NONE_IGNORES) == ZERO


@rule
def present(word):
    """A page entry that is present, or (INVALID) just being changed."""
    if (word & ppc.PAGE_PTE) == ZERO:
        return False
    return (word & (ppc.PAGE_PRESENT | ppc.PAGE_INVALID)) != ZERO


@rule
def hardware_valid(word):
    """The MMU translates through the entry and some access is granted, so a TLB may hold it."""
    valid = ppc.PAGE_PRESENT | ppc.PAGE_PTE
    return (word & valid) == valid and (word & _RIGHTS) != ZERO


@rule
def writable(word):
    """_PAGE_WRITE is set."""
    return (word & ppc.PAGE_WRITE) != ZERO


@rule
def dirty(word):
    """_PAGE_DIRTY is set."""
    return (word & ppc.PAGE_DIRTY) != ZERO


@rule
def accessed(word):
    """_PAGE_ACCESSED is set."""
    return (word & ppc.PAGE_ACCESSED) != ZERO


@rule
def soft_dirty(word):
    """_PAGE_SOFT_DIRTY is set."""
    return (word & ppc.PAGE_SOFT_DIRTY) != ZERO


@rule
def _field(state):
    """The mask of the PFN field."""
    shift = state.facts[0].page_shift
    return ((ONE << (_RPN_TOP - shift)) - ONE) << shift


@rule
def pfn(state, word):
    """The page frame number."""
    return (word & _field(state)) >> state.facts[0].page_shift


@rule
def advance(state, word, pages):
    """`word` for the page that is `pages` further on; the carry leaves the field as in the kernel."""
    return word + (pages << state.facts[0].page_shift)


@rule
def batch_key(word):
    """`word` without accessed and dirty, the only bits in which a batch may differ."""
    return word & ~(ppc.PAGE_ACCESSED | ppc.PAGE_DIRTY)


@rule
def merge_dirty(state, word):
    """pte_mkdirty(): dirty, and soft-dirty whether that is configured or not."""
    return word | ppc.PAGE_DIRTY | ppc.PAGE_SOFT_DIRTY


@rule
def merge_dirty_only(word):
    """Dirty as by a merge that leaves soft-dirty alone: for foreign targets (tolerant form)."""
    return word | ppc.PAGE_DIRTY


@rule
def merge_accessed(word):
    """pte_mkyoung()."""
    return word | ppc.PAGE_ACCESSED


@rule
def special(word):
    """_PAGE_SPECIAL is set."""
    return (word & ppc.PAGE_SPECIAL) != ZERO


@rule
def difference(state, ours, theirs):
    """The classes of the bits in which present word `theirs` (the target's) differs from `ours`."""
    found = ZERO
    delta = ours ^ theirs
    if (delta & _field(state)) != ZERO:
        found = found | PFN_CHANGED
    if (delta & ppc.PAGE_WRITE) != ZERO:
        found = found | (WRITE_GAINED if writable(theirs) else WRITE_LOST)
    if (delta & ppc.PAGE_DIRTY) != ZERO:
        found = found | (DIRTY_GAINED if dirty(theirs) else DIRTY_LOST)
    if (delta & ppc.PAGE_ACCESSED) != ZERO:
        found = found | (ACCESSED_GAINED if accessed(theirs) else ACCESSED_LOST)
    if (delta & ppc.PAGE_SOFT_DIRTY) != ZERO:
        found = found | (SOFT_DIRTY_GAINED if soft_dirty(theirs) else SOFT_DIRTY_LOST)
    if (delta & _PROTECTION) != ZERO:
        found = found | PROTECTION_CHANGED
    if (delta & ~(_PROTECTION | _NAMED | _field(state))) != ZERO:
        found = found | BITS_CHANGED
    return found


@rule
def revoked(state, old, new):
    """Whether a TLB entry made from `old` grants or does something that `new` does not.

    Accessed is no right.
    """
    if (new & ppc.PAGE_PRESENT) == ZERO or ((old ^ new) & _field(state)) != ZERO:
        return True
    if (old & ~new & _RIGHTS) != ZERO or ((old ^ new) & _ATTRIBUTES) != ZERO:
        return True
    # The MMU marks dirty once: with a cached dirty entry it never will again.
    cached_dirty = (old & ppc.PAGE_WRITE) != ZERO and (old & ppc.PAGE_DIRTY) != ZERO
    return cached_dirty and (new & ppc.PAGE_DIRTY) == ZERO


@rule
def impossible(word):
    """A present word that these kernels never leave behind."""
    whole = ppc.PAGE_PRESENT | ppc.PAGE_PTE
    # INVALID stands for the moment between start and commit only.
    if (word & whole) != whole or (word & ppc.PAGE_INVALID) != ZERO:
        return True
    return (word & (ppc.PAGE_WRITE | ppc.PAGE_READ)) == ppc.PAGE_WRITE


@rule
def needs_nmmu(state, old, new):
    """Whether the coprocessors' own MMU must be told of the write upgrade from `old` to `new`.

    radix__ptep_modify_prot_commit(), arch/powerpc/mm/book3s64/radix_pgtable.c:
    is_pte_rw_upgrade(), before ISA 3.1, with coprocessors attached.
    """
    facts = state.facts[0]
    if facts.isa_31 != 0 or facts.coprocessors <= 0 or facts.hash_mmu != 0:
        return False
    read_only = (old & (ppc.PAGE_READ | ppc.PAGE_WRITE)) == ppc.PAGE_READ
    return read_only and (new & ppc.PAGE_WRITE) != ZERO


@rule
def is_protection(state):
    """Whether the call's newprot has no PFN and no SPECIAL, which pte_modify() would take from it.

    It takes newprot whole, so such a one (wild) changes the page of each entry,
    and what a batch makes of it depends on which entry was its first.
    """
    return (state.facts[0].newprot & (_field(state) | ppc.PAGE_SPECIAL)) == ZERO


@rule
def with_upgrade_of(word, other):
    """`word` with the two bits of `other` that pte_mkwrite() sets."""
    both = ppc.PAGE_READ | ppc.PAGE_WRITE
    return (word & ~both) | (other & both)


@rule
def has_skip_by_write(state):
    """Whether a NUMA scan could skip an entry because the one before it is PROT_NONE and it writes only.

    6.17 and 6.18 skip PROT_NONE entries by the batch, which may mix the write bit, and
    here that bit tells PROT_NONE from what is not. No kernel makes an entry that grants
    writing alone.
    """
    facts = state.facts[0]
    if (facts.cp_flags & MM_CP_PROT_NUMA) == ZERO or facts.protnone_before_lookup != 0:
        return False
    for i in range(facts.start + 1, facts.end):
        before, word = state.ptes[i - 1], state.ptes[i]
        alone = present(word) and (word & _RIGHTS) == ppc.PAGE_WRITE
        if alone and present(before) and (before & _RIGHTS & ~ppc.PAGE_WRITE) == ZERO:
            return True
    return False


@rule
def swap_type(word):
    """The type field of a swap-like entry."""
    return np.int64(word & _TYPE)


@rule
def swap_offset(state, word):
    """The offset, which is the PFN field."""
    return word & _field(state)


@rule
def swap_payload(state, word):
    """The offset: the marker's kind."""
    return (word & _field(state)) >> state.facts[0].page_shift


@rule
def swap_soft_dirty(word):
    """The soft-dirty bit of a swap-like entry."""
    return (word & ppc.SWP_SOFT_DIRTY) != ZERO


@rule
def set_writable(word):
    """`word` made readable and writable, as pte_mkwrite() does."""
    return word | ppc.PAGE_READ | ppc.PAGE_WRITE


@rule
def clear_dirty(word):
    """`word` made clean."""
    return word & ~ppc.PAGE_DIRTY


@rule
def clear_accessed(word):
    """`word` made old."""
    return word & ~ppc.PAGE_ACCESSED


@rule
def clear_soft_dirty(word):
    """`word` without its soft-dirty bit."""
    return word & ~ppc.PAGE_SOFT_DIRTY


@rule
def make_impossible(word):
    """`word` as a start without its commit leaves it."""
    return word | ppc.PAGE_INVALID


WORDS = Words(
    none=none,
    present=present,
    hardware_valid=hardware_valid,
    writable=writable,
    dirty=dirty,
    accessed=accessed,
    soft_dirty=soft_dirty,
    uffd=absent.no_bit,
    pfn=pfn,
    advance=advance,
    batch_key=batch_key,
    folded=absent.no_bit,
    merge_dirty=merge_dirty,
    merge_dirty_only=merge_dirty_only,
    merge_accessed=merge_accessed,
    special=special,
    difference=difference,
    revoked=revoked,
    repainted=absent.never_repainted,
    impossible=impossible,
    needs_nmmu=needs_nmmu,
    is_protection=is_protection,
    with_upgrade_of=with_upgrade_of,
    swap_type=swap_type,
    swap_offset=swap_offset,
    swap_payload=swap_payload,
    swap_soft_dirty=swap_soft_dirty,
    set_writable=set_writable,
    set_uffd_writable=absent.same,
    clear_dirty=clear_dirty,
    clear_accessed=clear_accessed,
    clear_soft_dirty=clear_soft_dirty,
    make_impossible=make_impossible,
)
