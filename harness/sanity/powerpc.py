"""What a kernel keeps in the entries of powerpc (book3s64), with pages of either size."""

from collections.abc import Iterator

from mm import powerpc

from .. import anatomy
from ..case import Case
from .mapped import HIDDEN, page_rules, vma_rules
from .swaplike import swap_rules
from .table import Sanity, no_window_rules

# _PAGE_SAO, _PAGE_NON_IDEMPOTENT, and both together, _PAGE_TOLERANT.
_MEMORY_TYPE = int(powerpc.PAGE_SAO | powerpc.PAGE_NON_IDEMPOTENT)
# Where the hash MMU notes what it made of an entry; with radix they mean nothing.
_HASH_FIELDS = ("combo", "hashpte", "gix")
# H_PAGE_BUSY is a lock that nobody holds during the call; keys are not modelled.
_UNUSED_FIELDS = ("busy", "rpage", "high", "pkey")


def _entry_rules(case: Case, word: int, hardware: int) -> Iterator[str]:
    if anatomy.is_none(case.layout, word):
        if word:
            yield "none-is-zero"
    elif not word & int(powerpc.PAGE_PTE):
        # The kernel would take it for a pointer to a table.
        yield "pte-bit-is-set"
    elif anatomy.is_present(case.layout, word):
        yield from _present_rules(case, word, hardware)
    else:
        yield from swap_rules(case, word)
    if hardware and not anatomy.is_valid(case.layout, word):
        yield "hardware-sets-in-valid-entries"


def _present_rules(case: Case, word: int, hardware: int) -> Iterator[str]:
    write = bool(word & int(powerpc.PAGE_WRITE))
    if not word & int(powerpc.PAGE_PRESENT) or word & int(powerpc.PAGE_INVALID):
        # Only between ptep_modify_prot_start() and ptep_modify_prot_commit().
        yield "present-means-not-invalid"
    if word & int(powerpc.PAGE_PRIVILEGED):
        yield "user-entry-is-not-privileged"
    if write and not word & int(powerpc.PAGE_READ):
        yield "writable-means-readable"
    if word & int(powerpc.PAGE_DEVMAP):
        yield "devmap-is-not-modelled"
    fields = {field.name: int(field.mask) for field in case.layout.fields}
    if any(word & fields.get(name, 0) for name in _UNUSED_FIELDS):
        yield "unnamed-bits-are-zero"
    if not case.config.hash_mmu and any(word & fields.get(name, 0) for name in _HASH_FIELDS):
        yield "hash-bits-need-the-hash-mmu"
    if word & _MEMORY_TYPE and not case.vma.flags & HIDDEN:
        yield "device-memory-means-pfnmap"
    if hardware & int(powerpc.PAGE_DIRTY) and not write:
        yield "hardware-dirties-writable-entries"
    soft_dirty = bool(word & int(powerpc.PAGE_SOFT_DIRTY))
    yield from vma_rules(case, write=write, uffd=False, soft_dirty=soft_dirty)
    pfn, special = anatomy.pfn_of(case.layout, word), bool(word & int(powerpc.PAGE_SPECIAL))
    yield from page_rules(case, pfn, write=write, special=special)


def _plain_protection(case: Case, newprot: int) -> int:
    return newprot & ~_MEMORY_TYPE if case.vma.flags & HIDDEN else newprot


SANITY = Sanity(_entry_rules, no_window_rules, _plain_protection)
