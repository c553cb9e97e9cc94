"""arm64: accessed and dirty, gathered as words.

An entry is dirty in one of two ways: by PTE_DIRTY, which software sets, or by
hardware, which clears PTE_RDONLY of an entry that has PTE_DBM. The *marks* of an
entry are PTE_AF and PTE_DIRTY, whichever way it is dirty; those of many entries
are ORed, whatever else the entries differ in.

Source: arch/arm64/include/asm/pgtable.h, Linux 7.3.
"""

import numpy as np

from mm.arm64 import PTE_AF, PTE_DBM, PTE_DIRTY, PTE_RDONLY
from mm.jit import rule

NONE = np.uint64(0)

ACCESSED = PTE_AF
DIRTY = PTE_DIRTY
# Bit distances: a shift moves one bit into the place of another, without a branch.
RDONLY_TO_DBM = np.uint64(51 - 7)
DBM_TO_DIRTY = np.uint64(55 - 51)


@rule
def marks_of(pte):
    """The marks of one entry: pte_young() and pte_dirty()."""
    by_hardware = pte & ~(pte << RDONLY_TO_DBM) & PTE_DBM
    return (pte | by_hardware << DBM_TO_DIRTY) & (ACCESSED | DIRTY)


@rule
def with_marks(pte, marks):
    """`pte` with more marks: pte_mkyoung() and pte_mkdirty()."""
    # A dirty entry that is writable is not read-only; a read-only one stays so.
    rdonly = (pte & PTE_DBM) >> RDONLY_TO_DBM if marks & DIRTY != NONE else NONE
    return (pte | marks) & ~rdonly


@rule
def without_marks(pte):
    """`pte` neither accessed nor dirty: pte_mkold() and pte_mkclean()."""
    return pte & ~(ACCESSED | DIRTY) | PTE_RDONLY
