"""arm64 words as the oracles read them. Sources as in `mm.arm64`; every mask is named there."""

import numpy as np

from mm import arm64
from mm.jit import rule

from .. import classes
from . import absent
from .table import Words

ZERO = np.uint64(0)
_PAYLOAD = np.uint64((1 << arm64.SWP_OFFSET_BITS) - 1)
_OFFSET = _PAYLOAD << arm64.SWP_OFFSET_SHIFT
_TYPE = np.uint64((1 << arm64.SWP_TYPE_BITS) - 1)
# Rights and attributes, for the name of a difference.
_PROTECTION = (
    arm64.PTE_VALID
    | arm64.PTE_ATTRINDX_MASK
    | arm64.PTE_USER
    | arm64.PTE_NG
    | arm64.PTE_GP
    | arm64.PTE_PXN
    | arm64.PTE_UXN
    | arm64.PTE_PO_IDX_MASK
)
# What has a class of its own, PROTECTION aside.
_NAMED = (
    arm64.PTE_ADDR_MASK
    | arm64.PTE_AF
    | arm64.PTE_DIRTY
    | arm64.PTE_RDONLY
    | arm64.PTE_WRITE
    | arm64.PTE_UFFD
)
# What a TLB entry would do differently, besides reading and writing.
_ATTRIBUTES = arm64.PTE_ATTRINDX_MASK | arm64.PTE_GP | arm64.PTE_PO_IDX_MASK | arm64.PTE_NG
_EXECUTE_NEVER = arm64.PTE_PXN | arm64.PTE_UXN

DIRTY_LOST = classes.bit("dirty-lost")
DIRTY_GAINED = classes.bit("dirty-gained")
ACCESSED_LOST = classes.bit("accessed-lost")
ACCESSED_GAINED = classes.bit("accessed-gained")
WRITE_LOST = classes.bit("write-lost")
WRITE_GAINED = classes.bit("write-gained")
UFFD_CHANGED = classes.bit("uffd-changed")
PFN_CHANGED = classes.bit("pfn-changed")
PROTECTION_CHANGED = classes.bit("protection-changed")
BITS_CHANGED = classes.bit("bits-changed")


@rule
def none(word):
    """No bit at all is set."""
    return word == ZERO


@rule
def present(word):
    """The kernel keeps a page behind the entry, PROT_NONE (NG without VALID) or not."""
    return (word & (arm64.PTE_VALID | arm64.PTE_NG)) != ZERO


@rule
def hardware_valid(word):
    """The MMU translates through the entry, so a TLB may hold it."""
    return (word & arm64.PTE_VALID) != ZERO


@rule
def writable(word):
    """PTE_WRITE (DBM): software lets the page be written, dirty or not."""
    return (word & arm64.PTE_WRITE) != ZERO


@rule
def _hardware_dirty(word):
    """Writable by the MMU at once: a write leaves no other trace."""
    return (word & (arm64.PTE_WRITE | arm64.PTE_RDONLY)) == arm64.PTE_WRITE


@rule
def dirty(word):
    """Dirty by software's bit, or by hardware: DBM without RDONLY."""
    return (word & arm64.PTE_DIRTY) != ZERO or _hardware_dirty(word)


@rule
def accessed(word):
    """PTE_AF is set."""
    return (word & arm64.PTE_AF) != ZERO


@rule
def uffd(word):
    """PTE_UFFD is set."""
    return (word & arm64.PTE_UFFD) != ZERO


@rule
def pfn(state, word):
    """The page frame number."""
    return (word & arm64.PTE_ADDR_MASK) >> arm64.PFN_SHIFT


@rule
def advance(state, word, pages):
    """`word` for the page that is `pages` further on; the carry leaves the field as in the kernel."""
    return word + (pages << arm64.PFN_SHIFT)


@rule
def batch_key(word):
    """`word` as pte_mkold(pte_mkclean()) leaves it: without AF and DIRTY, with RDONLY."""
    return (word & ~(arm64.PTE_AF | arm64.PTE_DIRTY)) | arm64.PTE_RDONLY


@rule
def folded(word):
    """Valid, with PTE_CONT: the MMU may hold the whole block as one TLB entry."""
    both = arm64.PTE_VALID | arm64.PTE_CONT
    return (word & both) == both


@rule
def merge_dirty_only(word):
    """pte_mkdirty(): software's bit, and a writable entry may be written without a fault."""
    if (word & arm64.PTE_WRITE) != ZERO:
        word = word & ~arm64.PTE_RDONLY
    return word | arm64.PTE_DIRTY


@rule
def merge_dirty(state, word):
    """The same: there is no soft-dirty bit that it would set, too."""
    return merge_dirty_only(word)


@rule
def merge_accessed(word):
    """pte_mkyoung()."""
    return word | arm64.PTE_AF


@rule
def special(word):
    """PTE_SPECIAL is set."""
    return (word & arm64.PTE_SPECIAL) != ZERO


@rule
def difference(state, ours, theirs):
    """The classes of the bits in which present word `theirs` (the target's) differs from `ours`."""
    found = ZERO
    delta = ours ^ theirs
    if (delta & arm64.PTE_ADDR_MASK) != ZERO:
        found = found | PFN_CHANGED
    if (delta & arm64.PTE_WRITE) != ZERO:
        found = found | (WRITE_GAINED if writable(theirs) else WRITE_LOST)
    if dirty(ours) != dirty(theirs):
        found = found | (DIRTY_GAINED if dirty(theirs) else DIRTY_LOST)
    elif (delta & (arm64.PTE_DIRTY | arm64.PTE_RDONLY)) != ZERO and (
        delta & arm64.PTE_WRITE
    ) == ZERO:
        found = found | BITS_CHANGED
    if (delta & arm64.PTE_AF) != ZERO:
        found = found | (ACCESSED_GAINED if accessed(theirs) else ACCESSED_LOST)
    if (delta & arm64.PTE_UFFD) != ZERO:
        found = found | UFFD_CHANGED
    if (delta & _PROTECTION) != ZERO:
        found = found | PROTECTION_CHANGED
    if (delta & ~(_PROTECTION | _NAMED)) != ZERO:
        found = found | BITS_CHANGED
    return found


@rule
def revoked(state, old, new):
    """Whether a TLB entry made from `old` grants or does something that `new` does not."""
    if (new & arm64.PTE_VALID) == ZERO or ((old ^ new) & arm64.PTE_ADDR_MASK) != ZERO:
        return True
    if (old & ~new & arm64.PTE_USER) != ZERO or (new & ~old & _EXECUTE_NEVER) != ZERO:
        return True
    if ((old ^ new) & _ATTRIBUTES) != ZERO:
        return True
    # Without DBM, RDONLY is always set; in a wild entry that lacks it pte_mkclean() hides
    # the right from the batch comparison and from a fold, so the kernel may lose it unflushed.
    if writable(old) and not writable(new):
        return True
    # A cached dirty entry never marks the new one dirty again.
    return _hardware_dirty(old) and writable(new) and (new & arm64.PTE_RDONLY) != ZERO


@rule
def repainted(old, new):
    """Whether `new` is `old` after its block was folded or unfolded: CONT may change, A/D be set.

    So may the type bits, which pte_mkcont() sets until 6.12 (wild).
    """
    if (old & arm64.PTE_VALID) == ZERO or (old & ~new & arm64.PTE_TABLE_BIT) != ZERO:
        return False
    if ((batch_key(old) ^ batch_key(new)) & ~(arm64.PTE_CONT | arm64.PTE_TABLE_BIT)) != ZERO:
        return False
    return (dirty(new) or not dirty(old)) and (accessed(new) or not accessed(old))


@rule
def impossible(word):
    """A present word that these kernels never make."""
    if (word & arm64.PTE_VALID) == ZERO:
        return (word & (arm64.PTE_CONT | arm64.PTE_WRITE)) != ZERO
    if (word & arm64.PTE_WRITE) != ZERO:
        # 3c0696076aad: software-dirty and writable means that hardware may write.
        return (word & arm64.PTE_DIRTY) != ZERO and (word & arm64.PTE_RDONLY) != ZERO
    return (word & arm64.PTE_RDONLY) == ZERO


@rule
def swap_type(word):
    """The type field of a swap-like entry."""
    return np.int64((word >> arm64.SWP_TYPE_SHIFT) & _TYPE)


@rule
def swap_offset(state, word):
    """The offset field; set_ptes() clears CONT in all that it stores, so bit 52 does not count."""
    return word & _OFFSET & ~arm64.PTE_CONT


@rule
def swap_payload(state, word):
    """The offset: the marker's kind."""
    return (word >> arm64.SWP_OFFSET_SHIFT) & _PAYLOAD


@rule
def set_writable(word):
    """`word` made writable; a dirty one by hardware, too."""
    if (word & arm64.PTE_DIRTY) != ZERO:
        word = word & ~arm64.PTE_RDONLY
    return word | arm64.PTE_WRITE


@rule
def set_uffd_writable(word):
    """`word` made writable with the userfaultfd bit on."""
    return set_writable(word) | arm64.PTE_UFFD


@rule
def clear_dirty(word):
    """`word` made clean."""
    return (word & ~arm64.PTE_DIRTY) | arm64.PTE_RDONLY


@rule
def clear_accessed(word):
    """`word` made old."""
    return word & ~arm64.PTE_AF


@rule
def make_impossible(word):
    """`word` writable and software-dirty, but read-only to the hardware."""
    return word | arm64.PTE_WRITE | arm64.PTE_DIRTY | arm64.PTE_RDONLY


WORDS = Words(
    none=none,
    present=present,
    hardware_valid=hardware_valid,
    writable=writable,
    dirty=dirty,
    accessed=accessed,
    soft_dirty=absent.no_bit,
    uffd=uffd,
    pfn=pfn,
    advance=advance,
    batch_key=batch_key,
    folded=folded,
    merge_dirty=merge_dirty,
    merge_dirty_only=merge_dirty_only,
    merge_accessed=merge_accessed,
    special=special,
    difference=difference,
    revoked=revoked,
    repainted=repainted,
    impossible=impossible,
    needs_nmmu=absent.no_nmmu,
    is_protection=absent.always_protection,
    with_upgrade_of=absent.upgrade_not_asked,
    swap_type=swap_type,
    swap_offset=swap_offset,
    swap_payload=swap_payload,
    swap_soft_dirty=absent.no_bit,
    set_writable=set_writable,
    set_uffd_writable=set_uffd_writable,
    clear_dirty=clear_dirty,
    clear_accessed=clear_accessed,
    clear_soft_dirty=absent.same,
    make_impossible=make_impossible,
)
