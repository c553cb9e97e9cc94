"""The arm64 page-table entry as a record, and the rules on one entry, one per kernel function.

Sources: arch/arm64/include/asm/pgtable.h, pgtable-prot.h and tlbflush.h, Linux
6.12 and 7.3; 4 KiB pages, hardware management of accessed and dirty on, no BTI,
no MTE, no EPAN. Rules on blocks of entries are in `contpte`.

An entry is dirty in one of two ways. PTE_DBM, which is PTE_WRITE, lets the
hardware clear PTE_RDONLY at the first write: writable and not read-only means
written by hardware. PTE_DIRTY is the mark of software, which must hold while the
entry is read-only. Sane entries are in one of four states:

              write  rdonly  dirty
    clean RO    .      x       .
    dirty RO    .      x       x
    clean RW    x      x       .
    dirty RW    x      .     either
"""

from typing import Any, NamedTuple

import numpy as np

from mm import arm64 as bits
from mm.jit import rule

from .arch import mask_if

NONE = np.uint64(0)
# Taken from newprot by pte_modify(), and in no rule one by one: memory type,
# guarded, privileged execute-never, key.
ATTRIBUTES = bits.PTE_ATTRINDX_MASK | bits.PTE_GP | bits.PTE_PXN | bits.PTE_PO_IDX_MASK
# Kept by pte_modify(), and in no rule one by one.
REST = bits.PTE_NS | bits.PTE_SHARED | bits.PTE_UNUSED


class Pte(NamedTuple):
    """A page-table entry, one field per bit or group of bits."""

    valid: Any
    type_bit: Any  # PTE_TABLE_BIT: with `valid` a page entry, PTE_TYPE_PAGE
    user: Any
    rdonly: Any
    accessed: Any
    not_global: Any  # with `valid` clear this bit is PTE_PRESENT_INVALID
    pfn: Any  # uint64
    write: Any  # PTE_WRITE, which is PTE_DBM
    cont: Any
    uxn: Any
    dirty: Any  # software's bit
    special: Any
    devmap: Any
    uffd: Any
    software: Any  # bit 63
    attributes: Any  # uint64, ATTRIBUTES in place
    rest: Any  # uint64, REST in place


@rule
def decode(facts, word):
    """The record of `word`, without loss. No version and no configuration changes it."""
    return Pte(
        valid=(word & bits.PTE_VALID) != NONE,
        type_bit=(word & bits.PTE_TABLE_BIT) != NONE,
        user=(word & bits.PTE_USER) != NONE,
        rdonly=(word & bits.PTE_RDONLY) != NONE,
        accessed=(word & bits.PTE_AF) != NONE,
        not_global=(word & bits.PTE_NG) != NONE,
        pfn=(word & bits.PTE_ADDR_MASK) >> bits.PFN_SHIFT,
        write=(word & bits.PTE_WRITE) != NONE,
        cont=(word & bits.PTE_CONT) != NONE,
        uxn=(word & bits.PTE_UXN) != NONE,
        dirty=(word & bits.PTE_DIRTY) != NONE,
        special=(word & bits.PTE_SPECIAL) != NONE,
        devmap=(word & bits.PTE_DEVMAP) != NONE,
        uffd=(word & bits.PTE_UFFD) != NONE,
        software=(word & bits.PTE_SOFTWARE) != NONE,
        attributes=word & ATTRIBUTES,
        rest=word & REST,
    )


@rule
def encode(facts, pte):
    """The word of the record `pte`."""
    return (
        mask_if(pte.valid, bits.PTE_VALID)
        | mask_if(pte.type_bit, bits.PTE_TABLE_BIT)
        | mask_if(pte.user, bits.PTE_USER)
        | mask_if(pte.rdonly, bits.PTE_RDONLY)
        | mask_if(pte.accessed, bits.PTE_AF)
        | mask_if(pte.not_global, bits.PTE_NG)
        | (pte.pfn << bits.PFN_SHIFT)
        | mask_if(pte.write, bits.PTE_WRITE)
        | mask_if(pte.cont, bits.PTE_CONT)
        | mask_if(pte.uxn, bits.PTE_UXN)
        | mask_if(pte.dirty, bits.PTE_DIRTY)
        | mask_if(pte.special, bits.PTE_SPECIAL)
        | mask_if(pte.devmap, bits.PTE_DEVMAP)
        | mask_if(pte.uffd, bits.PTE_UFFD)
        | mask_if(pte.software, bits.PTE_SOFTWARE)
        | pte.attributes
        | pte.rest
    )


@rule
def _with(pte, write, rdonly, dirty, accessed, uffd, type_bit, cont, pfn):
    """`pte` with the fields that single rules change replaced."""
    return Pte(
        valid=pte.valid,
        type_bit=type_bit,
        user=pte.user,
        rdonly=rdonly,
        accessed=accessed,
        not_global=pte.not_global,
        pfn=pfn,
        write=write,
        cont=cont,
        uxn=pte.uxn,
        dirty=dirty,
        special=pte.special,
        devmap=pte.devmap,
        uffd=uffd,
        software=pte.software,
        attributes=pte.attributes,
        rest=pte.rest,
    )


@rule
def _with_state(pte, write, rdonly, dirty):
    """`pte` in another state of the table above."""
    return _with(pte, write, rdonly, dirty, pte.accessed, pte.uffd, pte.type_bit, pte.cont, pte.pfn)


@rule
def _with_marks(pte, accessed, uffd):
    """`pte` with other marks that grant nothing."""
    return _with(
        pte, pte.write, pte.rdonly, pte.dirty, accessed, uffd, pte.type_bit, pte.cont, pte.pfn
    )


@rule
def _with_place(pte, type_bit, cont, pfn):
    """`pte` in another place: alone or in a folded block, and for which page."""
    return _with(pte, pte.write, pte.rdonly, pte.dirty, pte.accessed, pte.uffd, type_bit, cont, pfn)


@rule
def pte_present(pte):
    """Whether the entry maps something, accessible or not."""
    # Without `valid` the bit is PTE_PRESENT_INVALID.
    return pte.valid or pte.not_global


@rule
def pte_none(facts, pte):
    """Whether the entry is empty."""
    return encode(facts, pte) == NONE


@rule
def pte_protnone(facts, pte):
    """Whether the entry maps something that may not be accessed.

    Without CONFIG_NUMA_BALANCING nobody asks, and the kernel has the generic
    helper that always says no (include/linux/pgtable.h). UFFD_RWP asks too, so
    since 7.3 the answer no longer depends on NUMA balancing
    (CONFIG_ARCH_HAS_PTE_PROTNONE).
    """
    if facts.numa_balancing == 0 and facts.uffd_rwp == 0:
        return False
    return pte.not_global and not pte.valid and not pte.user and pte.uxn


@rule
def pte_special(pte):
    """Whether the entry says that no page shall be looked for behind it."""
    return pte.special


@rule
def pte_devmap(facts, pte):
    """Whether the entry maps fs-DAX or device memory of the old kind; the bit went in 6.17."""
    return facts.devmap != 0 and pte.devmap


@rule
def pte_pfn(pte):
    """The page frame number."""
    return pte.pfn


@rule
def pte_valid_cont(pte):
    """Whether the entry belongs to a folded block: the hardware reads no other entry's bit."""
    return pte.valid and pte.cont


@rule
def pte_write(pte):
    """Whether the entry is writable; the first write may still have to clear PTE_RDONLY."""
    return pte.write


@rule
def pte_hw_dirty(pte):
    """Whether the hardware marked the page as written."""
    return pte.write and not pte.rdonly


@rule
def pte_dirty(pte):
    """Whether the page was written through this entry."""
    return pte.dirty or pte_hw_dirty(pte)


@rule
def pte_soft_dirty(facts, pte):
    """No: arm64 has no soft-dirty bit (CONFIG_HAVE_ARCH_SOFT_DIRTY)."""
    return False


@rule
def pte_uffd(facts, pte):
    """Whether the userfaultfd bit is set: pte_uffd_wp() until 7.3."""
    return facts.uffd_wp != 0 and pte.uffd


@rule
def pte_mkclean(pte):
    """`pte` not written to; a writable entry waits for the hardware's mark again."""
    return _with_state(pte, pte.write, True, False)


@rule
def pte_mkdirty(pte):
    """`pte` written to."""
    return _with_state(pte, pte.write, pte.rdonly and not pte.write, True)


@rule
def pte_mkold(pte):
    """`pte` not accessed."""
    return _with_marks(pte, False, pte.uffd)


@rule
def pte_mkyoung(pte):
    """`pte` accessed."""
    return _with_marks(pte, True, pte.uffd)


@rule
def pte_wrprotect(pte):
    """`pte` made read-only: the hardware's dirty mark, which needs PTE_DBM, becomes software's."""
    return _with_state(pte, False, True, pte_dirty(pte))


@rule
def pte_mkwrite(facts, pte):
    """`pte` made writable, in a VMA that is no shadow stack: pte_mkwrite_novma().

    A clean one stays clean since 143937ca51cc (v6.18; stable 6.12.56 and 6.17.6).
    Before, it was dirty by the hardware's mark at once, written to or not.
    """
    dirty = pte.dirty or facts.mkwrite_dirties != 0
    return _with_state(pte, True, pte.rdonly and not dirty, pte.dirty)


@rule
def pte_mkuffd(facts, pte):
    """`pte` with the userfaultfd bit, which makes it read-only: pte_mkuffd_wp()."""
    if facts.uffd_wp == 0:
        return pte
    return pte_wrprotect(_with_marks(pte, pte.accessed, True))


@rule
def pte_clear_uffd(facts, pte):
    """`pte` without the userfaultfd bit; it stays as writable as it was: pte_clear_uffd_wp()."""
    if facts.uffd_wp == 0:
        return pte
    return _with_marks(pte, pte.accessed, False)


@rule
def pte_mkcont(facts, pte):
    """`pte`, which is valid, in a folded block."""
    return _with_place(pte, pte.type_bit or facts.mkcont_sets_type != 0, True, pte.pfn)


@rule
def pte_mknoncont(pte):
    """`pte` in no folded block."""
    return _with_place(pte, pte.type_bit, False, pte.pfn)


@rule
def pfn_pte(pfn, pte):
    """An entry for page `pfn` that is like `pte` otherwise."""
    return _with_place(pte, pte.type_bit, pte.cont, pfn)


@rule
def pte_modify(facts, pte, newprot):
    """`pte` with the protection of `newprot`; dirtiness of either kind becomes software's."""
    new = Pte(
        valid=newprot.valid,
        type_bit=pte.type_bit,
        user=newprot.user,
        rdonly=newprot.rdonly,
        accessed=pte.accessed,
        not_global=newprot.not_global,
        pfn=pte.pfn,
        write=newprot.write,
        cont=pte.cont,
        uxn=newprot.uxn,
        dirty=pte_dirty(pte),
        special=pte.special,
        devmap=pte.devmap,
        uffd=pte.uffd,
        software=pte.software,
        attributes=newprot.attributes,
        rest=pte.rest,
    )
    return pte_mkdirty(new) if new.dirty else new


@rule
def pte_needs_flush(facts, old, new):
    """Whether a TLB that holds `old` must not keep it when the table says `new`.

    Until 6.18 arm64 has the generic rule, which says yes. Since 6.19 (c320dbb7c80d,
    tlbflush.h) anything that the hardware can see counts, gain of a right
    included; PTE_SWBITS_MASK is what it cannot see.
    """
    if facts.flush_elision == 0:
        return True
    if not old.valid:
        return False
    return (
        old.valid != new.valid
        or old.type_bit != new.type_bit
        or old.user != new.user
        or old.rdonly != new.rdonly
        or old.accessed != new.accessed
        or old.not_global != new.not_global
        or old.pfn != new.pfn
        or old.write != new.write
        or old.cont != new.cont
        or old.uxn != new.uxn
        or old.attributes != new.attributes
        or old.rest != new.rest
    )
