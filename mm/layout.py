"""The record that an architecture fills: names and positions of bits, no rule.

Compiled rules use the module's constants directly; `Layout` is for what walks
over all bits of any architecture: the text form, the renderer, the tests.
"""

from typing import NamedTuple

import numpy as np

from .version import Config


class Field(NamedTuple):
    """A named bit or bit field of a present entry."""

    name: str  # the name used in case files and on screen
    macro: str  # the kernel's name
    mask: np.uint64


class SwapLayout(NamedTuple):
    """Where the parts of a swap-like entry are."""

    type_shift: int
    type_bits: int
    offset_shift: int
    offset_bits: int
    offset_inverted: bool  # the offset field holds the bitwise NOT of the offset
    always_set: np.uint64  # bits that every swap-like entry has
    soft_dirty: np.uint64  # zero where the architecture has none
    uffd: np.uint64
    exclusive: np.uint64
    pfn_bits: int  # SWP_PFN_BITS: PFN kinds hold the PFN in the low offset bits
    young_bit: int  # SWP_MIG_YOUNG_BIT, as a bit of the offset
    dirty_bit: int  # SWP_MIG_DIRTY_BIT, as a bit of the offset


class Layout(NamedTuple):
    """One architecture's page-table entry of the lowest level, for one size of pages."""

    arch: str
    page_shift: int
    entries_per_table: int  # PTRS_PER_PTE
    block: int  # entries that the hardware may translate as one (arm64: CONT_PTES), else 1
    pfn_bits: int  # MAX_PHYSMEM_BITS - PAGE_SHIFT, at most what the PFN field holds
    config: Config  # the configuration where a case says nothing else
    fields: tuple[Field, ...]  # disjoint, covering every bit but the PFN
    pfn_mask: np.uint64
    pfn_inverted: bool  # the PFN field is stored inverted in non-valid entries
    protection_map: tuple[np.uint64, ...]  # index READ 1 | WRITE 2 | EXEC 4 | SHARED 8
    page_none: np.uint64  # PAGE_NONE
    hardware_bits: np.uint64  # what the MMU may flip of its own accord
    hardware_clears: np.uint64  # those of them that it clears; it sets the others
    swap: SwapLayout


# Payload bits of a marker entry, as bits of the offset: include/linux/swapops.h
# (6.12) and include/linux/leafops.h (7.3). The same on every architecture.
PTE_MARKER_UFFD_WP = 1 << 0
PTE_MARKER_POISONED = 1 << 1
PTE_MARKER_GUARD = 1 << 2
