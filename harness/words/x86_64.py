"""x86_64 words as the oracles read them. Sources as in `mm.x86_64`; every mask is named there."""

import numpy as np

from mm import x86_64 as x86
from mm.jit import rule

from .. import classes
from . import absent
from .table import Words

ZERO = np.uint64(0)
_ADDRESS = x86.PTE_PFN_MASK
_DIRTY_BITS = x86.PAGE_DIRTY | x86.PAGE_SAVED_DIRTY
# pte_none() ignores what an erratum of early Xeon Phi CPUs lets the hardware set.
_NONE_IGNORES = x86.PAGE_ACCESSED | x86.PAGE_DIRTY
_CACHE_MODE = x86.PAGE_PWT | x86.PAGE_PCD | x86.PAGE_PAT
# What a stale TLB entry would still grant or do differently.
_ATTRIBUTES = _CACHE_MODE | x86.PAGE_GLOBAL | x86.PAGE_PKEY_MASK
_RIGHTS = x86.PAGE_RW | x86.PAGE_USER
_SOFT_BITS = (
    x86.PAGE_ACCESSED
    | _DIRTY_BITS
    | x86.PAGE_SOFT_DIRTY
    | x86.PAGE_UFFD
    | x86.PAGE_RW
    | x86.PTE_PFN_MASK
)
_PROTECTION = (
    x86.PAGE_PRESENT
    | x86.PAGE_USER
    | x86.PAGE_GLOBAL
    | x86.PAGE_NX
    | x86.PAGE_PKEY_MASK
    | _CACHE_MODE
)
_OTHER = ~(_SOFT_BITS | _PROTECTION)
_SWAP_OFFSET = np.uint64(((1 << 50) - 1) << 9)

DIRTY_LOST = classes.bit("dirty-lost")
DIRTY_GAINED = classes.bit("dirty-gained")
ACCESSED_LOST = classes.bit("accessed-lost")
ACCESSED_GAINED = classes.bit("accessed-gained")
SOFT_DIRTY_LOST = classes.bit("soft-dirty-lost")
SOFT_DIRTY_GAINED = classes.bit("soft-dirty-gained")
WRITE_LOST = classes.bit("write-lost")
WRITE_GAINED = classes.bit("write-gained")
UFFD_CHANGED = classes.bit("uffd-changed")
PFN_CHANGED = classes.bit("pfn-changed")
PROTECTION_CHANGED = classes.bit("protection-changed")
BITS_CHANGED = classes.bit("bits-changed")


@rule
def none(word):
    """No bit but accessed and dirty is set."""
    return (word & ~_NONE_IGNORES) == ZERO


@rule
def present(word):
    """The kernel keeps a page behind the entry, PROT_NONE or not."""
    return (word & (x86.PAGE_PRESENT | x86.PAGE_GLOBAL)) != ZERO


@rule
def hardware_valid(word):
    """The MMU translates through the entry, so a TLB may hold it."""
    return (word & x86.PAGE_PRESENT) != ZERO


@rule
def writable(word):
    """_PAGE_RW is set (no shadow stacks here)."""
    return (word & x86.PAGE_RW) != ZERO


@rule
def dirty(word):
    """Dirty by hardware or saved."""
    return (word & _DIRTY_BITS) != ZERO


@rule
def accessed(word):
    """_PAGE_ACCESSED is set."""
    return (word & x86.PAGE_ACCESSED) != ZERO


@rule
def soft_dirty(word):
    """_PAGE_SOFT_DIRTY is set."""
    return (word & x86.PAGE_SOFT_DIRTY) != ZERO


@rule
def uffd(word):
    """_PAGE_UFFD is set."""
    return (word & x86.PAGE_UFFD) != ZERO


@rule
def _frame(word):
    """The page frame number; entries that are not valid store it inverted (L1TF)."""
    address = word & _ADDRESS
    if word != ZERO and (word & x86.PAGE_PRESENT) == ZERO:
        address = address ^ _ADDRESS
    return address >> x86.PFN_SHIFT


@rule
def pfn(state, word):
    """The page frame number."""
    return _frame(word)


@rule
def advance(state, word, pages):
    """`word` for the page that is `pages` further on, all other bits kept.

    Works on the whole word, as pte_advance_pfn() does: at the ends of the PFN
    field the carry leaves it, which no sane PFN reaches.
    """
    step = pages << x86.PFN_SHIFT
    if word != ZERO and (word & x86.PAGE_PRESENT) == ZERO:
        return word - step
    return word + step


@rule
def batch_key(word):
    """`word` without accessed and dirtiness, the only bits in which a batch may differ."""
    return word & ~(x86.PAGE_ACCESSED | _DIRTY_BITS)


@rule
def merge_dirty(state, word):
    """pte_mkdirty(): dirty in the bit that the write permission asks for, and soft-dirty."""
    if (word & x86.PAGE_RW) != ZERO:
        word = word | x86.PAGE_DIRTY
    else:
        # A read-only entry may not have the hardware bit: it moves to the saved one.
        word = (word | x86.PAGE_SAVED_DIRTY) & ~x86.PAGE_DIRTY
    if state.facts[0].soft_dirty != 0:
        word = word | x86.PAGE_SOFT_DIRTY
    return word


@rule
def merge_dirty_only(word):
    """Dirty as by a merge that leaves soft-dirty alone: for foreign targets (tolerant form)."""
    if (word & x86.PAGE_RW) != ZERO:
        return word | x86.PAGE_DIRTY
    return word | x86.PAGE_SAVED_DIRTY


@rule
def merge_accessed(word):
    """pte_mkyoung()."""
    return word | x86.PAGE_ACCESSED


@rule
def special(word):
    """_PAGE_SPECIAL is set."""
    return (word & x86.PAGE_SPECIAL) != ZERO


@rule
def difference(state, ours, theirs):
    """The classes of the bits in which present word `theirs` (the target's) differs from `ours`."""
    found = ZERO
    delta = ours ^ theirs
    if _frame(ours) != _frame(theirs):
        found = found | PFN_CHANGED
    if (delta & x86.PAGE_RW) != ZERO:
        found = found | (WRITE_GAINED if writable(theirs) else WRITE_LOST)
    if dirty(ours) != dirty(theirs):
        found = found | (DIRTY_GAINED if dirty(theirs) else DIRTY_LOST)
    elif (delta & _DIRTY_BITS) != ZERO and (delta & x86.PAGE_RW) == ZERO:
        found = found | BITS_CHANGED
    if (delta & x86.PAGE_ACCESSED) != ZERO:
        found = found | (ACCESSED_GAINED if accessed(theirs) else ACCESSED_LOST)
    if (delta & x86.PAGE_SOFT_DIRTY) != ZERO:
        found = found | (SOFT_DIRTY_GAINED if soft_dirty(theirs) else SOFT_DIRTY_LOST)
    if (delta & x86.PAGE_UFFD) != ZERO:
        found = found | UFFD_CHANGED
    if (delta & _PROTECTION) != ZERO:
        found = found | PROTECTION_CHANGED
    if (delta & _OTHER) != ZERO:
        found = found | BITS_CHANGED
    return found


@rule
def revoked(state, old, new):
    """Whether a TLB entry made from `old` grants or does something that `new` does not.

    Accessed is no right, and dirty matters only where the CPU may write on.
    """
    lost, gained = old & ~new, new & ~old
    # The CPU sets dirty once: with a cached dirty entry it never will again.
    rights = _RIGHTS | x86.PAGE_DIRTY if writable(old) else _RIGHTS
    stale = (~new & x86.PAGE_PRESENT) | ((old ^ new) & (_ADDRESS | _ATTRIBUTES))
    stale = stale | (lost & rights) | (gained & x86.PAGE_NX)
    return stale != ZERO


@rule
def impossible(word):
    """A present word that these kernels never make: dirty bits or RW where they cannot be."""
    # Flipped, so that in a writable entry both bits must be clear.
    bits = x86.PAGE_SAVED_DIRTY | x86.PAGE_PRESENT if writable(word) else x86.PAGE_DIRTY
    return ((word ^ x86.PAGE_PRESENT) & bits) != ZERO


@rule
def swap_type(word):
    """The type field of a swap-like entry."""
    return np.int64(word >> x86.SWP_TYPE_SHIFT)


@rule
def swap_offset(state, word):
    """The raw offset field, which every rule but the clearing of a marker keeps."""
    return word & _SWAP_OFFSET


@rule
def swap_payload(state, word):
    """The low offset bits, inversion undone: the marker's kind."""
    return (~word >> x86.SWP_OFFSET_SHIFT) & np.uint64((1 << 50) - 1)


@rule
def swap_soft_dirty(word):
    """The soft-dirty bit of a swap-like entry."""
    return (word & x86.SWP_SOFT_DIRTY) != ZERO


@rule
def set_writable(word):
    """`word` made writable, dirtiness where it then belongs."""
    if (word & x86.PAGE_SAVED_DIRTY) != ZERO:
        word = (word | x86.PAGE_DIRTY) & ~x86.PAGE_SAVED_DIRTY
    return word | x86.PAGE_RW


@rule
def set_uffd_writable(word):
    """`word` made writable with the userfaultfd bit on."""
    return set_writable(word) | x86.PAGE_UFFD


@rule
def clear_dirty(word):
    """`word` made clean."""
    return word & ~_DIRTY_BITS


@rule
def clear_accessed(word):
    """`word` made old."""
    return word & ~x86.PAGE_ACCESSED


@rule
def clear_soft_dirty(word):
    """`word` without its soft-dirty bit."""
    return word & ~x86.PAGE_SOFT_DIRTY


@rule
def make_impossible(word):
    """`word` read-only with the hardware's dirty bit."""
    return (word & ~x86.PAGE_RW) | x86.PAGE_DIRTY


WORDS = Words(
    none=none,
    present=present,
    hardware_valid=hardware_valid,
    writable=writable,
    dirty=dirty,
    accessed=accessed,
    soft_dirty=soft_dirty,
    uffd=uffd,
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
    needs_nmmu=absent.no_nmmu,
    is_protection=absent.always_protection,
    with_upgrade_of=absent.upgrade_not_asked,
    swap_type=swap_type,
    swap_offset=swap_offset,
    swap_payload=swap_payload,
    swap_soft_dirty=swap_soft_dirty,
    set_writable=set_writable,
    set_uffd_writable=set_uffd_writable,
    clear_dirty=clear_dirty,
    clear_accessed=clear_accessed,
    clear_soft_dirty=clear_soft_dirty,
    make_impossible=make_impossible,
)
