"""What a kernel keeps in the entries of x86_64."""

from collections.abc import Iterator

from mm import x86_64 as x86

from .. import anatomy
from ..case import Case
from .mapped import page_rules, vma_rules
from .swaplike import swap_rules
from .table import Sanity, no_window_rules


def _entry_rules(case: Case, word: int, hardware: int) -> Iterator[str]:
    if anatomy.is_present(case.layout, word):
        yield from _present_rules(case, word, hardware)
    elif not anatomy.is_none(case.layout, word):
        yield from swap_rules(case, word)
    elif word:
        yield "none-is-zero"
    if hardware and not word & int(x86.PAGE_PRESENT):
        yield "hardware-sets-in-valid-entries"


def _present_rules(case: Case, word: int, hardware: int) -> Iterator[str]:
    valid, write = bool(word & int(x86.PAGE_PRESENT)), bool(word & int(x86.PAGE_RW))
    if valid == bool(word & int(x86.PAGE_GLOBAL)):
        yield "user-entry-is-not-global"
    if valid != bool(word & int(x86.PAGE_USER)):
        yield "valid-means-user"
    if write and not valid:
        yield "writable-means-valid"
    if word & int(x86.PAGE_DIRTY) and not write:
        yield "hardware-dirty-means-writable"
    if word & int(x86.PAGE_SAVED_DIRTY) and write:
        yield "saved-dirty-means-read-only"
    if word & int(x86.PAGE_UNNAMED):
        yield "unnamed-bits-are-zero"
    if word & int(x86.PAGE_DEVMAP):
        yield "devmap-is-not-modelled"
    if hardware & int(x86.PAGE_DIRTY) and not write:
        yield "hardware-dirties-writable-entries"
    uffd, soft_dirty = bool(word & int(x86.PAGE_UFFD)), bool(word & int(x86.PAGE_SOFT_DIRTY))
    yield from vma_rules(case, write=write, uffd=uffd, soft_dirty=soft_dirty)
    pfn, special = anatomy.pfn_of(case.layout, word), bool(word & int(x86.PAGE_SPECIAL))
    yield from page_rules(case, pfn, write=write, special=special)


def _plain_protection(case: Case, newprot: int) -> int:
    del case
    return newprot & ~int(x86.PAGE_PKEY_MASK)


SANITY = Sanity(_entry_rules, no_window_rules, _plain_protection)
