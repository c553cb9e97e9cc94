"""Rules that are one bit of the masks, the same on every architecture that has the bit.

`masks` holds the bit, or zero where version or configuration compile it out:
then no entry has it and nothing sets it.
"""

import numpy as np

from mm.jit import rule

NONE = np.uint64(0)


@rule
def pte_devmap(masks, pte):
    """Whether the entry maps a device page, where the version has such entries."""
    return pte & masks.devmap != NONE


@rule
def pte_soft_dirty(masks, pte):
    """Whether the entry is soft-dirty."""
    return pte & masks.soft_dirty != NONE


@rule
def pte_uffd(masks, pte):
    """Whether the entry is protected by userfaultfd."""
    return pte & masks.uffd != NONE


@rule
def pte_clear_uffd(masks, pte):
    """`pte` no longer protected by userfaultfd; the write bit does not come back here."""
    return pte & ~masks.uffd


@rule
def swp_soft_dirty(masks, pte):
    """Whether the swap-like entry is soft-dirty."""
    return pte & masks.swp_soft_dirty != NONE


@rule
def swp_mksoft_dirty(masks, pte):
    """The swap-like entry made soft-dirty."""
    return pte | masks.swp_soft_dirty


@rule
def swp_uffd(masks, pte):
    """Whether the swap-like entry is protected by userfaultfd."""
    return pte & masks.swp_uffd != NONE


@rule
def swp_mkuffd(masks, pte):
    """The swap-like entry protected by userfaultfd."""
    return pte | masks.swp_uffd


@rule
def swp_clear_uffd(masks, pte):
    """The swap-like entry no longer protected by userfaultfd."""
    return pte & ~masks.swp_uffd
