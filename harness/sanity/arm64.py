"""What a kernel keeps in the entries of arm64, and in its contpte blocks.

An entry is dirty by PTE_DIRTY or, if the hardware may write through it (PTE_DBM),
by the absence of PTE_RDONLY. Of the eight combinations a kernel makes five: clean
and dirty read-only, clean writable, and dirty writable with or without PTE_DIRTY.
"""

from collections.abc import Iterator

from mm import arm64

from .. import anatomy
from ..case import Case
from .mapped import HIDDEN, folio_behind, page_rules, vma_rules
from .swaplike import swap_rules
from .table import Sanity

# MT_NORMAL, and what pgprot_writecombine() and pgprot_noncached() make of it.
_MEMORY_TYPES = (0, int(arm64.MT_NORMAL_NC), int(arm64.MT_DEVICE_NGNRE))
_UNNAMED = int(arm64.PTE_NS | arm64.PTE_UNUSED | arm64.PTE_SOFTWARE)
# What pte_mkclean() and pte_mkold() make equal.
_MAY_DIFFER = int(arm64.PTE_AF | arm64.PTE_DIRTY | arm64.PTE_RDONLY)


def _entry_rules(case: Case, word: int, hardware: int) -> Iterator[str]:
    if anatomy.is_present(case.layout, word):
        yield from _user_rules(word)
        yield from _state_rules(word)
        yield from _fold_rules(word)
        yield from _memory_type_rules(case, word)
        write, uffd = bool(word & int(arm64.PTE_WRITE)), bool(word & int(arm64.PTE_UFFD))
        yield from vma_rules(case, write=write, uffd=uffd, soft_dirty=False)
        pfn, special = anatomy.pfn_of(case.layout, word), bool(word & int(arm64.PTE_SPECIAL))
        yield from page_rules(case, pfn, write=write, special=special)
        if hardware & int(arm64.PTE_RDONLY) and not write:
            yield "hardware-dirties-writable-entries"
    elif not anatomy.is_none(case.layout, word):
        # __set_ptes() clears PTE_CONT in whatever it stores: an offset of 4 PiB would lose a bit.
        if word & int(arm64.PTE_CONT):
            yield "swap-offset-without-cont"
        yield from swap_rules(case, word)
    if hardware and not word & int(arm64.PTE_VALID):
        yield "hardware-sets-in-valid-entries"


def _user_rules(word: int) -> Iterator[str]:
    """What tells a user's entry, accessible or PROT_NONE, from all else."""
    valid = bool(word & int(arm64.PTE_VALID))
    if not word & int(arm64.PTE_TABLE_BIT):
        yield "type-is-page"
    if not word & int(arm64.PTE_NG):
        yield "user-entry-is-not-global"
    if valid != bool(word & int(arm64.PTE_USER)):
        yield "valid-means-user"
    if not valid and not word & int(arm64.PTE_UXN):
        yield "executable-means-valid"
    if not word & int(arm64.PTE_PXN):
        yield "kernel-executes-no-user-page"
    if word & int(arm64.PTE_SHARED) != int(arm64.PTE_SHARED):
        yield "user-entry-is-shareable"
    if word & int(arm64.PTE_GP):
        yield "guarded-is-not-modelled"
    if word & int(arm64.PTE_DEVMAP):
        yield "devmap-is-not-modelled"
    if word & _UNNAMED:
        yield "unnamed-bits-are-zero"


def _state_rules(word: int) -> Iterator[str]:
    write, read_only = word & int(arm64.PTE_WRITE), word & int(arm64.PTE_RDONLY)
    if write and not word & int(arm64.PTE_VALID):
        yield "writable-means-valid"
    if not write and not read_only:
        yield "not-writable-means-rdonly"
    if write and read_only and word & int(arm64.PTE_DIRTY):
        yield "dirty-writable-means-no-rdonly"


def _fold_rules(word: int) -> Iterator[str]:
    if not word & int(arm64.PTE_CONT):
        return
    if not word & int(arm64.PTE_VALID):
        yield "folded-means-valid"
    if word & int(arm64.PTE_SPECIAL):
        yield "folded-means-not-special"


def _memory_type_rules(case: Case, word: int) -> Iterator[str]:
    memory_type = (word & int(arm64.PTE_ATTRINDX_MASK)) >> int(arm64.ATTRINDX_SHIFT)
    if memory_type not in _MEMORY_TYPES:
        yield "memory-type-is-known"
    elif memory_type and not case.vma.flags & HIDDEN:
        yield "device-memory-means-pfnmap"


def _window_rules(case: Case) -> Iterator[tuple[str, int]]:
    """Of each block that has a folded entry: the MMU may take any of its 16 for all of them."""
    folded = int(arm64.PTE_VALID | arm64.PTE_CONT)
    size = case.layout.block
    for first in range(0, len(case.ptes), size):
        block = case.ptes[first : first + size]
        marked = [i for i, word in enumerate(block) if word & folded == folded]
        if not marked:
            continue
        if len(marked) < size:
            yield "fold-is-complete", first + marked[0]
            continue
        pfn = anatomy.pfn_of(case.layout, block[0])
        step = 1 << case.layout.page_shift
        alike = [(word - i * step) & ~_MAY_DIFFER for i, word in enumerate(block)]
        if alike.count(alike[0]) < size:
            yield "fold-is-uniform", first + next(i for i, a in enumerate(alike) if a != alike[0])
        elif pfn % size:
            yield "fold-is-aligned", first
        else:
            folio = folio_behind(case, pfn)
            if folio is None or pfn + size > folio.pfn + folio.nr_pages:
                yield "fold-is-of-one-folio", first


def _plain_protection(case: Case, newprot: int) -> int:
    plain = newprot & ~int(arm64.PTE_PO_IDX_MASK)
    memory_type = (plain & int(arm64.PTE_ATTRINDX_MASK)) >> int(arm64.ATTRINDX_SHIFT)
    if case.vma.flags & HIDDEN and memory_type in _MEMORY_TYPES:
        plain &= ~int(arm64.PTE_ATTRINDX_MASK)
    return plain


SANITY = Sanity(_entry_rules, _window_rules, _plain_protection)
